"""``python -m tests.compare --seeds 1-4 --lives 1/3``: 0.1.0 and today's code on the same worlds, and what differs.

0 when each difference is explained in ``explained.yaml``, 1 when one is not, 2 when nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.compare.baseline import KEPT, ROOT, VERSION, NoBaselineError, baseline
from tests.compare.differences import Difference, Explanation, differences, explain, explanations, miscounted

CHARGE = re.compile(r"POST chargebee/\S*(invoices|add_charge|unbilled_charges)|POST chargebee/.*/add_charge")
AT_LEAST = 0.5
"""The share of the charges of histories that must have been compared."""
PLAYED = KEPT / "played.json"
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
        sides = list(pool.map(lambda one: list(_heard(one.stdout)), players))  # type: ignore[arg-type]
    for one in players:
        one.wait()
    if any(one.returncode for one in players):
        raise RuntimeError(f"players ended with {[one.returncode for one in players]}")
    return sides


def _heard(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield each line that a player tells, and say on stderr how far it is."""
    version = ""
    for line in lines:
        told = json.loads(line)
        version = told.get("version", version)
        if "played" in told:
            print(f"    {version} played {told['played']}: {told['seconds']} s", file=sys.stderr, flush=True)
        yield told


def named(side: Sequence[dict[str, Any]]) -> str:
    """Which version played, and from where: a stranger's flows would compare nothing."""
    return f"{side[0]['version']} of {side[0]['flows']}"


@dataclass
class Shares:
    """Of the steps of histories, and of the charges in them: how many were played, and how many compared."""

    steps: Counter[str] = field(default_factory=Counter)
    charges: Counter[str] = field(default_factory=Counter)

    def count(self, ending: Mapping[str, Any], *parts: str) -> None:
        """One more step of these parts."""
        charges = sum(times for text, times in ending["writes"].items() if CHARGE.match(text))
        for part in parts:
            self.steps[part] += 1
            self.charges[part] += charges

    def too_few(self) -> bool:
        """True if the explanations leave too little of the histories compared to say that anything is equal."""
        return self.charges["compared"] < AT_LEAST * self.charges["played"]

    def __str__(self) -> str:
        each = ((self.steps, "steps"), (self.charges, "charges"))
        return "histories: " + ", ".join(f"{one['compared']} of {one['played']} {what} compared" for one, what in each)


def compared(
    before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]], known: Sequence[Explanation]
) -> tuple[int, list[Difference], Shares]:
    """All endings, in the order played: how many differences there are, and which are not explained.

    A play of several steps is compared until the first difference that makes two worlds of it.
    """
    sides = [{one["play"]: one for one in side if "play" in one} for side in (before, now)]
    assert list(sides[0]) == list(sides[1]), "the two played different things"
    count, left, shares, apart, notes = 0, [], Shares(), set(), set()
    for play, earlier in sides[0].items():
        today = sides[1][play]
        notes.update((f"{VERSION} {note}") for note in earlier["notes"])
        notes.update((f"today {note}") for note in today["notes"])
        whole, step, _ = play.partition(", step ")
        if step:
            shares.count(earlier, "played", *(() if whole in apart else ("compared",)))
        if whole in apart:
            continue
        found = list(differences(earlier, today))
        unexplained, parted = explain(found, known)
        count, left = count + len(found), [*left, *unexplained]
        if parted:
            apart.add(whole)
        if not step or parted:
            rows, writes = sum(map(len, earlier["rows"].values())), sum(earlier["writes"].values())
            told = f", {len(unexplained)} unexplained" if unexplained else ""
            print(f"{play}: {earlier['runs']} runs, {writes} writes, {rows} rows, {len(found)} differences{told}")
    for note in sorted(notes):
        print(f"    {note}")
    return count, [*left, *miscounted(known)], shares


def main() -> int:
    """Compare, print, decide."""
    parser = argparse.ArgumentParser(prog="python -m tests.compare", description=__doc__)
    parser.add_argument("--seeds", default="1-4", help="of histories, such as 1-4 or 3,7,11-14; empty for none")
    parser.add_argument("--lives", default="1/3", help="every third life from the first on; empty for none")
    parser.add_argument("--again", action="store_true", help="compare what was played last: for new explanations")
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
    if given.again:
        before, now = json.loads(PLAYED.read_text(encoding="utf-8"))
    else:
        before, now = played([earlier.python, Path(sys.executable)], asked)
        PLAYED.write_text(json.dumps([before, now]), encoding="utf-8")
    print(f"compare: {named(before)}\nwith     {named(now)}")
    assert before[0]["version"] == VERSION, before[0]
    assert Path(now[0]["flows"]).parent == ROOT, now[0]
    count, left, shares = compared(before, now, known)
    for one in known:
        print(f"explained: {one}" if one.holds else f"explains nothing here, or not so many: {one}")
    for difference in left:
        print(f"  !!  {difference}")
    seconds = time.monotonic() - began
    print(shares)
    if shares.too_few():
        print(
            f"  !!  less than {AT_LEAST:.0%} of the charges of histories are compared: the explanations part too early"
        )
    print(
        f"compare: {count} differences to {VERSION} ({earlier.commit[:12]}), {len(left)} unexplained; "
        f"{seconds:.0f} s, {prepared:.0f} of them for its environment"
    )
    return 1 if left or shares.too_few() else 0


if __name__ == "__main__":
    sys.exit(main())
