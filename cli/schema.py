"""`python -m cli.schema`: print the JSON Schema of the service spec's own fields, for editors.

It comes from the functions that read a spec (`deployer.deploy.spec`), which are given fields that
note each reading. `taskDefinition` and `serviceDefinition` are only objects in it: botocore's model
of ECS checks what is in them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from deployer.deploy import spec
from deployer.deploy.spec import Fields

_ANY = r"(?s).+"


def document() -> dict[str, Any]:
    """Return the JSON Schema of a service spec."""
    fields = _Recorder()
    spec.read(fields)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A service spec of the deployer",
        **fields.schema(),
    }


class _Recorder(Fields):
    """Fields that note each reading as a property, and give a stand-in for its value."""

    def __init__(self) -> None:
        super().__init__({}, "", [])
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []
        self._closed = False

    def schema(self) -> dict[str, Any]:
        """Return the schema of the object."""
        return {
            "type": "object",
            "properties": {name: _resolved(value) for name, value in self._properties.items()},
            **({"required": self._required} if self._required else {}),
            **({"additionalProperties": False} if self._closed else {}),
        }

    def _note(self, name: str, *types: str, **more: Any) -> None:
        self._properties[name] = {"type": types[0] if len(types) == 1 else list(types), **more}

    def wrong(self, name: str, why: str) -> None:
        """Ignore what is wrong with stand-ins."""

    def close(self) -> None:
        self._closed = True

    def given(self, name: str) -> object:
        self._properties.setdefault(name, {})
        return None

    def over(self, defaults: Mapping[str, Any]) -> "Fields":
        return self

    def text(self, name: str, default: str | None = None, *, pattern: str = _ANY) -> str:
        if default is None:
            self._required.append(name)
        more = {} if default in (None, "") else {"default": default}
        types = ("string",) if default is None else ("string", "null")
        self._note(name, *types, **_matching(pattern), **more)
        return default or ""

    def optional_text(self, name: str, *, pattern: str = _ANY) -> str | None:
        self._note(name, "string", "null", **_matching(pattern))
        return None

    def regex(self, name: str) -> str:
        self._required.append(name)
        self._note(name, "string", format="regex", minLength=1)
        return ""

    def integer(self, name: str, default: int | None = None, *, low: int, high: int) -> int:
        more = {} if default is None else {"default": default}
        self._note(name, "integer", "null", minimum=low, maximum=high, **more)
        return low if default is None else default

    def optional_integer(self, name: str, *, low: int, high: int) -> int | None:
        self._note(name, "integer", "null", minimum=low, maximum=high)
        return None

    def texts(
        self,
        name: str,
        *,
        pattern: str = _ANY,
        least: int = 1,
        default: list[object] | None = None,
    ) -> tuple[str, ...]:
        items = {"type": "string", **_matching(pattern)}
        if default is None:
            self._required.append(name)
            self._note(name, "array", items=items, minItems=least)
        else:
            self._note(name, "array", "null", items=items)
        return ()

    def choice[T: str | int](self, name: str, choices: tuple[T, ...], default: T) -> T:
        self._properties[name] = {"enum": list(choices), "default": default}
        return default

    def optional_choice[T: str](self, name: str, choices: tuple[T, ...]) -> T | None:
        self._properties[name] = {"enum": [*choices, None]}
        return None

    def optional_mapping(self, name: str) -> Mapping[str, Any] | None:
        self._note(name, "object", "null")
        return None

    def mapping_or_text(self, name: str, *, pattern: str) -> Mapping[str, Any] | str | None:
        self._note(name, "object", "string", "null", **_matching(pattern))
        return None

    def texts_by_name(self, name: str, *, pattern: str = r"(?s).*") -> Mapping[str, str]:
        texts = {
            "type": "object",
            "additionalProperties": {"type": "string", **_matching(pattern)},
        }
        self._properties[name] = {"anyOf": [texts, {"type": "array", "items": texts}]}
        return {}

    def optional_object[T](self, name: str, read: Callable[[Fields], T]) -> T | None:
        inner = _Recorder()
        read(inner)
        self._properties[name] = {"anyOf": [inner, {"type": "null"}]}
        return None

    def objects_by_name[T](
        self, name: str, read: Callable[[Fields], T], *, pattern: str
    ) -> Mapping[str, T]:
        inner = _Recorder()
        read(inner)
        names = _matching(pattern)
        self._note(name, "object", "null", propertyNames=names, additionalProperties=inner)
        return {}

    def children(self, name: str) -> tuple[Fields, ...]:
        inner = _Recorder()
        self._properties[name] = {"type": ["array", "null"], "items": inner}
        return (inner,)


def _matching(pattern: str) -> dict[str, Any]:
    """Return a pattern that the whole text must match, as JSON Schema writes it."""
    if pattern == _ANY:
        return {"minLength": 1}
    return {} if pattern == r"(?s).*" else {"pattern": f"^(?:{pattern})$"}


def _resolved(value: Any) -> Any:
    if isinstance(value, _Recorder):
        return value.schema()
    if isinstance(value, Mapping):
        return {name: _resolved(entry) for name, entry in value.items()}
    return [_resolved(entry) for entry in value] if isinstance(value, list) else value


if __name__ == "__main__":
    print(json.dumps(document(), indent=2))
