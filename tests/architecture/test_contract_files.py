"""The vendors' descriptions are kept as they were published."""

from __future__ import annotations

import hashlib
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"


def test_m3ters_description_is_byte_for_byte_the_published_one() -> None:
    digest = hashlib.sha256((CONTRACTS / "m3ter-openapi.yml").read_bytes()).hexdigest()
    assert digest == "da8df9ce0e1464799f3b9feea8f957a3ca4c016fcba753ec71deb0ee2caf6536"
    assert digest in (CONTRACTS / "README.md").read_text(encoding="utf-8")
