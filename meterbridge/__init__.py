"""meterbridge: the bridge between Chargebee and m3ter."""

__version__ = "0.2.0.dev0"
