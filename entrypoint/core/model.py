"""The vocabulary of all modules: outcomes, states, keys, chains and verdicts.

All values are frozen, and no ``repr`` shows a secret.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from entrypoint.core.times import rfc3339


class KeyType(enum.StrEnum):
    """The public key algorithms that a TLS server certificate of Domino's can have."""

    RSA = "rsa"
    ECDSA = "ecdsa"


class Outcome(enum.StrEnum):
    """How one check of one certificate ended: the vocabulary of logs, status, commands and tests."""

    INSTALLED = "installed"
    UNCHANGED = "unchanged"
    UNREACHABLE = "unreachable"
    NOT_TLS = "not-tls"
    HANDSHAKE_FAILED = "handshake-failed"
    NO_CERTIFICATE = "no-certificate"
    WRONG_NAME = "wrong-name"
    KEY_MISMATCH = "key-mismatch"
    KEY_TYPE_MISMATCH = "key-type-mismatch"
    NOT_NEWER = "not-newer"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    BROKEN_CHAIN = "broken-chain"
    UNTRUSTED = "untrusted"
    MALFORMED = "malformed"
    KEY_MISSING = "key-missing"
    KEY_UNREADABLE = "key-unreadable"
    WRONG_PASSWORD = "wrong-password"  # an outcome's name, not a password
    CONFIG_REJECTED = "config-rejected"
    RELOAD_FAILED = "reload-failed"
    NOT_SERVED = "not-served"

    @property
    def good(self) -> bool:
        """Whether what should be served is served."""
        return self in (Outcome.INSTALLED, Outcome.UNCHANGED)


class State(enum.StrEnum):
    """The state of a certificate as a visitor of the site would see it."""

    PENDING = "pending"
    SERVING = "serving"
    STALE = "stale"
    EXPIRING = "expiring"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Problem:
    """One reason why a certificate, key or configuration cannot be used: what was found, and what to do about it."""

    outcome: Outcome
    detail: str
    hint: str = ""


class Refused(Exception):
    """Raised by an edge whose neighbour answered with a `Problem` instead of a value."""

    def __init__(self, outcome: Outcome, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.problem = Problem(outcome, detail, hint)


@dataclass(frozen=True)
class Key:
    """A private key as given, and its public half.

    ``key_type`` is None for algorithms that only the user's own certificates can have. ``pem`` is the file's content,
    still encrypted if it was; ``spki`` is the DER encoding of SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7);
    ``password`` is the one that opened it.
    """

    key_type: KeyType | None
    spki: bytes
    pem: bytes = field(repr=False)
    password: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class CertificateInfo:
    """The facts of a leaf certificate that status and decisions use. Times are aware and in UTC."""

    names: tuple[str, ...]
    subject: str
    issuer: str
    serial: str
    fingerprint_sha256: str
    key_type: KeyType | None
    spki: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime

    def as_json(self) -> dict[str, str]:
        """The facts that no other certificate shares, for manifests and the status."""
        return {
            "fingerprint_sha256": self.fingerprint_sha256,
            "serial": self.serial,
            "issuer": self.issuer,
            "not_before": rfc3339(self.not_before),
            "not_after": rfc3339(self.not_after),
        }


@dataclass(frozen=True)
class Chain:
    """A vetted chain, leaf first and without its root, each certificate as DER."""

    ders: tuple[bytes, ...] = field(repr=False)
    leaf: CertificateInfo


@dataclass(frozen=True)
class Verdict:
    """The result of vetting: the chain if it may be served, otherwise all problems.

    ``problems`` are ordered by weight: the first one's outcome is the verdict's. ``found`` has the facts of the leaf,
    as far as they could be read, also of a refused one. ``warnings`` belong to a chain that may be served.
    """

    chain: Chain | None
    problems: tuple[Problem, ...] = ()
    found: CertificateInfo | None = None
    warnings: tuple[Problem, ...] = ()
