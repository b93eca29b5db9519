"""python -m meterbridge.sandbox: both vendors on loopback, without credentials."""

from __future__ import annotations

import argparse

from meterbridge.sandbox.scenarios import NAMES
from meterbridge.sandbox.server import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m meterbridge.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--scenario", choices=NAMES, default="demo")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--subscriptions", type=int, help="for the scenario large")
    parser.add_argument("--lenient", action="store_true", help="ignore unknown parameters, as the vendors do")
    parser.add_argument("--latency-ms", type=int, default=0)
    parser.add_argument("--chargebee-per-minute", type=int, default=0, help="0: no limit")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
