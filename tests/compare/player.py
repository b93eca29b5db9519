"""Plays by the version that is installed beside the Python that runs this file: ``python -I player.py PLAY…``.

The sandbox, the tests' rigs and the dice are those of this checkout for every version: only the bridge differs.
A version's own sandbox would compare two imitations of the vendors, and a new one's moves would be unknown to it.

One line of JSON an ending.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
import types
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def graft() -> None:
    """Let ``tests`` and ``meterbridge.sandbox`` come from this checkout, all else from what is installed."""
    tests = types.ModuleType("tests")
    tests.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = tests
    home = ROOT / "meterbridge" / "sandbox"
    spec = importlib.util.spec_from_file_location(
        "meterbridge.sandbox", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    assert spec is not None
    assert spec.loader is not None
    import meterbridge

    sandbox = importlib.util.module_from_spec(spec)
    sys.modules["meterbridge.sandbox"] = sandbox
    spec.loader.exec_module(sandbox)
    meterbridge.sandbox = sandbox  # type: ignore[attr-defined]


def isolate(home: Path) -> None:
    """Nothing of the caller's environment gets through, and Prefect keeps to a folder of ours."""
    for name in [one for one in os.environ if one.startswith(("CHARGEBEE_", "M3TER_", "METERBRIDGE_", "PREFECT_"))]:
        del os.environ[name]
    os.environ.update({"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"})
    os.chdir(home)


def share_what_is_compiled() -> None:
    """Let all ledgers of this process share what SQLAlchemy has compiled: much of a small run's time."""
    import sqlalchemy

    make, kept = sqlalchemy.create_engine, {}

    def sharing(url: sqlalchemy.URL, **options: object) -> sqlalchemy.Engine:
        made = make(url, **options)
        made.dialect, made._compiled_cache = kept.setdefault(url.drivername, (made.dialect, made._compiled_cache))
        return made

    sqlalchemy.create_engine = sharing  # type: ignore[assignment]


def main() -> None:
    """Play one after the other; an ending a line."""
    parser = argparse.ArgumentParser(prog="player", description=__doc__)
    parser.add_argument("--seeds", nargs="*", type=int, default=[])
    parser.add_argument("--lives", nargs=2, type=int, help="the first one, and every how manieth from there on")
    parser.add_argument("--keep", action="store_true", help="make tests/compare/kept instead")
    given = parser.parse_args()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not get between the endings
    with ExitStack() as stack:
        if os.access("/dev/shm", os.W_OK):
            tempfile.tempdir = "/dev/shm"
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-")))
        isolate(home)
        graft()
        share_what_is_compiled()
        import flows
        import meterbridge
        from tests.back_off import no_back_off
        from tests.compare.keep import keep
        from tests.compare.plays import plays

        stack.enter_context(no_back_off())
        if given.keep:
            keep(home)
            return
        out.write(json.dumps({"version": meterbridge.__version__, "flows": str(Path(flows.__file__).parent)}) + "\n")
        for number, (name, play) in enumerate(plays(given.seeds, given.lives).items()):
            began = time.process_time()
            for ending in play(home / str(number)):
                out.write(json.dumps(ending.as_json()) + "\n")
            out.write(json.dumps({"played": name, "seconds": round(time.process_time() - began, 1)}) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
