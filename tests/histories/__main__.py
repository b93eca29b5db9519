"""``python -m tests.histories --seeds 1-200``: plays histories until one is wrong; ``--seed 17 -v`` tells one."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator

import tests.conftest  # noqa: F401 - nothing of the caller's environment gets through
from tests.histories.clerk import ACTS
from tests.histories.history import CUSTOMERS, MONTHS, History
from tests.histories.moves import MOVES
from tests.histories.quick import quick

ENOUGH = 20
"""In so many histories each move and each act happens, or something is wrong with it."""
NAMES = [one.__name__ for one in (*MOVES, *ACTS)]


def _seeds(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main() -> int:
    """0 when all histories ended well."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", default="1-20", help="such as 1-20 or 3,7,11-14")
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--only", default="", help="customers, by comma")
    parser.add_argument("--months", type=int, default=MONTHS)
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of a setting, not left to the dice")
    parser.add_argument("--without", default="", help="moves of lives and acts of the clerk, by comma")
    parser.add_argument("-v", action="store_true", help="tell the whole story")
    parser.add_argument("--go-on", action="store_true", help="also after a history that is wrong")
    given = parser.parse_args()
    seeds = [given.seed] if given.seed is not None else list(_seeds(given.seeds))
    if os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"
    bad, happened = 0, Counter[str]()
    with quick():
        for seed in seeds:
            began = time.process_time()
            history = History(
                seed,
                given.customers,
                tuple(filter(None, given.only.split(","))),
                given.months,
                dict(one.split("=", 1) for one in given.set),
                tuple(given.without.split(",")),
            )
            try:
                history.play()
            except Exception:  # noqa: BLE001 - an error is a finding, too
                history.wrong.append(traceback.format_exc())
            used = time.process_time() - began
            if given.v:
                print("\n".join(history.story))
            print(
                f"seed {seed}: {history.runs} runs, {used:.1f} CPU s, {'WRONG' if history.wrong else 'well'}",
                flush=True,
            )
            happened += history.happened
            if history.wrong:
                bad += 1
                print("    " + "\n    ".join(history.wrong))
                print(f"    again: .venv/bin/python -m tests.histories --seed {seed} -v", flush=True)
                if not given.go_on:
                    break
    never = [name for name in NAMES if not happened[name] and name not in given.without]
    print("happened: " + ", ".join(f"{name} {happened[name]}" for name in NAMES))
    if never and len(seeds) >= ENOUGH and not given.only:
        print(f"never happened, so not tested: {', '.join(never)}")
        return 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
