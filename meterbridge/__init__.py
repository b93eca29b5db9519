"""meterbridge: the bridge between Chargebee and m3ter."""

__version__ = "0.1.0"
