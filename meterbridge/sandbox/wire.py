"""What crosses the socket, and the table of endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote


@dataclass(slots=True)
class HttpRequest:
    """One parsed request; header names in lower case, `path` still percent-encoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class HttpReply:
    """What goes back; `extra` headers beside the usual ones."""

    status: int
    body: bytes
    content_type: str = "application/json"
    extra: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """An answer of 4xx or 5xx that a vendor gives; `body` is its JSON."""

    def __init__(self, status: int, body: dict[str, Any], extra: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.extra = extra


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: `known` are the parameters it takes; what else is sent is refused."""

    method: str
    segments: tuple[str, ...]
    known: frozenset[str]
    endpoint: Callable[..., Any] | None
    listing: Any = None

    def arguments(self, segments: tuple[str, ...]) -> list[str] | None:
        """Values of the `{…}` segments, decoded; None when the path is another one."""
        values = []
        for pattern, segment in zip(self.segments, segments, strict=True):
            if pattern[0] == "{":
                values.append(unquote(segment))
            elif pattern != segment:
                return None
        return values


@dataclass(slots=True)
class Routes:
    """Endpoints of one module; `merged` joins the modules of a vendor."""

    entries: list[Route] = field(default_factory=list)
    _index: dict[tuple[int, str], list[Route]] = field(default_factory=dict)

    def add(
        self, method: str, path: str, known: Iterable[str], endpoint: Callable[..., Any] | None, listing: Any = None
    ) -> None:
        segments = tuple(path.strip("/").split("/"))
        route = Route(method, segments, frozenset(known), endpoint, listing)
        self.entries.append(route)
        bucket = self._index.setdefault((len(segments), segments[0]), [])
        # Literal paths win over patterns: /accountplans/search before /accountplans/{id}.
        bucket.append(route)
        bucket.sort(key=lambda each: sum(segment[0] == "{" for segment in each.segments))

    def get(self, path: str, *known: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self._decorator("GET", path, known)

    def post(self, path: str, *known: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self._decorator("POST", path, known)

    def put(self, path: str, *known: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self._decorator("PUT", path, known)

    def delete(self, path: str, *known: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self._decorator("DELETE", path, known)

    def _decorator(
        self, method: str, path: str, known: Iterable[str]
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def register(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            self.add(method, path, known, endpoint)
            return endpoint

        return register

    def match(self, method: str, segments: tuple[str, ...]) -> tuple[Route | None, list[str], bool]:
        """The endpoint, its path values, and whether the path exists under another verb."""
        exists = False
        for route in self._index.get((len(segments), segments[0]), ()):
            values = route.arguments(segments)
            if values is not None:
                if route.method == method:
                    return route, values, True
                exists = True
        return None, [], exists


def merged(parts: Iterable[Routes]) -> Routes:
    whole = Routes()
    for part in parts:
        for route in part.entries:
            whole.add(route.method, "/".join(route.segments), route.known, route.endpoint, route.listing)
    return whole
