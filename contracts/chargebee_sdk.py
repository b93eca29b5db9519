"""Facts about Chargebee's calls, read out of the types of its official SDK."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import Any, NotRequired, Required, get_args, get_origin, get_type_hints

import chargebee.models
from chargebee.models import enums

from contracts.schemas import Json, closed

PLAIN: dict[Any, Json] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    Any: {},
}
# How the SDK writes a list into a filter: as one text.
LIST_TEXT = {"type": "string", "pattern": r"^\[.*\]$"}
# Parts of an SDK response that tell about the answer and do not stand in it.
ABOUT = {"is_idempotency_replayed", "headers", "http_status_code"}
FEW = 8


class Sdk:
    """Calls by name (``POST /invoices/{id}/add_charge``), and the types that they name, collected as they are met.

    Args:
        always: Attributes that an answer's object always has, by the object's name. The SDK does not tell.
    """

    def __init__(self, always: Mapping[str, list[str]]) -> None:
        self._always = always
        self.types: Json = {}

    def call(self, name: str) -> Json:
        """Query or form parameters, the answer, and ``keyed`` where an idempotency key is honoured."""
        operation = operations()[name]
        signature = get_type_hints(operation.method, vars(operation.module), vars(operation.owner))
        parameters = signature.get("params")
        part = "query" if name.startswith("GET") else "body"
        found: Json = {part: self._record(parameters, operation.owner)} if parameters else {}
        if operation.keyed:
            found["keyed"] = True
        return found | {"answer": self._envelope(operation.answer)}

    def _record(self, kind: Any, owner: type) -> Json:
        """A TypedDict of parameters; the names inside refer to classes beside it."""
        hints = get_type_hints(kind, vars(importlib.import_module(owner.__module__)), {owner.__name__: owner}, True)
        fields = {name: self._parameter(hint, owner) for name, hint in hints.items()}
        needed = sorted(name for name, hint in hints.items() if get_origin(hint) is Required)
        return closed(fields, needed)

    def _parameter(self, hint: Any, owner: type) -> Json:
        if get_origin(hint) in (Required, NotRequired):
            return self._parameter(get_args(hint)[0], owner)
        if get_origin(hint) is list:
            return {"type": "array", "items": self._parameter(get_args(hint)[0], owner)}
        if get_origin(hint) is dict:
            # One parameter that holds JSON text.
            return {"type": "string"}
        if isinstance(hint, type) and issubclass(hint, Enum):
            return self._enumeration(hint)
        if hint in PLAIN:
            return PLAIN[hint]
        if hint.__module__ == "chargebee.filters.filters":
            return self._filter(hint)
        return self._record(hint, owner)

    def _enumeration(self, kind: type[Enum]) -> Json:
        made = {"type": "string", "enum": [each.value for each in kind]}
        if len(kind) <= FEW:
            return made
        # Long ones are named, so that they stand once.
        self.types[kind.__qualname__] = made
        return {"$ref": f"#/types/{kind.__qualname__}"}

    def _filter(self, kind: Any) -> Json:
        if kind.__name__ not in self.types:
            fields = {
                name.lower(): LIST_TEXT if get_origin(get_args(hint)[0]) is list else PLAIN[get_args(hint)[0]]
                for name, hint in get_type_hints(kind, include_extras=True).items()
            }
            self.types[kind.__name__] = closed(fields)
        return {"$ref": f"#/types/{kind.__name__}"}

    def _envelope(self, kind: type) -> Json:
        hints = {name: hint for name, hint in _hints(kind).items() if name not in ABOUT}
        fields = {name: self._answered(kind, name, hint) for name, hint in hints.items()}
        return closed(fields, sorted(name for name in hints if not hasattr(kind, name)))

    def _answered(self, kind: type, name: str, hint: Any) -> Json:
        if get_origin(hint) is list:
            return {"type": "array", "items": self._answered(kind, name, get_args(hint)[0])}
        if get_origin(hint) is dict:
            return self._snapshots() if (kind.__name__, name) == ("EventResponse", "content") else {"type": "object"}
        if hint in PLAIN:
            choices = _choices(kind, name)
            return self._enumeration(choices) if choices else PLAIN[hint]
        return self._object(hint) if hasattr(hint, "construct") else self._envelope(hint)

    def _object(self, kind: type) -> Json:
        """A resource or a part of one; each tells its name under ``object``."""
        resource, own = _resource(kind), kind.__name__.removesuffix("Response")
        name = own if _camel(resource) == own else f"{_camel(resource)}.{own}"
        if name not in self.types:
            self.types[name] = {}
            hints = {field: hint for field, hint in _hints(kind).items() if field != "raw_data"}
            fields = {"object": {"const": _snake(own)}}
            fields |= {field: self._answered(kind, field, hint) for field, hint in hints.items()}
            made = closed(fields, ["object", *self._always.get(_snake(own), [])])
            # Custom fields stand beside a resource's own.
            self.types[name] = made if "." in name else made | {"patternProperties": {"^cf_": {}}}
        return {"$ref": f"#/types/{name}"}

    def _snapshots(self) -> Json:
        """An event's resources: one record under its name, several under the plural; :meth:`close` fills it in."""
        return {"$ref": "#/types/Event.Content"}

    def close(self) -> Json:
        """The types; an event's content is held to those that are known by now, other resources are free."""
        if "Event" in self.types:
            whole = [name for name, each in self.types.items() if "patternProperties" in each and name != "Event"]
            one: Json = {_snake(name): {"$ref": f"#/types/{name}"} for name in sorted(whole)}
            many = {f"{name}s": {"type": "array", "items": each} for name, each in one.items()}
            self.types["Event.Content"] = {"type": "object", "properties": one | many}
        return dict(sorted(self.types.items()))


class Operation:
    """One method of the SDK, as its source tells it."""

    def __init__(self, module: ModuleType, owner: type, method: Any, sent: ast.Call) -> None:
        self.module, self.owner, self.method = module, owner, method
        self.answer: type = vars(module)[sent.args[5].id]  # type: ignore[attr-defined]
        self.keyed = '"isIdempotent": True' in inspect.getsource(method)


@functools.cache
def operations() -> dict[str, Operation]:
    """Every call that the SDK can make on the API's main host."""
    return {name: each for module in _modules() for name, each in _operations_of(module)}


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(chargebee.models.__path__):
        if found.ispkg:
            name = f"chargebee.models.{found.name}.operations"
            if importlib.util.find_spec(name):
                yield importlib.import_module(name)


def _operations_of(module: ModuleType) -> Iterator[tuple[str, Operation]]:
    resource = module.__name__.split(".")[-2]
    owner = getattr(module, _camel(resource), None)
    for _, method in inspect.getmembers(owner, inspect.isfunction):
        if method.__module__ != module.__name__ or method.__name__.startswith("_"):
            continue
        for sent in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(method)))):
            if isinstance(sent, ast.Call) and ast.unparse(sent.func) in ("request.send", "request.send_list_request"):
                verb, address = sent.args[:2]
                yield f"{ast.literal_eval(verb).upper()} {_path(address)}", Operation(module, owner, method, sent)


def _path(address: ast.expr) -> str:
    assert isinstance(address, ast.Call)
    return "".join(f"/{part.value}" if isinstance(part, ast.Constant) else "/{id}" for part in address.args)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@functools.cache
def _choices(kind: type, field: str) -> type[Enum] | None:
    """A field's enumeration, if it has one.

    The SDK keeps them apart from its response classes: with the resource, under the part's name
    (``Invoice.LineItemEntityType``), or among those that resources share.
    """
    resource = _resource(kind)
    owner = getattr(importlib.import_module(f"chargebee.models.{resource}.operations"), _camel(resource))
    part = kind.__name__.removesuffix("Response")
    prefix = "" if part == _camel(resource) else part
    found = getattr(owner, prefix + _camel(field), None) or getattr(enums, _camel(field), None)
    return found if isinstance(found, type) and issubclass(found, Enum) else None


def _resource(kind: type) -> str:
    return kind.__module__.split(".")[-2]


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
