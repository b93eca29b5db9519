"""The locks name exact versions with hashes, no host, and what pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUPS = PROJECT["dependency-groups"]
WANTED = {
    "requirements.lock": PROJECT["project"]["dependencies"] + GROUPS["build"],
    "requirements-dev.lock": PROJECT["project"]["dependencies"] + GROUPS["build"] + GROUPS["dev"],
    "requirements-bench.lock": PROJECT["project"]["dependencies"] + GROUPS["build"] + GROUPS["bench"],
    # What tests/flows/test_oldest_prefect.py runs.
    "requirements-prefect-3.8.lock": PROJECT["project"]["dependencies"] + GROUPS["build"],
}
LOCKS = sorted(WANTED)


def entries(lock: str) -> list[str]:
    """The entries of a lock, each on one line with its hashes."""
    lines = [line for line in (ROOT / lock).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [entry for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def pins(lock: str) -> dict[str, set[Version]]:
    """Versions by normalized name; several where they differ by Python or platform."""
    found: dict[str, set[Version]] = {}
    for entry in entries(lock):
        name, version = entry.split(";")[0].split("--hash")[0].strip().split("==")
        found.setdefault(canonicalize_name(name), set()).add(Version(version.strip()))
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_no_path(lock: str) -> None:
    assert re.findall(r"://|^-|^\s*(?:/|\.)|\s@\s|file:", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_one_version_with_hashes(lock: str) -> None:
    shape = re.compile(r"[A-Za-z0-9._-]+==\S+( ; .+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert [entry for entry in entries(lock) if not shape.fullmatch(entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_what_the_project_asks_for(lock: str) -> None:
    pinned = pins(lock)
    for requirement in map(Requirement, WANTED[lock]):
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement} is not in {lock}: make lock"
        assert all(version in requirement.specifier for version in versions), f"{requirement}: {versions}: make lock"


@pytest.mark.parametrize("lock", ["requirements-dev.lock", "requirements-bench.lock"])
def test_what_runs_has_the_same_versions_in_every_lock(lock: str) -> None:
    pinned = pins(lock)
    assert {name: pinned.get(name) for name in pins("requirements.lock")} == pins("requirements.lock")


def test_both_ends_of_the_range_of_prefect_are_locked() -> None:
    (declared,) = [each for each in map(Requirement, PROJECT["project"]["dependencies"]) if each.name == "prefect"]
    ends = {each.operator: Version(each.version) for each in declared.specifier}
    (oldest,) = pins("requirements-prefect-3.8.lock")["prefect"]
    (newest,) = pins("requirements.lock")["prefect"]
    assert oldest == ends[">="]
    assert (newest.major, newest.minor + 1) == ends["<"].release[:2]
