"""JSON to protobuf messages, strictly, with errors that name the field.

The mapping is protobuf's (original and camelCase names; bytes as base64; 64-bit integers as
numbers or strings; enums by name or number), the strictness ours: what is not understood is
refused, never dropped. Source: protobuf.dev, "ProtoJSON Format".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from tianlu_registry.errors import InvalidArgument

MessageT = TypeVar("MessageT", bound=Message)

DEPTH_MAX: Final = 32
"""Deepest nesting; far beyond any request's, far below Python's stack."""

ITEMS_MAX: Final = 20_000
"""Longest list. A list of nothing but empty objects costs half a second for each megabyte, in which
nobody else is answered; no request needs one."""

_INTEGER_RANGES: Final[Mapping[int, tuple[int, int]]] = MappingProxyType(
    {
        FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
        FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
        FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
        FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
    }
)


def decode_json(text: bytes, message_class: type[MessageT]) -> MessageT:
    """Return the message that `text` describes; an empty text is an empty message.

    Raises:
        InvalidArgument: not JSON (field ``body``), or a field that is unknown, given twice or of
            the wrong type, by its path such as ``compare[0].version``.
    """
    return fill(message_class(), _parse(text)) if text.strip() else message_class()


def fill(message: MessageT, content: object) -> MessageT:
    """Set the fields of an empty `message` from parsed JSON and return it.

    Raises:
        InvalidArgument: as `decode_json`.
    """
    _fill(message, content, "", 0)
    return message


def _parse(text: bytes) -> object:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidArgument("body", f"is not UTF-8: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise InvalidArgument(
            "body", f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    except ValueError as error:  # Python's bound for the digits of an integer
        raise InvalidArgument("body", "has a number of too many digits") from error
    except RecursionError as error:
        raise InvalidArgument("body", "is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    for name in content:
        if not name.isascii() and not _is_unicode(name):
            raise InvalidArgument("body", f"has the name {name!a}, half of a surrogate pair")
    if len(content) < len(pairs):
        raise InvalidArgument(_first_repeated(pairs), "is given twice")
    return content


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    """Return the first name that had been there before; in one pass, as there may be very many."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("no name is repeated")


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be written as UTF-8. JSON's escapes can name half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> float:
    raise InvalidArgument("body", f"is not JSON: {name} is not a number that JSON has")


def _fill(message: Message, content: object, path: str, depth: int) -> None:
    if not isinstance(content, dict):
        raise InvalidArgument(path or "body", f"must be an object, not {_kind(content)}")
    if depth > DEPTH_MAX:
        raise InvalidArgument(path, f"is nested more than {DEPTH_MAX} deep")
    descriptor = cast("Descriptor", message.DESCRIPTOR)
    fields = _fields_by_json_name(descriptor)
    chosen: dict[str, str] = {}  # oneof, field
    for name, value in content.items():
        here = f"{path}.{name}" if path else name
        field = fields.get(name)
        if field is None:
            raise InvalidArgument(here, f"is not a field of {descriptor.full_name}")
        if value is None:
            continue  # ProtoJSON: null is the default
        oneof = field.containing_oneof
        if oneof is not None:
            other = chosen.setdefault(oneof.full_name, field.name)
            if other != field.name:
                raise InvalidArgument(here, f"cannot be given together with {other}")
        _set(message, field, value, here, depth)


def _fields_by_json_name(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    fields = _FIELDS.get(descriptor.full_name)
    if fields is None:
        fields = {field.json_name: field for field in descriptor.fields}
        fields.update((field.name, field) for field in descriptor.fields)
        _FIELDS[descriptor.full_name] = fields
    return fields


_FIELDS: dict[str, dict[str, FieldDescriptor]] = {}  # one entry for each message type there is


def _set(message: Message, field: FieldDescriptor, value: object, path: str, depth: int) -> None:
    if _is_map(field):
        _fill_map(getattr(message, field.name), field, value, path)
    elif field.is_repeated:
        if not isinstance(value, list):
            raise InvalidArgument(path, f"must be a list, not {_kind(value)}")
        if len(value) > ITEMS_MAX:
            raise InvalidArgument(path, f"has {len(value)} items, it may have {ITEMS_MAX}")
        target = getattr(message, field.name)
        for position, item in enumerate(value):
            here = f"{path}[{position}]"
            if field.message_type is not None:
                _fill(target.add(), item, here, depth + 1)
            else:
                target.append(_scalar(field, item, here))
    elif field.message_type is not None:
        child = getattr(message, field.name)
        child.SetInParent()
        _fill(child, value, path, depth + 1)
    else:
        setattr(message, field.name, _scalar(field, value, path))


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _fill_map(target: Any, field: FieldDescriptor, value: object, path: str) -> None:  # noqa: ANN401
    if not isinstance(value, dict):
        raise InvalidArgument(path, f"must be an object, not {_kind(value)}")
    value_field = cast("Descriptor", field.message_type).fields_by_name["value"]
    for key, item in value.items():
        target[key] = _scalar(value_field, item, f"{path}.{key}")


def _scalar(field: FieldDescriptor, value: object, path: str) -> object:
    if field.cpp_type in _INTEGER_RANGES:
        return _integer(field, value, path)
    return _SCALARS[field.cpp_type](field, value, path)


def _integer(field: FieldDescriptor, value: object, path: str) -> int:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and value.removeprefix("-").isascii():
        digits = value.removeprefix("-")
        number = int(value) if digits.isdigit() and len(digits) <= 20 else None
    if number is None:
        raise InvalidArgument(path, f"must be an integer, not {_kind(value)}")
    least, most = _INTEGER_RANGES[field.cpp_type]
    if not least <= number <= most:
        raise InvalidArgument(path, f"is {number}, it must be {least} to {most}")
    return number


def _string(field: FieldDescriptor, value: object, path: str) -> str | bytes:
    if not isinstance(value, str):
        what = "base64 text" if field.type == FieldDescriptor.TYPE_BYTES else "a string"
        raise InvalidArgument(path, f"must be {what}, not {_kind(value)}")
    if field.type != FieldDescriptor.TYPE_BYTES:
        if not _is_unicode(value):
            raise InvalidArgument(path, "has half of a surrogate pair, which is no character")
        return value
    # Both alphabets and missing padding are allowed by ProtoJSON.
    text = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(path, "is not base64") from error


def _boolean(field: FieldDescriptor, value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(path, f"must be true or false, not {_kind(value)}")
    return value


def _number(field: FieldDescriptor, value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(path, f"must be a number, not {_kind(value)}")
    return float(value)


def _enum(field: FieldDescriptor, value: object, path: str) -> int:
    enum = cast("EnumDescriptor", field.enum_type)
    known = enum.values_by_name
    if isinstance(value, str) and value in known:
        return known[value].number
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if is_number and value in enum.values_by_number:
        return cast("int", value)
    raise InvalidArgument(path, f"must be one of {', '.join(known)}")


_SCALARS: Final[Mapping[int, Callable[[FieldDescriptor, object, str], object]]] = MappingProxyType(
    {
        FieldDescriptor.CPPTYPE_STRING: _string,
        FieldDescriptor.CPPTYPE_BOOL: _boolean,
        FieldDescriptor.CPPTYPE_FLOAT: _number,
        FieldDescriptor.CPPTYPE_DOUBLE: _number,
        FieldDescriptor.CPPTYPE_ENUM: _enum,
    }
)


def _kind(value: object) -> str:
    """Return what JSON calls the value's type. Not the value: it may be a password in the wrong
    place."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return "a number"
    return {dict: "an object", list: "a list", type(None): "null"}[type(value)]
