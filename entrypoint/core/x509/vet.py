"""The verdict whether a chain may be served, from certificates, key, names, roots and time.

Pure: no I/O and no clock. Certificates come as DER, in any order and with unrelated ones among them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from entrypoint.core.model import CertificateInfo, Chain, Key, Outcome, Problem, Verdict
from entrypoint.core.names import covers
from entrypoint.core.times import rfc3339
from entrypoint.core.x509 import browsers
from entrypoint.core.x509.certificate import dn, extensions_fault, info_of, parse_all
from entrypoint.core.x509.chain import Path, choose_leaf, link, to_ders, trust

DEFAULT_CERTIFICATE = (
    "CertMgr returned its default certificate: is this server listed in 'Servers with access' of the "
    "TLS Credentials, is SNI enabled, and is the name spelt as in the TLS Credentials?"
)
_ADD_NAMES = "add them to the TLS Credentials, or take them out of SERVER_NAME or server_name"
_WEIGHTS = (
    *(Outcome.MALFORMED, Outcome.NO_CERTIFICATE, Outcome.WRONG_NAME, Outcome.KEY_TYPE_MISMATCH),
    *(Outcome.KEY_MISMATCH, Outcome.EXPIRED, Outcome.NOT_YET_VALID, Outcome.BROKEN_CHAIN),
    *(Outcome.UNTRUSTED, Outcome.NOT_NEWER),
)


@dataclass(frozen=True)
class _Case:
    """The input of all checks; ``distrust`` is the reason why the path leads to no trusted root."""

    path: Path
    info: CertificateInfo
    key: Key
    wanted: Sequence[str]
    asked: str
    now: datetime
    served: CertificateInfo | None
    unparsed: str
    distrust: str


def vet(  # noqa: PLR0913 - all of it decides, and callers name each
    ders: Sequence[bytes],
    *,
    key: Key,
    wanted: Sequence[str],
    now: datetime,
    served: CertificateInfo | None = None,
    roots: Sequence[x509.Certificate] | None = None,
    asked: str = "",
) -> Verdict:
    """Decide whether the chain in ``ders`` may be served with ``key`` for some or all ``wanted`` names (A-labels).

    No chain may be older than the one of the leaf ``served``. Where ``roots`` is not None, it must lead to one of them.
    ``asked`` is the name that was sent by SNI. Raises nothing for what the other side sent.
    """
    certs, unparsed = parse_all(ders)
    if not certs:
        return _refuse([_nothing(unparsed)])
    info = info_of(leaf := choose_leaf(certs, key.spki))
    if faults := [*_unread(leaf, "the certificate")]:
        return _refuse(faults, info)
    path, distrust = trust(link(certs, leaf, now), certs, roots, now)
    case = _Case(path, info, key, wanted, asked, now, served, unparsed, distrust)
    problems = list(_problems(case))
    return _refuse(problems, info) if problems else Verdict(Chain(to_ders(path), info), (), info, _warnings(case))


def _nothing(unparsed: str) -> Problem:
    empty = Problem(Outcome.NO_CERTIFICATE, "the answer holds no certificate")
    return Problem(Outcome.MALFORMED, unparsed) if unparsed else empty


def _refuse(problems: Iterable[Problem], found: CertificateInfo | None = None) -> Verdict:
    return Verdict(None, tuple(sorted(problems, key=lambda problem: _WEIGHTS.index(problem.outcome))), found)


def _problems(case: _Case) -> Iterator[Problem]:
    if case.unparsed and (case.path.fault or case.info.spki != case.key.spki):
        yield Problem(Outcome.MALFORMED, case.unparsed)
    missing = _missing(case)
    if missing and len(missing) == len(case.wanted):
        yield _wrong_name(case, missing)
        return  # somebody else's certificate: what else is wrong with it concerns nobody here
    yield from key_problems(case.info, case.key)
    for cert in case.path.certs:
        yield from _date_problems(case, cert)
    if case.path.fault:
        hint = "put the complete chain into the TLS Credentials document: the leaf, then every intermediate"
        yield Problem(Outcome.BROKEN_CHAIN, f"the chain is broken: {case.path.fault}", hint)
    for cert in case.path.certs:
        yield from _unread(cert, _title(case, cert))
    yield from _trust_problems(case)
    yield from _age_problems(case)


def _missing(case: _Case) -> list[str]:
    return [name for name in case.wanted if not any(covers(found, name) for found in case.info.names)]


def _wrong_name(case: _Case, missing: Sequence[str]) -> Problem:
    asked = f"asked for {case.asked}, " if case.asked else ""
    detail = f"{asked}got a certificate for {_listed(case.info.names)}; missing: {_listed(missing)}"
    found = case.asked and any(covers(name, case.asked) for name in case.info.names)
    return Problem(Outcome.WRONG_NAME, detail, _ADD_NAMES if found else DEFAULT_CERTIFICATE)


def _warnings(case: _Case) -> tuple[Problem, ...]:
    """The warning about wanted names that the certificate lacks: the covered names are served, and renewed."""
    missing = _missing(case)
    detail = f"the certificate covers {_listed(case.info.names)}; missing: {_listed(missing)}"
    return (Problem(Outcome.WRONG_NAME, detail, _ADD_NAMES),) if missing else ()


def key_problems(info: CertificateInfo, key: Key) -> Iterator[Problem]:
    """Why a certificate and a private key do not belong together."""
    if info.key_type is not key.key_type:
        kinds = (each.upper() if each else "neither an RSA nor an ECDSA one" for each in (info.key_type, key.key_type))
        detail = "the certificate's key is {}, the private key is {}".format(*kinds)
        hint = "export the key that belongs to this certificate, or ask for the certificate of the key's type"
        yield Problem(Outcome.KEY_TYPE_MISMATCH, detail, hint)
    elif info.spki != key.spki:
        found, ours = (hashlib.sha256(spki).hexdigest()[:16] for spki in (info.spki, key.spki))
        detail = f"the certificate has another public key (SHA-256 {found}…) than the private key ({ours}…)"
        hint = "CertMgr has a new key: export it from the TLS Credentials document and replace the key file"
        yield Problem(Outcome.KEY_MISMATCH, detail, hint)


def _date_problems(case: _Case, cert: x509.Certificate) -> Iterator[Problem]:
    start, end = cert.not_valid_before_utc, cert.not_valid_after_utc
    facts = f"valid from {rfc3339(start)} to {rfc3339(end)}; this machine's clock says {rfc3339(case.now)}"
    if case.now > end:
        hint = "renew it in CertMgr; if the dates are right, correct this machine's clock"
        yield Problem(Outcome.EXPIRED, f"{_title(case, cert)} has expired: {facts}", hint)
    elif case.now < start:
        hint = "wait, or correct this machine's clock"
        yield Problem(Outcome.NOT_YET_VALID, f"{_title(case, cert)} is not valid yet: {facts}", hint)


def _unread(cert: x509.Certificate, title: str) -> Iterator[Problem]:
    if fault := extensions_fault(cert):
        yield Problem(Outcome.MALFORMED, f"{title}: its extensions do not parse: {fault}")


def _trust_problems(case: _Case) -> Iterator[Problem]:
    for cert, fault in browsers.faults(case.path.certs):
        hint = "have it issued anew, in a form that browsers accept"
        yield Problem(Outcome.UNTRUSTED, f"{_title(case, cert)}: {fault}", hint)
    if case.distrust and not case.path.fault:  # of a broken chain, nobody can say
        top = dn(case.path.certs[-1].issuer)
        detail = f"no trusted root vouches for the chain, which ends at {top} ({case.distrust})"
        yield Problem(Outcome.UNTRUSTED, detail, "put the root of this CA into TRUSTED_ROOTS_FILE")


def _age_problems(case: _Case) -> Iterator[Problem]:
    new, old = case.info, case.served
    if old is None or old.spki != case.key.spki:
        return  # the live one belongs to another key: there is nothing to be older than
    if (new.not_before, new.not_after) < (old.not_before, old.not_after):
        terms = (f"{rfc3339(each.not_before)} to {rfc3339(each.not_after)}" for each in (new, old))
        detail = "it is valid from {}, the one served from {}: it is older".format(*terms)
        yield Problem(Outcome.NOT_NEWER, detail, "a stale replica answered; `certfront refresh --force` passes it")


def _title(case: _Case, cert: x509.Certificate) -> str:
    return "the certificate" if cert is case.path.certs[0] else f"the intermediate {dn(cert.subject)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) or "no name at all") + more
