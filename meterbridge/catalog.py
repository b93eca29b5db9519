"""The catalog map: which Chargebee item price is which m3ter plan, and which bill line is which charge.

A YAML file that people edit, so that every mistake is told with its line number.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meterbridge.errors import SetupError


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_min_length=1)


class PlanRow(_Row):
    """A Chargebee item price and the code of the m3ter plan that it stands for."""

    item_price: str = Field(max_length=100)
    plan: str = Field(max_length=80)


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

    def fingerprint(self) -> str:
        """Hash of what the map says, whatever its layout; another one makes the next run a full read."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_catalog(path: Path) -> Catalog:
    """Read and check the map.

    Raises:
        SetupError: MB-CATALOG with file, line and what is wrong there.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except FileNotFoundError as failure:
        raise SetupError(
            "MB-CATALOG",
            f"{path} does not exist",
            remedy="Copy catalog.example.yaml, fill it in, and name it in METERBRIDGE_CATALOG.",
        ) from failure
    except (OSError, UnicodeDecodeError) as failure:
        raise SetupError("MB-CATALOG", f"{path} cannot be read: {type(failure).__name__}") from failure
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SetupError("MB-CATALOG", f"{path}{line}: {getattr(failure, 'problem', 'not YAML')}") from failure
    if root is None:
        return Catalog()
    _refuse_repeated_keys(path, root)
    try:
        catalog = Catalog.model_validate(content)
    except ValidationError as failure:
        found = failure.errors(include_input=False)[0]
        where = ".".join(str(part) for part in found["loc"])
        message = "unknown key" if found["type"] == "extra_forbidden" else found["msg"]
        raise SetupError("MB-CATALOG", f"{path}:{_line(root, found['loc'])}: {where}: {message}") from None
    _refuse_repeated_item_prices(path, root, catalog)
    return catalog


def _refuse_repeated_item_prices(path: Path, root: yaml.Node, catalog: Catalog) -> None:
    seen: dict[str, int] = {}
    for number, row in enumerate(catalog.plans):
        line = _line(root, ("plans", number))
        if row.item_price in seen:
            raise SetupError(
                "MB-CATALOG",
                f"{path}:{line}: item price {row.item_price!r} is mapped twice (first on line {seen[row.item_price]})",
            )
        seen[row.item_price] = line


def _refuse_repeated_keys(path: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for name, value in node.value:
            if name.value in seen:
                raise SetupError("MB-CATALOG", f"{path}:{name.start_mark.line + 1}: key {name.value!r} is repeated")
            seen.add(name.value)
            _refuse_repeated_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(path, item)


def _line(node: yaml.Node, where: tuple[Any, ...]) -> int:
    """The line (from 1) of the deepest part of ``where`` that the file has."""
    line = node.start_mark.line + 1
    for part in where:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            pair = next(((name, value) for name, value in node.value if name.value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
            continue
        else:
            break
        line = node.start_mark.line + 1
    return line
