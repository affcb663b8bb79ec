"""The plan of a generation: its files, its manifest, and a digest that is equal for equal configurations."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.edit import without_marks
from entrypoint.core.conf.includes import Fault
from entrypoint.core.conf.syntax import line_at
from entrypoint.core.facts import Facts
from entrypoint.core.generation import access_lines
from entrypoint.core.generation.coverage import coverage
from entrypoint.core.generation.gate import Gate, Refusals
from entrypoint.core.generation.manifest import SOURCE, Manifest, StoredPair
from entrypoint.core.generation.pairs import PairSpec, built_in, wanted
from entrypoint.core.generation.rewrite import Copier, Copy, PairFiles
from entrypoint.core.generation.site import Site, http_additions, main_additions
from entrypoint.core.generation.surroundings import Surroundings, around, collisions
from entrypoint.core.settings import Settings
from entrypoint.core.shown import shown
from entrypoint.core.x509.credential import Credential
from entrypoint.core.x509.pem import is_encrypted

_PENDING = "the certificate has not arrived yet"


@dataclass(frozen=True)
class Plan:
    """What should run: the user's configuration and the built-in site, but for what is gated.

    ``when`` it was made (RFC 3339) is written above what is commented out. ``remarks`` are NGINX's warnings about it,
    each with its place in the user's files. A ``bare`` one has certfront's own server and no other.
    """

    settings: Settings
    facts: Facts
    templates: Mapping[str, str] = field(repr=False)
    usable: Mapping[str, Credential]
    reasons: Mapping[str, str]
    user: UserConfig
    refusals: Refusals = field(default_factory=Refusals)
    when: str = ""
    remarks: tuple[tuple[str, str], ...] = ()
    bare: bool = False

    def with_details(self, status: Mapping[str, Any]) -> Plan:
        """The plan with reasons for pairs without a credential from the details of a status (see `core.status`)."""
        said = {entry["name"]: entry["detail"] for entry in status.get("certificates", ()) if entry["detail"]}
        reasons = {pair.identity: said[shown(pair.title)] for pair in self.gate.wanted if shown(pair.title) in said}
        return replace(self, reasons={**self.reasons, **reasons})

    @cached_property
    def digest(self) -> str:
        """A hash of all texts without number, time and reasons: equal for plans that NGINX would run alike."""
        texts = {path: without_marks(text) for path, text in self.texts(0).items()}
        return _hash(
            *(f"{path}\0{text}\0".encode(errors="surrogateescape") for path, text in sorted(texts.items())), length=64
        )

    @cached_property
    def password_file(self) -> str:
        """The password file of this plan's keys; its name is a hash of the keys, and reveals nothing of its content."""
        encrypted = [] if self._in_memory else self._encrypted()
        return f"{self.settings.run_dir}/passwords/{_hash(*encrypted)}.txt" if encrypted else ""

    @cached_property
    def unlocked(self) -> dict[str, bytes]:
        """With ``KEY_UNLOCK=memory``, the encrypted keys by the path at which NGINX expects them decrypted."""
        return {self._unlocked_path(key): key for key in self._encrypted()} if self._in_memory else {}

    @property
    def _in_memory(self) -> bool:
        return self.settings.key_unlock == "memory"

    def _encrypted(self) -> list[bytes]:
        return [pair.key_pem for pair in self.included.values() if is_encrypted(pair.key_pem)]

    def _unlocked_path(self, key_pem: bytes) -> str:
        return f"{self.settings.run_dir}/keys/{_hash(key_pem)}.pem"

    def texts(self, number: int) -> dict[str, str]:
        """The text files of the configuration by path."""
        own = tuple(self._pairs[pair.identity] for pair in built_in(self.settings))
        site = Site(self.settings, self.facts, self.templates, own, self.gate)
        files = {**site.files(number, self.when, self._around), **self.copy.texts}
        return {**files, "site.conf": ""} if self.bare else files

    @cached_property
    def pairs_by_file(self) -> Mapping[str, PairSpec]:
        """The pairs by the paths of their chains and keys, in the generation or in the run folder."""
        pairs = ((pair, self._pairs[pair.identity]) for pair in self.gate.wanted)
        return {path: pair for pair, own in pairs for path in (own.chain_file, own.key_file)}

    def differences(self) -> Iterator[str]:
        """The differences between the user's files and the rendered copies, as lines of a unified diff."""
        import difflib

        for path, (file, _) in self.copy.origins.items():
            old, new = (text.splitlines(keepends=True) for text in (self.user.texts[file], self.copy.texts[path]))
            yield from difflib.unified_diff(old, new, file, path)

    def files(self, number: int) -> dict[str, bytes]:
        """All files of the generation by path, chains and keys included."""
        found = {path: text.encode(errors="surrogateescape") for path, text in self.texts(number).items()}
        pairs = self._pairs
        for identity, usable in self.included.items():
            found[pairs[identity].chain_file] = usable.chain_pem
            found[self._stored_key(pairs[identity], usable)] = usable.key_pem
        if not self.user.packaged:
            found[SOURCE] = json.dumps(self.user.as_json()).encode()
        return found

    def manifest(self, number: int, why: str) -> Manifest:
        """The manifest, for people and for later starts."""
        presented = {pair.identity for pair in self.gate.running}
        pairs = {
            identity: StoredPair(
                chain_file=self._pairs[identity].chain_file,
                key_file=self._stored_key(self._pairs[identity], usable),
                presented=identity in presented,
                facts=usable.as_json(),
            )
            for identity, usable in self.included.items()
        }
        return Manifest(
            generation=number,
            created_at=self.when,
            why=why,
            source="" if self.user.packaged else self.user.root,
            digest=self.digest,
            pairs=pairs,
            commented_out=self.gate.commented_out,
            refusals=self.refusals,
            password_file=self.password_file,
            unlocked=tuple(sorted(self.unlocked)),
        )

    def warnings(self) -> tuple[tuple[str, str], ...]:
        """Warnings about running parts that are probably mistakes: place and reason, as text."""
        texts, left_out = self.user.texts, self.refusals.settings.items()
        settings = ((f"{file}:{line_at(texts[file], at)}", why) for (file, at), why in left_out if file in texts)
        return (
            *((f"{fault.file}:{fault.line}", fault.message) for fault in warnings(self.settings, self.user)),
            *settings,
            *self.remarks,
            *self.gate.coverage.warnings,
        )

    @cached_property
    def included(self) -> dict[str, Credential]:
        """The credentials that the generation holds, presented by a server or not."""
        known = {pair.identity for pair in self.gate.wanted}
        return {identity: usable for identity, usable in self.usable.items() if identity in known}

    @cached_property
    def gate(self) -> Gate:
        """The gated parts, and why."""
        pairs = wanted(self.settings, self.user)
        missing = [pair.identity for pair in pairs if pair.identity not in self.usable]
        pending = {each: self.reasons.get(each) or _PENDING for each in missing}
        covered = coverage(self.settings, self.user.configuration.servers, self.usable)
        return Gate(self.settings, self.user, self.refusals, pairs, pending, covered)

    @cached_property
    def _around(self) -> Surroundings:
        return around(self.user.configuration)

    @cached_property
    def copy(self) -> Copy:
        """The rendered copy of the user's configuration."""
        usable = {identity: pair for identity, pair in self._pairs.items() if identity in self.usable}
        return Copier(self.gate, usable, when=self.when).copy(
            http=http_additions(self.settings, self.facts, self._around),
            main=main_additions(self.settings, self.facts, self._around),
            keep_user=bool(self.facts.user),
            edits=access_lines.edits(self.user, self.settings, self.facts, self.templates),
        )

    @cached_property
    def _pairs(self) -> dict[str, PairFiles]:
        return {pair.identity: self._pair(pair) for pair in self.gate.wanted}

    def _pair(self, pair: PairSpec) -> PairFiles:
        folder = "certs/" + re.sub(r"[^A-Za-z0-9._-]", "_", pair.title)
        usable = self.usable.get(pair.identity)
        if not usable:
            return PairFiles(pair.identity, f"{folder}/chain.pem", f"{folder}/key.pem")
        chain = f"{folder}/chain-{usable.chain_hash}.pem"
        if self._in_memory and is_encrypted(usable.key_pem):
            return PairFiles(pair.identity, chain, self._unlocked_path(usable.key_pem))
        return PairFiles(pair.identity, chain, f"{folder}/key-{usable.key_hash}.pem", self.password_file)

    @staticmethod
    def _stored_key(pair: PairFiles, usable: Credential) -> str:
        """The path of the key as it was given, whatever NGINX reads."""
        return f"{posixpath.dirname(pair.chain_file)}/key-{usable.key_hash}.pem"


def warnings(settings: Settings, user: UserConfig) -> tuple[Fault, ...]:
    """Warnings about probable mistakes in the user's configuration, each with its place."""
    return (*user.configuration.warnings, *collisions(user.configuration, settings.status_port))


def _hash(*parts: bytes, length: int = 16) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:length]
