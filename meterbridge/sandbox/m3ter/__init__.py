"""The imitation of m3ter's Config and Ingest API."""
