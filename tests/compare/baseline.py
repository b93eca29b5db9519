"""The version that today's code is held against: its last commit, its wheel, an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.1.0"
VERSION_FILE = "meterbridge/__init__.py"
KEPT = ROOT / "build" / "compare"
"""Environments, one a commit; ``make clean`` removes them."""


class NoBaselineError(Exception):
    """The earlier version cannot be had here; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """An installed version: ``python`` is that of its environment."""

    commit: str
    python: Path


def baseline() -> Baseline:
    """The environment of ``VERSION``, made where there is none yet (a minute or two).

    Raises:
        NoBaselineError: This checkout has no history that reaches so far, or the version cannot be built.
    """
    commit = last_commit_of(VERSION)
    home = KEPT / f"{VERSION}-{commit[:12]}"
    python = home / "venv" / "bin" / "python"
    if not (home / "complete").exists():
        print(f"compare: making an environment of {VERSION} ({commit[:12]}), a minute or two", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        _install(commit, home, python)
        (home / "complete").touch()
    return Baseline(commit, python)


def last_commit_of(version: str, root: Path = ROOT) -> str:
    """The last commit on the way here whose version line says so: a tag may not have come with the checkout."""
    commits = _git(root, "rev-list", "--first-parent", "HEAD").split()
    names = "".join(f"{commit}:{VERSION_FILE}\n" for commit in commits)
    texts = _git(root, "cat-file", "--batch", given=names)
    found = _first_that_says(f'__version__ = "{version}"', commits, texts.encode())
    if found is None:
        shallow = _git(root, "rev-parse", "--is-shallow-repository").strip() == "true"
        remedy = "git fetch --unshallow" if shallow else "use a checkout whose history reaches it"
        raise NoBaselineError(f"no commit of {len(commits)} says version {version}: {remedy}")
    return found


def _first_that_says(line: str, commits: list[str], batch: bytes) -> str | None:
    """Of git's answers, ``<id> <type> <size>`` and so many bytes each, or ``<name> missing``."""
    at = 0
    for commit in commits:
        end = batch.index(b"\n", at)
        head, at = batch[at:end].split(), end + 1
        if head[-1] == b"missing":
            continue
        size = int(head[-1])
        if line.encode() in batch[at : at + size].splitlines():
            return commit
        at += size + 1
    return None


def _install(commit: str, home: Path, python: Path) -> None:
    """As ``.ci/environment`` does: the lock of that version, hashes checked, and its wheel from nothing unpinned."""
    source, wheels = home / "source", home / "wheels"
    source.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    _run(sys.executable, "-m", "venv", str(home / "venv"))
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
    _run(*pip, "install", "--require-hashes", "--no-deps", "--requirement", str(source / "requirements.lock"))
    offline = ("--no-index", "--no-deps")
    _run(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels), str(source))
    _run(*pip, "install", *offline, *map(str, wheels.glob("meterbridge-*.whl")))
    shutil.rmtree(source)


def _run(*command: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=kept)
    if done.returncode:
        raise NoBaselineError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _git(root: Path, *arguments: str, given: str | None = None) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, input=given, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoBaselineError("git is needed, to find the version to compare with") from None
    if done.returncode:
        raise NoBaselineError(f"git {arguments[0]}: {done.stderr.strip()}; a checkout with its history is needed")
    return done.stdout
