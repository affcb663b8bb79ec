"""What a generation says of itself, from a disk that may be damaged: what has another type than it should is absent.

Members that are not known here are passed on as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any


def read(data: bytes) -> dict[str, Any]:
    """A manifest; ``pairs`` is always there. Raises ValueError for what is none."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    known = {name: check(found[name]) for name, check in _MEMBERS.items() if name in found}
    return {**found, "pairs": {}, **{name: value for name, value in known.items() if value is not None}}


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return value


def _texts(value: object) -> list[str]:
    return [each for each in value if _text(each) is not None] if isinstance(value, list) else []


def _texts_by_name(value: object) -> dict[str, str]:
    members = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in members if _text(name) is not None and _text(text) is not None}


def _pairs(value: object) -> dict[str, Any]:
    members = value.items() if isinstance(value, dict) else ()
    return {identity: entry for identity, each in members if _text(identity) is not None and (entry := _pair(each))}


def _pair(value: object) -> dict[str, Any] | None:
    """One pair, with a list of names; none without files that lie below the generation."""
    if not isinstance(value, dict):
        return None
    entry = {name: each for name, each in value.items() if name not in _PAIR or _PAIR[name](each)}
    return {"names": [], **entry} if {"chain_file", "key_file"} <= entry.keys() else None


def _is_inside(value: object) -> bool:
    path = _text(value)
    return bool(path) and "\0" not in str(path) and not {"", ".", ".."} & {*str(path).split("/")}


def _is_names(value: object) -> bool:
    return isinstance(value, list) and _texts(value) == value


def _is_moment(value: object) -> bool:
    try:
        return datetime.fromisoformat(str(value)).tzinfo is not None
    except ValueError:
        return False


def _is_text(value: object) -> bool:
    return _text(value) is not None


def _gates(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    servers = value.get("servers")
    places = [each for each in servers if _is_gate(each)] if isinstance(servers, list) else []
    return {**value, "servers": places, "files": _texts_by_name(value.get("files"))}


def _is_gate(value: object) -> bool:
    """A file, a place in it, and the reason."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    file, start, reason = value
    return _is_text(file) and type(start) is int and _is_text(reason)


_PAIR: Mapping[str, Callable[[object], bool]] = {
    "chain_file": _is_inside,
    "key_file": _is_inside,
    "names": _is_names,
    "presented": lambda value: isinstance(value, bool),
    "installed_at": _is_moment,
    "source": _is_text,
    "certmgr": _is_text,
}
_MEMBERS: Mapping[str, Callable[[object], Any]] = {
    "source": lambda value: _text(value) or "",
    "digest": lambda value: _text(value) or "",
    "pairs": _pairs,
    "gates": _gates,
    "password_file": lambda value: _text(value) or "",
    "unlocked": _texts,
    "files": _texts_by_name,
}
