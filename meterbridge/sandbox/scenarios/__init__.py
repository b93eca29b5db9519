"""Seeded worlds: the same name and seed give the same world."""

from __future__ import annotations

from pathlib import Path

from meterbridge.sandbox.scenarios.build import NAMES, build

__all__ = ["NAMES", "build", "catalog_path"]


def catalog_path() -> Path:
    """The catalog map that fits every scenario."""
    return Path(__file__).with_name("demo_catalog.yaml")
