"""``doctor`` on Prefect and FastAPI: the old one needs a limit that the new one brings along."""

from __future__ import annotations

from importlib import metadata

import pytest

from meterbridge.cli.checks import _versions

REMEDY = 'Take Prefect 3.9, or install "fastapi<0.151" beside this one.'


@pytest.mark.parametrize(
    ("prefect", "fastapi", "verdict", "remedy"),
    [
        ("3.8.8", "0.165.0", "failure", REMEDY),
        ("3.8.8", "0.151.0", "failure", REMEDY),
        ("3.8.8", "0.150.0", "ok", ""),
        ("3.9.1", "0.150.0", "ok", ""),
        ("3.10.0", "0.165.0", "ok", ""),
    ],
)
def test_prefect_of_before_3_9_needs_an_older_fastapi(
    monkeypatch: pytest.MonkeyPatch, prefect: str, fastapi: str, verdict: str, remedy: str
) -> None:
    monkeypatch.setattr(metadata, "version", {"prefect": prefect, "fastapi": fastapi}.__getitem__)
    (found,) = [one for one in _versions() if one.check == "prefect"]
    assert (found.verdict, found.remedy or "") == (verdict, remedy)
