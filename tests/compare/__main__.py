"""``python -m tests.compare --seeds 1-4 --lives 1/3``: 0.1.0 and today's code on the same worlds, and what differs.

0 when each difference is explained in ``explained.yaml``, 1 when one is not, 2 when nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.compare.baseline import ROOT, VERSION, NoBaselineError, baseline
from tests.compare.differences import Difference, differences, explain, explanations

PLAYER = ROOT / "tests" / "compare" / "player.py"


def numbers(text: str) -> list[int]:
    """Such as 1-4 or 3,7,11-14; none for an empty text.

    >>> numbers("3,7,11-13")
    [3, 7, 11, 12, 13]
    """
    ends = [part.partition("-") for part in text.split(",") if part]
    return [seed for first, _, last in ends for seed in range(int(first), int(last or first) + 1)]


def played(pythons: Sequence[Path], asked: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The endings by each of them, played side by side.

    Raises:
        RuntimeError: A player ended otherwise than well; what it said is on stderr.
    """
    players = [
        subprocess.Popen([python, "-I", PLAYER, *asked], stdout=subprocess.PIPE, text=True) for python in pythons
    ]
    # A pipe that nobody reads meanwhile would hold its player up.
    with ThreadPoolExecutor(len(players)) as pool:
        texts = list(pool.map(lambda one: one.communicate()[0], players))
    if any(one.returncode for one in players):
        raise RuntimeError(f"players ended with {[one.returncode for one in players]}")
    return [[json.loads(line) for line in text.splitlines()] for text in texts]


def named(side: Sequence[dict[str, Any]]) -> str:
    """Which version played, and from where: a stranger's flows would compare nothing."""
    return f"{side[0]['version']} of {side[0]['flows']}"


def compared(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> Iterator[Difference]:
    """All endings, in the order played; prints a line for each."""
    sides = [{one["play"]: one for one in side if "play" in one} for side in (before, now)]
    assert list(sides[0]) == list(sides[1]), "the two played different things"
    for play, earlier in sides[0].items():
        found = list(differences(earlier, sides[1][play]))
        rows, writes = sum(map(len, earlier["rows"].values())), sum(earlier["writes"].values())
        print(f"{play}: {earlier['runs']} runs, {writes} writes, {rows} rows, {len(found)} differences")
        for version, side in ((VERSION, earlier), ("today", sides[1][play])):
            for note in side["notes"]:
                print(f"    {version} {note}")
        yield from found


def main() -> int:
    """Compare, print, decide."""
    parser = argparse.ArgumentParser(prog="python -m tests.compare", description=__doc__)
    parser.add_argument("--seeds", default="1-4", help="of histories, such as 1-4 or 3,7,11-14; empty for none")
    parser.add_argument("--lives", default="1/3", help="every third life from the first on; empty for none")
    parser.add_argument("--keep", action="store_true", help=f"let {VERSION} make tests/compare/kept instead")
    given = parser.parse_args()
    asked = ["--seeds", *map(str, numbers(given.seeds))]
    asked += ["--lives", *given.lives.split("/")] if given.lives else []
    began = time.monotonic()
    known = explanations()
    try:
        earlier = baseline()
    except NoBaselineError as failure:
        print(f"compare: {failure}", file=sys.stderr)
        return 2
    if given.keep:
        return subprocess.run([earlier.python, "-I", PLAYER, "--keep"], check=False).returncode
    prepared = time.monotonic() - began
    before, now = played([earlier.python, Path(sys.executable)], asked)
    print(f"compare: {named(before)}\nwith     {named(now)}")
    assert before[0]["version"] == VERSION, before[0]
    assert Path(now[0]["flows"]).parent == ROOT, now[0]
    found = list(compared(before, now))
    left = explain(found, known)
    for one in known:
        print(f"explained: {one}" if one.holds else f"explains nothing here, or not so many: {one}")
    for difference in left:
        print(f"  !!  {difference}")
    seconds = time.monotonic() - began
    print(
        f"compare: {len(found)} differences to {VERSION} ({earlier.commit[:12]}), {len(left)} unexplained; "
        f"{seconds:.0f} s, {prepared:.0f} of them for its environment"
    )
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
