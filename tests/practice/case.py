"""A case of the book: one YAML file, read strictly. What nobody knows is refused with its file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meterbridge.settings import Settings
from tests.practice.shapes import DEEDS, REQUIRED, SCHEMA, Named
from tests.practice.words import moment

HERE = Path(__file__).parent
_WHEN = re.compile(r"(\d{4}-\d\d-\d\d(?: \d\d:\d\d(?::\d\d)?)?), (\S.*)", re.DOTALL)
_NOON = 12 * 3_600


class CaseError(Exception):
    """A case that cannot be understood; the text begins with ``file:line``."""


@dataclass(frozen=True)
class Deed:
    """Something that is done in a step: its name, what is said of it, and its line in the file."""

    name: str
    said: Any
    line: int


@dataclass(frozen=True)
class Step:
    """An instant (epoch seconds), a sentence on it, and the ``deeds`` then done, in their order."""

    at: int
    when: str
    words: str
    line: int
    deeds: tuple[Deed, ...]


@dataclass(frozen=True)
class Case:
    """One set-up: how it begins, what happens, and what must stand in the end."""

    path: Path
    told: Mapping[str, Any]
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        return self.path.stem

    def part(self, *names: str) -> Any:
        """A part of the case, by its keys; an empty mapping where it is not told."""
        found: Any = self.told
        for name in names:
            found = found.get(name) or {}
        return found

    def goes_wrong_today(self, way: str) -> str:
        """Why the product does something else today, in every way or in this one; empty where it does not."""
        told = self.told.get("goes_wrong_today") or ""
        return str(told.get(way, "") if isinstance(told, Mapping) else told).strip()


def cases() -> list[Case]:
    """Every case of the book, by file name."""
    return [read(path) for path in sorted(HERE.glob("*.yaml"))]


def read(path: Path) -> Case:
    """One case.

    Raises:
        CaseError: The file says something that nobody knows.
    """
    loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
    loader.name = path.name
    try:
        node = loader.get_single_node()
        check(path, node, SCHEMA)
        told = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CaseError(f"{path.name}:{line}: {error.problem}") from None
    missing = [name for name in REQUIRED if name not in told]
    if missing:
        raise CaseError(f"{path.name}:1: {', '.join(missing)} is missing")
    by_name = {key.value: value for key, value in node.value}
    for part in ("settings", "settings_that_matter"):
        for key, _ in by_name[part].value if part in by_name else ():
            known(path, key, {f"METERBRIDGE_{name.upper()}" for name in Settings.model_fields})
    steps = tuple(_steps(path, by_name["what_happens"], told["what_happens"]))
    return Case(path, told, steps)


def check(path: Path, node: yaml.Node, shape: Any) -> None:
    """Refuse keys that the shape does not know, and keys that stand twice."""
    if isinstance(shape, list):
        for one in node.value if isinstance(node, yaml.SequenceNode) else ():
            check(path, one, shape[0])
    if not isinstance(shape, Named | Mapping) or not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            raise CaseError(f"{path.name}:{key.start_mark.line + 1}: {key.value} stands twice")
        seen.add(key.value)
        if isinstance(shape, Named):
            check(path, value, shape.of)
        else:
            known(path, key, shape)
            check(path, value, shape[key.value])


def known(path: Path, key: yaml.Node, names: Collection[str]) -> None:
    """Refuse a name that is none of these, with the one that was probably meant."""
    if key.value in names:
        return
    near = difflib.get_close_matches(key.value, names, 1)
    meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(names))}"
    raise CaseError(f"{path.name}:{key.start_mark.line + 1}: nobody knows {key.value}; {meant}")


def _steps(path: Path, node: yaml.Node, told: list[Any]) -> Iterator[Step]:
    before = 0
    for entry, said in zip(node.value, told, strict=True):
        line = entry.start_mark.line + 1
        if not isinstance(entry, yaml.MappingNode) or len(entry.value) != 1:
            raise CaseError(f"{path.name}:{line}: a step is 'DATE [HH:MM], words:' and what is done")
        ((key, value),) = entry.value
        found = _WHEN.fullmatch(key.value)
        if found is None:
            raise CaseError(f"{path.name}:{line}: a step begins with DATE [HH:MM] and a comma, then says what happens")
        at = moment(found[1]) + (0 if ":" in found[1] else _NOON)
        if at < before:
            raise CaseError(f"{path.name}:{line}: {found[1]} is before the step above it")
        before = at
        groups = value.value if isinstance(value, yaml.SequenceNode) else [value]
        (acts,) = said.values()
        acts = acts if isinstance(acts, list) else [acts]
        deeds = [one for group, act in zip(groups, acts, strict=True) for one in _deeds(path, group, act)]
        yield Step(at, found[1], found[2].strip(), line, tuple(deeds))


def _deeds(path: Path, node: yaml.Node, said: Any) -> Iterator[Deed]:
    if not isinstance(node, yaml.MappingNode):
        raise CaseError(f"{path.name}:{node.start_mark.line + 1}: say what is done: {', '.join(sorted(DEEDS))}")
    check(path, node, DEEDS)
    for key, _ in node.value:
        yield Deed(key.value, said[key.value], key.start_mark.line + 1)
