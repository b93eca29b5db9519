"""The imitation of Chargebee's API v2, Product Catalog 2.0."""
