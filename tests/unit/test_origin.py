"""A foreign package with one of our names is refused before it runs in our place."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterbridge.errors import SetupError
from meterbridge.origin import verify

HOME = Path("/srv/bridge")


def locate_with(**elsewhere: Path | None):  # type: ignore[no-untyped-def]
    """A stand-in for the import system: all at home but for what is named."""
    places = {name: HOME / name for name in ("flows", "tasks", "connectors")} | elsewhere
    return places.__getitem__


def test_our_own_packages_pass() -> None:
    verify(locate_with(), HOME)


def test_what_this_test_runs_on_passes() -> None:
    verify()


@pytest.mark.parametrize("name", ["flows", "tasks", "connectors"])
def test_a_foreign_package_is_refused_by_name(name: str) -> None:
    foreign = Path("/usr/lib/python3/dist-packages") / name
    with pytest.raises(SetupError) as caught:
        verify(locate_with(**{name: foreign}), HOME)
    assert caught.value.code == "MB-ORIGIN"
    assert caught.value.key == name
    assert f"package {name} comes from {foreign}, expected /srv/bridge/{name}" in str(caught.value)


def test_a_module_file_of_the_same_name_is_refused() -> None:
    with pytest.raises(SetupError, match=r"package tasks comes from /srv/other/tasks\.py"):
        verify(locate_with(tasks=Path("/srv/other/tasks.py")), HOME)


def test_a_package_that_is_absent_or_has_no_init_file_is_refused() -> None:
    with pytest.raises(SetupError, match="package connectors was not found as a package"):
        verify(locate_with(connectors=None), HOME)
