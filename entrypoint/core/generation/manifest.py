"""The manifest of a generation, read from a disk that may be damaged: members of a wrong type are dropped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeGuard

from entrypoint.core.generation.gate import Refusals
from entrypoint.core.shown import is_text

SOURCE = "source.json"  # the user's configuration as it is, to go on with it when a later one is refused


class StoredPair(NamedTuple):
    """The files of a pair in a generation, whether a server presents it, and the JSON of its `Credential`."""

    chain_file: str
    key_file: str
    presented: bool = True
    facts: Mapping[str, Any] = {}

    def as_json(self) -> dict[str, Any]:
        """The pair as JSON, for a manifest."""
        files = {"chain_file": self.chain_file, "key_file": self.key_file}
        return {**self.facts, **files, "presented": self.presented}


@dataclass(frozen=True)
class Manifest:
    """Number, time and cause of a generation, and its content.

    ``source`` is the root of the user's configuration, ``digest`` the plan's. ``commented_out`` is for people;
    ``password_file`` and ``unlocked`` are the files in the run folder that open its keys.
    """

    generation: int = 0
    created_at: str = ""
    why: str = ""
    source: str = ""
    digest: str = ""
    pairs: Mapping[str, StoredPair] = field(default_factory=dict)
    commented_out: Mapping[str, str] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)
    password_file: str = ""
    unlocked: tuple[str, ...] = ()

    @classmethod
    def read(cls, data: bytes) -> Manifest:
        """The manifest in a file of this version or an older one. Raises ValueError where there is none."""
        found = members(data)
        number = found.get("generation")
        return cls(
            **{name: _text(found.get(name)) for name in ("created_at", "why", "source", "digest", "password_file")},
            generation=number if type(number) is int else 0,
            pairs=_pairs(found.get("pairs")),
            commented_out=_texts_by_name(found.get("commented_out")),
            refusals=Refusals.from_json(_refusals(found.get("gates"))),
            unlocked=_texts(found.get("unlocked")),
        )

    def text(self) -> bytes:
        """The content of the manifest's file."""
        shallow = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "refusals"}
        pairs = {identity: pair.as_json() for identity, pair in self.pairs.items()}
        found = {**shallow, "pairs": pairs, "gates": self.refusals.as_json()}
        return json.dumps(found, indent=1, sort_keys=True).encode()


def members(data: bytes) -> dict[str, Any]:
    """The members of a JSON object. Raises ValueError for other data."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _texts_by_name(value: object) -> dict[str, str]:
    """The members of a JSON object whose values are texts."""
    found = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in found if is_text(name) and is_text(text)}


def _text(value: object) -> str:
    return value if is_text(value) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(filter(is_text, _list(value)))


def _pairs(value: object) -> dict[str, StoredPair]:
    found = value.items() if isinstance(value, dict) else ()
    return {identity: pair for identity, each in found if is_text(identity) and (pair := _pair(each))}


def _pair(value: object) -> StoredPair | None:
    """The stored pair; None without files inside the generation."""
    if not isinstance(value, dict):
        return None
    chain, key, presented = (value.get(name) for name in ("chain_file", "key_file", "presented"))
    if not (_is_inside(chain) and _is_inside(key)):
        return None
    facts = {name: each for name, each in value.items() if name not in ("chain_file", "key_file", "presented")}
    return StoredPair(chain, key, presented if isinstance(presented, bool) else True, facts)


def _is_inside(value: object) -> TypeGuard[str]:
    return is_text(value) and "\0" not in value and not {"", ".", ".."} & {*value.split("/")}


def _refusals(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    places = {kind: filter(_is_refusal, _list(value.get(kind))) for kind in ("servers", "settings")}
    return {**places, "files": _texts_by_name(value.get("files"))}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_refusal(value: object) -> bool:
    """Whether a value has the form of a refusal: file, offset, reason."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    file, start, reason = value
    return is_text(file) and type(start) is int and is_text(reason)
