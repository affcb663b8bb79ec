"""A chain and the private key that fits it, ready to be served, and their JSON in a manifest.

A start reads credentials from manifests, before NGINX is up: only `described` imports the library for certificates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from entrypoint.core.model import CertificateInfo, Chain, Key, KeyType
from entrypoint.core.names import covers_any
from entrypoint.core.shown import is_text
from entrypoint.core.times import moment, rfc3339
from entrypoint.core.x509 import pem

CERTMGR, FILE = "certmgr", "file"
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Credential:
    """A chain as DER, leaf first and without its root, and the key's PEM as it was given.

    ``chain_pem`` is the file for NGINX: as it was read, or encoded here. ``source`` is `CERTMGR`, with the server's
    name in ``certmgr``, or `FILE` for the user's own. Credentials with the same bytes from the same source are equal.
    """

    ders: tuple[bytes, ...] = field(repr=False)
    key_pem: bytes = field(repr=False)
    leaf: CertificateInfo = field(compare=False)
    source: str = CERTMGR
    certmgr: str = field(default="", compare=False)
    installed_at: datetime | None = field(default=None, compare=False)
    chain_pem: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.chain_pem:
            object.__setattr__(self, "chain_pem", pem.encode(self.ders))

    @cached_property
    def chain_hash(self) -> str:
        """The hash in the name of the chain's file."""
        return hashlib.sha256(self.chain_pem).hexdigest()[:16]

    @cached_property
    def key_hash(self) -> str:
        """The hash in the name of the key's file."""
        return hashlib.sha256(self.key_pem).hexdigest()[:16]

    @property
    def is_users(self) -> bool:
        """Whether it is the user's own, whose names are the user's choice."""
        return self.source == FILE

    def fits(self, names: Collection[str]) -> bool:
        """Whether it may be served for some or all of these names."""
        return self.is_users or covers_any(self.leaf.names, names)

    def with_key(self, key_pem: bytes) -> Credential:
        """The chain with its key in another form; the same object if the form is the same."""
        return self if key_pem == self.key_pem else replace(self, key_pem=key_pem)

    def described(self) -> Credential:
        """The credential with all facts of the leaf: a manifest lacks its subject and public key. Raises Refused."""
        from entrypoint.core.x509.certificate import describe

        return self if self.leaf.spki else replace(self, leaf=describe(next(iter(self.ders), b"")))

    def as_json(self) -> dict[str, Any]:
        """The credential's facts as JSON, for a manifest."""
        return {
            "names": list(self.leaf.names),
            "key_type": self.leaf.key_type,
            **self.leaf.as_json(),
            "source": self.source,
            "certmgr": self.certmgr,
            "installed_at": rfc3339(self.installed_at) if self.installed_at else None,
        }


def issued(chain: Chain, key: Key, source: str, now: datetime) -> Credential:
    """The credential of a vetted chain and its key; ``source`` is the CertMgr, or empty for the user's own."""
    return Credential(chain.ders, key.pem, chain.leaf, CERTMGR if source else FILE, source, now)


def stored(entry: Mapping[str, Any], chain_pem: bytes, key_pem: bytes) -> Credential:
    """The credential of a stored chain and key, with the facts in a manifest; damaged members are left out."""
    names = entry.get("names")
    leaf = CertificateInfo(
        names=tuple(names) if isinstance(names, list) and all(map(is_text, names)) else (),
        subject="",
        issuer=_text(entry.get("issuer")),
        serial=_text(entry.get("serial")),
        fingerprint_sha256=_text(entry.get("fingerprint_sha256")),
        key_type=next((kind for kind in KeyType if kind == entry.get("key_type")), None),
        spki=b"",
        not_before=moment(entry.get("not_before")) or _NEVER,
        not_after=moment(entry.get("not_after")) or _NEVER,
    )
    source, certmgr = _text(entry.get("source")) or CERTMGR, _text(entry.get("certmgr"))
    return Credential(
        pem.decode(chain_pem), key_pem, leaf, source, certmgr, moment(entry.get("installed_at")), chain_pem
    )


def _text(value: object) -> str:
    return value if is_text(value) else ""
