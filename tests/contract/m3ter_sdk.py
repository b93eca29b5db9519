"""What m3ter's official SDK knows of its calls: a judge of the sandbox where the kept contract has no such call."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import types
from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

import m3ter.resources
from m3ter import BaseModel
from typing_extensions import is_typeddict

from contracts.schemas import Json, closed

SENDS = {"_get": "GET", "_post": "POST", "_put": "PUT", "_delete": "DELETE", "_get_api_list": "GET"}
PLAIN: dict[Any, Json] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    date: {"type": "string", "format": "date"},
    datetime: {"type": "string", "format": "date-time"},
    Any: {},
    object: {},
}


@functools.cache
def calls() -> dict[str, tuple[ast.Call, Any]]:
    """Every call that the SDK can make: ``POST /organizations/{org_id}/bills/approve``, and where it does."""
    return {name: call for module in _modules() for name, call in _calls_of(module)}


def call(name: str) -> Json:
    """What a contract holds of a call."""
    sent, module = calls()[name]
    return _call(sent, vars(module))


def _modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(m3ter.resources.__path__, "m3ter.resources."):
        if not found.ispkg:
            yield importlib.import_module(found.name)


def _calls_of(module: Any) -> Iterator[tuple[str, tuple[ast.Call, Any]]]:
    for kind in ast.parse(inspect.getsource(module)).body:
        if isinstance(kind, ast.ClassDef) and kind.name.endswith("Resource") and not kind.name.startswith("Async"):
            for sent in ast.walk(kind):
                if (
                    isinstance(sent, ast.Call)
                    and isinstance(sent.func, ast.Attribute)
                    and _is_sent(sent.func, sent.args)
                ):
                    yield f"{SENDS[sent.func.attr]} {_path(sent.args[0])}", (sent, module)


def _is_sent(method: ast.Attribute, given: list[ast.expr]) -> bool:
    return method.attr in SENDS and bool(given) and isinstance(given[0], ast.JoinedStr)


def _path(address: Any) -> str:
    return "".join(
        part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}" for part in address.values
    )


def _call(sent: ast.Call, names: dict[str, Any]) -> Json:
    given = {each.arg: each.value for each in sent.keywords}
    listed = sent.func.attr == "_get_api_list"  # type: ignore[attr-defined]
    answer = schema(_named(given["model" if listed else "cast_to"], names))
    if listed:
        answer = closed({"data": {"type": "array", "items": answer}, "nextToken": {"type": "string"}}, ["data"])
    found = {"answer": answer}
    parameters = [_named(each.args[1], names) for each in ast.walk(sent) if _is_transform(each)]
    if parameters:
        # A path's parameters stand among the others; naming too many here forbids nothing.
        found["query"] = {**schema(parameters[0]), "required": []}
    if "body" in given:
        found["body"] = schema(parameters[0])
    return found


def _is_transform(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "maybe_transform"


def _named(expression: ast.expr, names: dict[str, Any]) -> Any:
    return eval(ast.unparse(expression), dict(names))


def schema(hint: Any) -> Json:
    """JSON Schema of a type of the SDK."""
    if get_origin(hint) in (Required, NotRequired):
        return schema(get_args(hint)[0])
    if get_origin(hint) is Annotated:
        return schema(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return {"anyOf": [schema(each) for each in get_args(hint) if each is not type(None)]}
    if get_origin(hint) is Literal:
        return {"type": "string", "enum": list(get_args(hint))}
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": schema(get_args(hint)[1])}
    if get_origin(hint) is not None:
        return {"type": "array", "items": schema(get_args(hint)[0])}
    if is_typeddict(hint):
        return _parameters(hint)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        fields = {each.alias or name: schema(each.annotation) for name, each in hint.model_fields.items()}
        return closed(fields, [each.alias or name for name, each in hint.model_fields.items() if each.is_required()])
    return PLAIN[hint]


def _parameters(kind: Any) -> Json:
    hints = get_type_hints(kind, include_extras=True)
    names = {name: _alias(hint) or name for name, hint in hints.items()}
    needed = [names[name] for name, hint in hints.items() if get_origin(hint) is Required]
    return closed({names[name]: schema(hint) for name, hint in hints.items()}, needed)


def _alias(hint: Any) -> str | None:
    while get_origin(hint) in (Required, NotRequired):
        hint = get_args(hint)[0]
    return next((each.alias for each in getattr(hint, "__metadata__", ()) if each.alias), None)
