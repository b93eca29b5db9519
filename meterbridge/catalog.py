"""The catalog map: which Chargebee item price is which m3ter plan, and which bill line is which charge.

A YAML file that people edit, so that every mistake is told with its line number.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from meterbridge.checked_yaml import line_of, load_checked
from meterbridge.errors import SetupError

logger = logging.getLogger(__name__)


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_min_length=1)


class PlanRow(_Row):
    """A Chargebee item price and the code of the m3ter plan that it stands for.

    ``replace_on``: for this item price in place of the setting.
    """

    item_price: str = Field(max_length=100)
    plan: str = Field(max_length=80)
    replace_on: Literal["mapped_plan", "material", "any_change"] | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not said, so that a catalog that says nothing new has the fingerprint that it had."""
        return {name: value for name, value in dump(self).items() if name != "replace_on" or value is not None}


class ChargeRow(_Row):
    """Which m3ter bill lines are charged as ``item_price``; a field left out matches anything."""

    item_price: str = Field(max_length=100)
    product: str | None = None
    plan: str | None = None
    pricing: str | None = None
    aggregation: str | None = None
    compound_aggregation: str | None = None
    line_item_type: str | None = None
    segment: dict[str, str] | None = None
    currency: str | None = Field(None, min_length=3, max_length=3)


class Catalog(_Row):
    """The whole map. Charges: the first row that matches wins."""

    plans: tuple[PlanRow, ...] = ()
    charges: tuple[ChargeRow, ...] = ()

    @property
    def shared(self) -> dict[str, tuple[str, ...]]:
        """Return the item prices of each m3ter plan that several of them stand for.

        A subscription with more than one of them has one account plan for all.
        """
        found: dict[str, list[str]] = defaultdict(list)
        for row in self.plans:
            found[row.plan].append(row.item_price)
        return {plan: tuple(prices) for plan, prices in found.items() if len(prices) > 1}

    def fingerprint(self) -> str:
        """Hash of what the map says, whatever its layout; another one makes the next run a full read."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_catalog(path: Path) -> Catalog:
    """Read and check the map.

    Raises:
        SetupError: MB-CATALOG with file, line and what is wrong there.
    """
    try:
        changed = path.stat()
    except OSError:
        return _read(path)
    return _unchanged(path, changed.st_mtime_ns, changed.st_size)


@functools.lru_cache(maxsize=4)
def _unchanged(path: Path, _changed_ns: int, _size: int) -> Catalog:
    """The map as it was read when the file last changed: a run asks for it at several places."""
    return _read(path)


def _read(path: Path) -> Catalog:
    missing = "Copy catalog.example.yaml, fill it in, and name it in METERBRIDGE_CATALOG."
    catalog, root = load_checked(path, Catalog, "MB-CATALOG", missing=missing)
    if catalog is None or root is None:
        return Catalog()
    _refuse_repeated_item_prices(path, root, catalog)
    for plan, prices in catalog.shared.items():
        logger.info(
            "item prices share an m3ter plan: a subscription with several of them has one account plan",
            extra={"plan": plan, "item_prices": ", ".join(prices)},
        )
    return catalog


def _refuse_repeated_item_prices(path: Path, root: yaml.Node, catalog: Catalog) -> None:
    seen: dict[str, int] = {}
    for number, row in enumerate(catalog.plans):
        line = line_of(root, ("plans", number))
        if row.item_price in seen:
            raise SetupError(
                "MB-CATALOG",
                f"{path}:{line}: item price {row.item_price!r} is mapped twice (first on line {seen[row.item_price]})",
            )
        seen[row.item_price] = line
