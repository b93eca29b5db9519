"""Facts about m3ter's calls, read out of its OpenAPI description."""

from __future__ import annotations

import functools

from contracts.schemas import Json, closed

# Two patterns of the description are Java's and mean nothing elsewhere; said again in a way that every engine reads.
PATTERNS = {
    r"^([^[\p{Cntrl}\s]])|([^[\p{Cntrl}\s]][[^[\p{Cntrl}\s]] ]*[^[\p{Cntrl}\s]])$": (
        r"^([^\x00-\x1f\x7f\s]|[^\x00-\x1f\x7f\s]([^\x00-\x1f\x7f\s]| )*[^\x00-\x1f\x7f\s])$"
    ),
    r"^[\p{L}_$][\p{L}_$0-9]*$": r"^(?:[^\W\d]|\$)[\w$]*$",
}
KEPT = ("type", "format", "enum", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "uniqueItems")


class Description:
    """Calls by name (``GET /organizations/{orgId}/bills``), and the types that they name, collected as they are met."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self.types: Json = {}

    def call(self, name: str) -> Json:
        """Query and body, the answer, and the host where it is not the API's own."""
        method, template = name.split(" ")
        described = self._document["paths"][template][method.lower()]
        found: Json = {}
        if "servers" in described:
            found["server"] = described["servers"][0]["url"]
        asked = [self._target(each) for each in described.get("parameters", ())]
        query = {each["name"]: self.schema(each["schema"]) for each in asked if each["in"] == "query"}
        needed = sorted(each["name"] for each in asked if each["in"] == "query" and each.get("required"))
        if query:
            found["query"] = closed(query, needed)
        if "requestBody" in described:
            found["body"] = self._content(described["requestBody"])
        return found | {"answer": self._content(described["responses"]["200"])}

    def refusal(self, name: str) -> Json:
        """The body of a refused call."""
        method, template = name.split(" ")
        return self._content(self._document["paths"][template][method.lower()]["responses"]["4XX"])

    def schema(self, node: Json) -> Json:
        """The facts of a schema; a named one goes among the types."""
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name not in self.types:
                self.types[name] = {}
                self.types[name] = self.schema(self._target(node))
            return {"$ref": f"#/types/{name}"}
        if "allOf" in node:
            return self._merged(node)
        if "anyOf" in node:
            return {"anyOf": [self.schema(each) for each in node["anyOf"]]}
        found = {word: node[word] for word in KEPT if word in node}
        # A length written as a number's bound says nothing about a text.
        if found.get("type") == "string":
            found = {word: value for word, value in found.items() if word not in ("minimum", "maximum")}
        if node.get("exclusiveMinimum") is True:
            found["exclusiveMinimum"] = found.pop("minimum")
        if "pattern" in node:
            found["pattern"] = PATTERNS.get(node["pattern"], node["pattern"])
        if node.get("nullable"):
            found["type"] = [found["type"], "null"]
        if "items" in node:
            found["items"] = self.schema(node["items"])
        return found | self._fields(node)

    def _fields(self, node: Json) -> Json:
        more = node.get("additionalProperties")
        if "properties" in node:
            fields = {name: self.schema(each) for name, each in node["properties"].items()}
            return closed(fields, sorted(node.get("required", ()))) | (
                {} if more is None else {"additionalProperties": True}
            )
        if isinstance(more, dict):
            return {"type": "object", "additionalProperties": self.schema(more)}
        return {}

    def _merged(self, node: Json) -> Json:
        """One object of all that it is made of: later parts know better."""
        fields: Json = {}
        needed: set[str] = set()
        others: Json = {}
        beside = {word: value for word, value in node.items() if word != "allOf"}
        bases = [*node["allOf"], beside] if "properties" in beside or "required" in beside else node["allOf"]
        if len(meant := [each for each in bases if set(each) - {"description", "default"}]) == 1:
            return self.schema(meant[0])
        for base in meant:
            part = self.schema(base)
            part = self.types[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
            fields |= part.get("properties", {})
            needed |= {*part.get("required", ()), *self._target(base).get("required", ())}
            others |= {word: value for word, value in part.items() if word not in ("properties", "required")}
        return {
            **others,
            **closed(fields, sorted(needed)),
            "additionalProperties": others.get("additionalProperties", False),
        }

    def _content(self, node: Json) -> Json:
        content = self._target(node).get("content", {})
        return self.schema(content["application/json"]["schema"]) if content else {}

    def _target(self, node: Json) -> Json:
        while "$ref" in node:
            steps = node["$ref"].removeprefix("#/").split("/")
            node = functools.reduce(lambda at, step: at[step], steps, self._document)
        return node
