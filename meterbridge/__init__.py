"""meterbridge: the bridge between Chargebee and m3ter."""
