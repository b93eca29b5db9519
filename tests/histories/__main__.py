"""``python -m tests.histories --seeds 1-200``: plays histories until one is wrong; ``--seed 17 -v`` tells one."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback

import tests.conftest  # noqa: F401 - nothing of the caller's environment gets through
from tests.histories.history import CUSTOMERS, MONTHS, History
from tests.histories.quick import quick


def main() -> int:
    """0 when all histories ended well."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", default="1-20", help="first-last")
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--only", default="", help="customers, by comma")
    parser.add_argument("--months", type=int, default=MONTHS)
    parser.add_argument("-v", action="store_true", help="tell the whole story")
    parser.add_argument("--go-on", action="store_true", help="also after a history that is wrong")
    given = parser.parse_args()
    first, last = (given.seed, given.seed) if given.seed is not None else map(int, given.seeds.split("-"))
    if os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"
    bad = 0
    with quick():
        for seed in range(first, last + 1):
            began = time.process_time()
            history = History(seed, given.customers, tuple(filter(None, given.only.split(","))), given.months)
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
            if history.wrong:
                bad += 1
                print("    " + "\n    ".join(history.wrong))
                if not given.go_on:
                    break
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
