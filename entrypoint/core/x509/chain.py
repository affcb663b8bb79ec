"""Certificates linked to a chain: leaf first, each followed by its issuer, up to a root that may be trusted.

Pure: certificates in any order and with strangers among them, one path out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store
from cryptography.x509.verification import VerificationError as Unverified

from entrypoint.core.x509.certificate import ODD, dn, parse_all, public_key, reason, signature_fault

_MOST_LINKS = 20  # a longer chain is none that browsers follow
_MOST_TRIES = 32  # signatures checked for one link, where many certificates bear the issuer's name


@dataclass(frozen=True)
class Path:
    """Certificates linked upwards from the leaf, root dropped; ``fault`` says why the links do not hold."""

    certs: tuple[x509.Certificate, ...]
    fault: str = ""


def order(ders: Sequence[bytes], spki: bytes = b"", now: datetime | None = None) -> tuple[bytes, ...]:
    """The chain in ``ders`` as TLS requires it (RFC 5246, section 7.4.2): the leaf, then each issuer, without the root.

    The leaf is the first certificate with the public key ``spki``, else the first one. Duplicates, unrelated
    certificates and those that do not parse are dropped. Of several issuers, one valid ``now`` that leads on is
    preferred.
    """
    certs, _ = parse_all(ders)
    return to_ders(link(certs, choose_leaf(certs, spki), now)) if certs else ()


def arranged(ders: Sequence[bytes]) -> tuple[bytes, ...]:
    """As `order`, with the root at the end if it was sent: the complete chain for people."""
    certs, _ = parse_all(ders)
    if not certs:
        return tuple(ders)
    path = link(certs, choose_leaf(certs, b""), None)
    roots = [cert for cert in certs if is_root(cert) and cert.subject == path.certs[-1].issuer]
    return tuple(dict.fromkeys((*to_ders(path), *to_ders(Path(tuple(roots))))))


def choose_leaf(certs: Sequence[x509.Certificate], spki: bytes) -> x509.Certificate:
    """The first certificate with our public key, else the first one."""
    return next((cert for cert in certs if spki and public_key(cert)[1] == spki), certs[0])


def link(certs: Sequence[x509.Certificate], leaf: x509.Certificate, now: datetime | None) -> Path:
    """Follow issuers' names and signatures upwards: to a root, to an issuer that was not sent, or a fault."""
    by_subject: dict[bytes, list[x509.Certificate]] = {}
    for cert in certs:
        by_subject.setdefault(cert.subject.public_bytes(), []).append(cert)
    path = [leaf]
    while len(path) <= _MOST_LINKS:
        top = path[-1]
        if is_root(top):
            return Path(tuple(path[:-1] or path))
        named = by_subject.get(top.issuer.public_bytes(), [])
        named = sorted(named, key=lambda cert: _rank(cert, by_subject, now), reverse=True)[:_MOST_TRIES]
        fresh = (cert for cert in named if not any(_same_ca(cert, other) for other in path))
        issuer = next((cert for cert in fresh if _issued(cert, top)), None)
        if issuer is None:
            return Path(tuple(path), _open_end(top, named, lone=len(path) == 1))
        path.append(issuer)
    return Path(tuple(path), f"it has more than {_MOST_LINKS} links")


def _rank(
    cert: x509.Certificate, by_subject: dict[bytes, list[x509.Certificate]], now: datetime | None
) -> tuple[bool, bool, bool, datetime, bytes]:
    """Order issuers of one name: valid, cross-signed rather than root, leading on; then any fixed order."""
    leads_on = cert.issuer.public_bytes() in by_subject
    return (
        now is None or valid(cert, now),
        cert.subject != cert.issuer,
        leads_on,
        cert.not_valid_after_utc,
        cert.signature,
    )


def valid(cert: x509.Certificate, now: datetime) -> bool:
    """Whether a certificate is within its dates, both inclusive (RFC 5280, section 4.1.2.5)."""
    return cert.not_valid_before_utc <= now <= cert.not_valid_after_utc


def _open_end(top: x509.Certificate, named: Sequence[x509.Certificate], *, lone: bool) -> str:
    """The fault of a path whose next issuer was not sent: only a lone leaf has one; chains may end below the root."""
    if any(_issued(cert, top) for cert in named):
        return ""  # a loop of CAs that sign each other
    if named:
        return f"the signature of {dn(top.subject)} does not verify with the {dn(top.issuer)} that was sent"
    return f"the issuer of the certificate, {dn(top.issuer)}, was not sent: an intermediate is missing" * lone


def is_root(cert: x509.Certificate) -> bool:
    """Whether a certificate is self-signed (RFC 5280, section 3.2)."""
    return cert.subject == cert.issuer and _issued(cert, cert)


def _same_ca(one: x509.Certificate, other: x509.Certificate) -> bool:
    return one.subject == other.subject and public_key(one) == public_key(other)


def _issued(issuer: x509.Certificate, cert: x509.Certificate) -> bool:
    """Whether the signature verifies; an unsupported algorithm counts as verified, as `signature_fault` reports it."""
    try:
        cert.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return False
    except ODD:
        return bool(signature_fault(cert)) and cert.issuer == issuer.subject
    return True


def trust(
    path: Path, certs: Sequence[x509.Certificate], roots: Sequence[x509.Certificate] | None, now: datetime
) -> tuple[Path, str]:
    """Return the path that leads to a root, and why none does.

    The path as linked is tried first, so that cross-signed links which old clients need stay in it; then any path
    through what was sent. A link out of its dates is left out where the rest needs it no more: whoever trusts it by
    itself has it, and nobody else can use it.
    """
    shorter = _without_needless(path, now, least=1 if roots is not None else 2)
    if shorter is not path:
        found, why = _trusted(shorter, certs, roots, now)
        if not why:
            return found, ""
    return _trusted(path, certs, roots, now)


def _without_needless(path: Path, now: datetime, least: int) -> Path:
    """The path below its first issuer out of its dates, where ``least`` certificates are left; else the path itself.

    A chain may end below its root. That an issuer outlives the one above it shows that the latter is a cross-sign, or
    another issue of what clients trust; the one issuer of a leaf may only go where a trusted root stands in for it.
    """
    places = (place for place, cert in enumerate(path.certs) if place and not valid(cert, now))
    first = next(places, 0)
    return Path(path.certs[:first]) if first >= least else path


def _trusted(
    path: Path, certs: Sequence[x509.Certificate], roots: Sequence[x509.Certificate] | None, now: datetime
) -> tuple[Path, str]:
    why = ""
    for pool in (path.certs[1:], certs) if roots is not None else ():
        try:
            chain = _verify(path.certs, pool, roots or (), now)
        except (Unverified, *ODD) as error:
            why = why or reason(error)
        else:
            return Path(path.certs if pool is not certs else tuple(chain[:-1] or chain)), ""
    return path, why


def _verify(
    path: Sequence[x509.Certificate],
    pool: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> list[x509.Certificate]:
    """Return the chain from leaf to root (RFC 5280, section 6.1); raises Unverified or one of `ODD`.

    Dates have their own check: the time is moved to where all of the path is valid. Extensions are
    judged as browsers do; names and the leaf's usage are checked elsewhere, so the client's verifier does.
    """
    earliest = max(cert.not_valid_before_utc for cert in path)
    when = max(earliest, min(now, *(cert.not_valid_after_utc for cert in path)))
    any_ca = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    any_ca = any_ca.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _must_sign)
    builder = PolicyBuilder().store(Store(list(roots))).time(when.astimezone(UTC).replace(tzinfo=None))
    builder = builder.extension_policies(ca_policy=any_ca, ee_policy=ExtensionPolicy.permit_all())
    return builder.max_chain_depth(_MOST_LINKS).build_client_verifier().verify(path[0], list(pool)).chain


def _must_sign(_policy: Policy, _cert: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage and not usage.key_cert_sign:
        raise ValueError("an issuer's key usage lacks keyCertSign")


def to_ders(path: Path) -> tuple[bytes, ...]:
    """The path's certificates as DER, leaf first."""
    return tuple(cert.public_bytes(Encoding.DER) for cert in path.certs)
