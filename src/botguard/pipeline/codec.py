"""Results and stored failures as bytes, such that what a replay returns equals what the first run returned."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from botguard.errors import Rejected, ReplayedFailure

__all__ = ["Codec", "ResultCodec", "Unstorable", "decode_error", "encode_error"]

#: Longer results are not kept: a claim row is no file store.
MAX_RESULT = 64 * 1024


class Unstorable(ValueError):
    """This result cannot be stored so that it comes back equal."""


class Codec(Protocol):
    """A host's own spelling of results."""

    def encode(self, value: Any) -> bytes:
        """Bytes from which ``decode`` makes an equal value; raise ValueError if that cannot be."""
        ...

    def decode(self, data: bytes) -> Any:
        """The value again; raise ValueError if it is no longer readable."""
        ...


class ResultCodec:
    """The default: typed JSON, with the handler's return annotation for models and dataclasses.

    ``adapter`` makes a pydantic TypeAdapter for that annotation when it is first needed, or is None.
    """

    def __init__(self, adapter: Callable[[], Any] | None = None) -> None:
        self._make_adapter, self._adapter = adapter, None

    def encode(self, value: Any) -> bytes:
        """See :class:`Codec`."""
        kind = type(value)
        if kind is str:
            data = b"s" + value.encode("utf-8", "surrogatepass")
            return data if len(data) <= MAX_RESULT else _bounded(data)
        if value is None or kind is bool or kind is int:
            return _bounded(b"j" + repr(value).encode()) if kind is int else _CONSTANTS[value]
        try:
            return _bounded(b"t" + json.dumps(_tag(value), ensure_ascii=True, separators=(",", ":")).encode())
        except TypeError:
            return self._by_annotation(value)

    def _by_annotation(self, value: Any) -> bytes:
        adapter = self._type_adapter()
        try:
            data: bytes = adapter.dump_json(value)
            back = adapter.validate_json(data)
        except Exception as error:
            raise Unstorable(f"{type(value).__name__}: {error}") from error
        if back != value or type(back) is not type(value):
            raise Unstorable(f"a {type(value).__name__} does not come back equal")
        return _bounded(b"m" + data)

    def _type_adapter(self) -> Any:
        if self._adapter is None:
            if self._make_adapter is None:
                raise Unstorable("the handler's return annotation does not say how to rebuild it")
            self._adapter = self._make_adapter()
        return self._adapter

    def decode(self, data: bytes) -> Any:
        """See :class:`Codec`."""
        mark, rest = data[:1], data[1:]
        if mark == b"s":
            return rest.decode("utf-8", "surrogatepass")
        if mark == b"c":
            return {b"N": None, b"T": True, b"F": False}[rest]
        if mark == b"j":
            return int(rest)
        if mark == b"t":
            return _untag(json.loads(rest))
        if mark == b"m":
            return self._type_adapter().validate_json(rest)
        raise ValueError(f"unknown result format {mark!r}")


_CONSTANTS: dict[Any, bytes] = {None: b"cN", True: b"cT", False: b"cF"}


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_RESULT:
        raise Unstorable(f"{len(data)} bytes; the limit is {MAX_RESULT}")
    return data


#: type -> (tag, to JSON, from JSON); exact types only, so that a subclass never comes back as its base.
_TAGGED: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    Decimal: ("d", str, Decimal),
    dt.datetime: ("z", dt.datetime.isoformat, dt.datetime.fromisoformat),
    dt.date: ("a", dt.date.isoformat, dt.date.fromisoformat),
    dt.time: ("c", dt.time.isoformat, dt.time.fromisoformat),
    dt.timedelta: (
        "p",
        lambda v: [v.days, v.seconds, v.microseconds],
        lambda v: dt.timedelta(days=v[0], seconds=v[1], microseconds=v[2]),
    ),
    UUID: ("u", str, UUID),
    bytes: ("b", lambda v: base64.b64encode(v).decode("ascii"), base64.b64decode),
    float: ("f", repr, float),
    tuple: ("t", lambda v: [_tag(item) for item in v], lambda v: tuple(_untag(item) for item in v)),
    set: ("s", lambda v: [_tag(item) for item in v], lambda v: {_untag(item) for item in v}),
    frozenset: ("S", lambda v: [_tag(item) for item in v], lambda v: frozenset(_untag(item) for item in v)),
}
_BY_TAG = {tag: back for tag, _, back in _TAGGED.values()}


def _tag(value: Any) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is int or kind is bool:
        return value
    if kind is list:
        return [_tag(item) for item in value]
    if kind is dict:
        if all(type(k) is str for k in value) and "$" not in value:
            return {k: _tag(v) for k, v in value.items()}
        return {"$": "m", "v": [[_tag(k), _tag(v)] for k, v in value.items()]}
    zone = value.tzinfo if kind is dt.datetime or kind is dt.time else None
    if zone is not None and type(zone) is not dt.timezone:
        raise TypeError("a named time zone does not come back as the same zone")
    if kind not in _TAGGED:
        raise TypeError(kind.__name__)
    tag, out, _ = _TAGGED[kind]
    return {"$": tag, "v": out(value)}


def _untag(value: Any) -> Any:
    if type(value) is list:
        return [_untag(item) for item in value]
    if type(value) is dict:
        tag = value.get("$")
        if tag is None:
            return {k: _untag(v) for k, v in value.items()}
        if tag == "m":
            return {_untag(k): _untag(v) for k, v in value["v"]}
        return _BY_TAG[tag](value["v"])
    return value


def encode_error(error: BaseException) -> bytes:
    """A final failure as bytes: class, text and, where they are plain data, its arguments. Bounded."""
    kind = type(error)
    body: dict[str, Any] = {"kind": f"{kind.__module__}.{kind.__qualname__}", "text": _text(error)}
    if isinstance(error, Rejected):
        body["said"] = [str(getattr(error, "message", error))[:2000], str(getattr(error, "code", "rejected"))[:200]]
    args = (error.message, error.code) if type(error) is Rejected else error.args
    try:
        text = json.dumps(_tag(list(args)))
        if len(text) <= 4000:
            body["args"] = _tag(list(args))
    except (TypeError, ValueError):
        pass
    return json.dumps(body).encode()


def _text(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception:  # noqa: BLE001 - a host's own __str__ may raise; the class still tells
        return ""


def decode_error(data: bytes, known: tuple[type[Exception], ...]) -> Exception:
    """The stored failure again: the same class where the command declares it (or Rejected), else ReplayedFailure."""
    body = json.loads(data)
    kinds: tuple[type[Exception], ...] = (Rejected, *known)
    for kind in kinds:
        if f"{kind.__module__}.{kind.__qualname__}" == body["kind"] and "args" in body:
            try:
                return kind(*_untag(body["args"]))
            except Exception:  # noqa: BLE001 - a host's constructor may refuse anything; the text still tells
                break
    if "said" in body:  # a subclass that nobody declared: its words, for the person, are still a refusal's
        return Rejected(*body["said"])
    return ReplayedFailure(body["kind"], body["text"])
