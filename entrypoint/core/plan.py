"""From usable pairs to a complete generation: files, manifest, and a digest that tells whether anything changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entrypoint.core.options import Settings
from entrypoint.core.pem import is_encrypted
from entrypoint.core.site import Facts, Pair, render

_PENDING = "the certificate has not arrived yet"


@dataclass(frozen=True)
class Usable:
    """A pair that may be served: chain and key as PEM, and what the manifest says of it."""

    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What should run."""

    settings: Settings
    facts: Facts
    templates: Mapping[str, str] = field(repr=False)
    usable: Mapping[str, Usable]
    reasons: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Equal for two plans that NGINX would run alike: number and reasons are left out."""
        blocked = dict.fromkeys(self._blocked(), "")
        texts = render(self.settings, self.facts, self.templates, self._pairs(), blocked, 0)
        return _hash(*(f"{path}\0{text}\0".encode() for path, text in sorted(texts.items())), length=64)

    @property
    def password_file(self) -> str:
        """The password file of this plan's keys: named after the keys, so that it says nothing of its content."""
        encrypted = [pair.key_pem for pair in self.usable.values() if is_encrypted(pair.key_pem)]
        return f"{self.settings.run_dir}/passwords/{_hash(*encrypted)}.txt" if encrypted else ""

    def texts(self, number: int) -> dict[str, str]:
        """The configuration's files by path."""
        return render(self.settings, self.facts, self.templates, self._pairs(), self._blocked(), number)

    def files(self, number: int) -> dict[str, bytes]:
        """Every file of the generation by path, chains and keys included."""
        found = {path: text.encode() for path, text in self.texts(number).items()}
        for pair in self._pairs():
            if usable := self.usable.get(pair.identity):
                found[pair.chain_file] = usable.chain_pem
                found[pair.key_file] = usable.key_pem
        return found

    def manifest(self, number: int, when: str, why: str) -> dict[str, Any]:
        """What a person, or a later start, wants to know of the generation."""
        files = {pair.identity: {"chain_file": pair.chain_file, "key_file": pair.key_file} for pair in self._pairs()}
        pairs = {identity: {**pair.about, **files[identity]} for identity, pair in self.usable.items()}
        return {
            "generation": number,
            "created_at": when,
            "why": why,
            "digest": self.digest,
            "pairs": pairs,
            "commented_out": self._blocked(),
            "password_file": self.password_file,
        }

    def _blocked(self) -> dict[str, str]:
        missing = [identity for identity in identities(self.settings) if identity not in self.usable]
        return {identity: self.reasons.get(identity) or _PENDING for identity in missing}

    def _pairs(self) -> tuple[Pair, ...]:
        return tuple(self._pair(identity) for identity in identities(self.settings))

    def _pair(self, identity: str) -> Pair:
        folder = f"certs/{self.settings.server_names[0].replace('*', '_')}"
        usable = self.usable.get(identity)
        if not usable:
            return Pair(identity, f"{folder}/chain.pem", f"{folder}/key.pem")
        chain, key = _hash(usable.chain_pem), _hash(usable.key_pem)
        return Pair(identity, f"{folder}/chain-{chain}.pem", f"{folder}/key-{key}.pem", self.password_file)


def identities(settings: Settings) -> tuple[str, ...]:
    """The pairs of the built-in site: one for each key file, none where no name is set."""
    return tuple(f"site-{index + 1}" for index in range(len(settings.key_files) if settings.server_names else 0))


def _hash(*parts: bytes, length: int = 16) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:length]
