"""Requests and answers held against botocore's service models.

botocore's own validator judges. Before it a quick look, made once for each shape, passes what is
right beyond doubt: names, types, least lengths, and what is required. What it does not pass goes
to the validator, which has the last word.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from botocore.validate import ParamValidator

from tests.simulation.cloud import Item

_validate = ParamValidator().validate

type Look = Callable[[Any], bool]


@cache
def _shapes(service_model: Any, operation: str) -> tuple[Any, Any, Look, Look]:
    model = service_model.operation_model(operation)
    request, answered = model.input_shape, model.output_shape
    return request, answered, look(request), look(answered)


def check_request(service_model: Any, operation: str, values: Mapping[str, Any]) -> None:
    """Raises AssertionError with botocore's report on what is wrong."""
    shape, _, right, _ = _shapes(service_model, operation)
    if not right(values):
        _judge(values, shape, f"request of {operation}")


def check_answer(service_model: Any, operation: str, values: Mapping[str, Any]) -> None:
    """As `check_request`."""
    _, shape, _, right = _shapes(service_model, operation)
    if not right(values):
        _judge(values, shape, f"answer to {operation}")


def _judge(values: Mapping[str, Any], shape: Any, what: str) -> None:
    report = _validate(values, shape)
    if report.has_errors():
        raise AssertionError(f"{what}: {report.generate_report()}")


def look(shape: Any, known: dict[str, Look] | None = None) -> Look:
    """A quick look at values of a shape: True only for what botocore's validator passes."""
    if shape is None:
        return lambda value: True
    known = {} if known is None else known
    if shape.name in known:
        if known[shape.name] is not _not_sure:
            return known[shape.name]
        return lambda value: known[shape.name](value)  # within itself, as an AttributeValue is
    known[shape.name] = _not_sure
    least = shape.metadata.get("min", 0)
    match shape.type_name:
        case "structure" if not shape.is_document_type and not shape.serialization.get("jsonvalue"):
            result = _structure(shape, {n: look(m, known) for n, m in shape.members.items()})
        case "map":
            result = _map(look(shape.key, known), look(shape.value, known), least)
        case "list":
            result = _list(look(shape.member, known), least)
        case "string" if not shape.serialization.keys() & {"hostLabel", "jsonvalue"}:
            result = _text if least == 0 else _longer(least)
        case "boolean":
            result = _boolean
        case "timestamp":
            result = _moment
        case "integer" | "long":
            result = _not_less(least) if "min" in shape.metadata else _whole
        case _:
            result = _not_sure
    known[shape.name] = result
    return result


def _not_sure(_: Any) -> bool:
    return False


def _text(value: Any) -> bool:
    return type(value) is str


def _longer(least: int) -> Look:
    return lambda value: type(value) is str and len(value) >= least


def _boolean(value: Any) -> bool:
    return type(value) is bool


def _moment(value: Any) -> bool:
    return isinstance(value, datetime)


def _whole(value: Any) -> bool:
    return type(value) is int


def _not_less(least: float) -> Look:
    return lambda value: type(value) is int and value >= least


# what a look asks if it asks no more than the type
_TYPES: dict[Look, type] = {_text: str, _boolean: bool, _moment: datetime, _whole: int}


def _structure(shape: Any, members: Mapping[str, Look]) -> Look:
    if shape.is_tagged_union:
        return _union(members)
    required = frozenset(shape.metadata.get("required", ()))
    types = {name: _TYPES[right] for name, right in members.items() if right in _TYPES}

    def right(value: Any) -> bool:
        if type(value) is not dict or not required <= value.keys():
            return False
        for name, entry in value.items():
            if types.get(name) is type(entry):
                continue
            if name not in members or not members[name](entry):
                return False
        return True

    return right


def _union(members: Mapping[str, Look]) -> Look:
    types = {name: _TYPES[right] for name, right in members.items() if right in _TYPES}

    def right(value: Any) -> bool:
        if type(value) is not dict or len(value) != 1:
            return False
        ((name, entry),) = value.items()
        if types.get(name) is type(entry):
            return True
        return name in members and members[name](entry)

    return right


def _map(key: Look, entry: Look, least: int) -> Look:
    kind = _TYPES.get(key)

    def right(value: Any) -> bool:
        if type(value) is Item and value.right:
            return True
        if not isinstance(value, dict) or len(value) < least:
            return False
        for name, within in value.items():
            if not (type(name) is kind or key(name)) or not entry(within):
                return False
        if type(value) is Item:
            value.right = True  # the table has maps of one shape alone
        return True

    return right


def _list(member: Look, least: int) -> Look:
    def right(value: Any) -> bool:
        return type(value) is list and len(value) >= least and all(map(member, value))

    return right
