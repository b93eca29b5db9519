"""``python -m tests.practice NAME``: plays cases and shows what stands; ``schedule NAME`` in one way alone.

``python -m tests.practice page`` writes the page of all cases.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from tests import quick_ledgers
from tests.practice import page
from tests.practice.case import HERE, read
from tests.practice.play import WAYS, Play
from tests.practice.stands import stands


def main(names: list[str]) -> int:
    """Exit code 1 where a case ends otherwise than it says."""
    if names == ["page"]:
        page.PAGE.write_text(page.written(), encoding="utf-8")
        return 0
    wrong = 0
    quick_ledgers.install()
    ways = [way for way in WAYS if way in names] or WAYS
    for name in (one for one in names if one not in WAYS):
        for way in ways:
            with tempfile.TemporaryDirectory() as home:
                play = Play(read(HERE / f"{name}.yaml"), way, Path(home)).through()
                complaints = list(play.complaints())
                print(f"--- {name} by {way}")
                print(yaml.safe_dump(stands(play), sort_keys=False, width=150))
                print("\n".join(sorted(set(play.said))))
                print("\n".join(complaints) or "as it says")
                wrong += bool(complaints)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
