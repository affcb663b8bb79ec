"""One certificate: its facts, and the faults of its encoding. Pure: DER in, values out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from entrypoint.core.model import CertificateInfo, KeyType, Outcome, Refused
from entrypoint.core.names import ip_text
from entrypoint.core.shown import shown

_E = TypeVar("_E", bound=x509.ExtensionType)

# What cryptography raises, often lazily, for certificates that break the rules.
ODD = (
    *(ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion),
    *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)

_OFFERED = ("secp256r1", "secp384r1", "secp521r1")


def describe(der: bytes) -> CertificateInfo:
    """The facts of a certificate; raises Refused (malformed) for DER that does not parse.

    ``names`` are the SAN's dNSNames and IP addresses, the CN only where there is no SAN. An unsupported key leaves
    ``spki`` empty and ``key_type`` None. Control characters are escaped.
    """
    return info_of(parse(der))


def parse(der: bytes) -> x509.Certificate:
    """The certificate in ``der``, with all that is parsed lazily parsed once. Raises Refused (malformed).

    Extensions that do not parse, a key and a signature of unknown algorithms are left to `extensions_fault`,
    `public_key` and `signature_fault`; nothing else of the certificate raises later.
    """
    with _without_warnings():
        try:
            cert = x509.load_der_x509_certificate(der)
            _read(cert)
        except ODD as error:
            raise Refused(Outcome.MALFORMED, f"it is no X.509 certificate: {reason(error)}") from None
    return cert


def _read(cert: x509.Certificate) -> None:
    """Read every field that certfront uses; raises one of `ODD` for a field that cannot be read."""
    _ = cert.version, cert.serial_number, cert.not_valid_before_utc, cert.not_valid_after_utc
    _ = cert.signature, cert.signature_algorithm_oid, cert.public_bytes(Encoding.DER)
    for name in (cert.subject, cert.issuer):
        _ = dn(name), name.public_bytes()
    for what in (_read_key, _read_signature):
        with suppress(UnsupportedAlgorithm):
            what(cert)


def _read_key(cert: x509.Certificate) -> None:
    cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read_signature(cert: x509.Certificate) -> None:
    _ = cert.signature_hash_algorithm, cert.signature_algorithm_parameters


def parse_all(ders: Iterable[bytes]) -> tuple[list[x509.Certificate], str]:
    """The certificates without duplicates, and a sentence about those that do not parse."""
    certs, faults = [], []
    for number, der in enumerate(dict.fromkeys(ders), start=1):
        try:
            certs.append(parse(der))
        except Refused as refused:
            faults.append(f"certificate {number} of the answer does not parse: {refused}")
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return certs, "".join(faults[:1]) + more


def info_of(cert: x509.Certificate) -> CertificateInfo:
    """The facts of a parsed certificate, as `describe` returns them."""
    key_type, spki = public_key(cert)
    return CertificateInfo(
        names=_names(cert),
        subject=dn(cert.subject),
        issuer=dn(cert.issuer),
        serial=_serial(cert),
        fingerprint_sha256=hashlib.sha256(cert.public_bytes(Encoding.DER)).hexdigest(),
        key_type=key_type,
        spki=spki,
        not_before=cert.not_valid_before_utc,
        not_after=cert.not_valid_after_utc,
    )


def public_key(cert: x509.Certificate) -> tuple[KeyType | None, bytes]:
    """Type and SubjectPublicKeyInfo of the key, encoded anew so that equal keys are equal bytes."""
    try:
        key = cert.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ODD:
        return None, b""
    if isinstance(key, rsa.RSAPublicKey):
        return KeyType.RSA, spki
    return (KeyType.ECDSA if isinstance(key, ec.EllipticCurvePublicKey) else None), spki


def offered_by_default(der: bytes) -> bool:
    """Whether the default offer of a TLS client, such as certfront's, includes signatures by this key."""
    try:
        key = parse(der).public_key()
    except (*ODD, Refused):
        return False
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""
    return curve in _OFFERED if curve else isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey)


def _names(cert: x509.Certificate) -> tuple[str, ...]:
    san = extension(cert, x509.SubjectAlternativeName)
    if san is None:
        found = [str(name.value) for name in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    else:  # an address spelt as a dNSName is no address (RFC 9525, section 4.1)
        found = [name for name in san.get_values_for_type(x509.DNSName) if ip_text(name) is None]
        found += [str(address) for address in san.get_values_for_type(x509.IPAddress)]
    return tuple(dict.fromkeys(shown(name.lower(), lines=False) for name in found))


def extension(cert: x509.Certificate, kind: type[_E]) -> _E | None:
    """The extension's value, None where it is absent or does not parse."""
    try:
        return cert.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *ODD):
        return None


def extensions_of(cert: x509.Certificate) -> Sequence[x509.Extension[x509.ExtensionType]]:
    """All extensions; empty where they do not parse."""
    try:
        return tuple(cert.extensions)
    except ODD:
        return ()


def extensions_fault(cert: x509.Certificate) -> str:
    """Why the extensions do not parse; empty where they do."""
    try:
        _ = cert.extensions
    except ODD as error:
        return reason(error)
    return ""


def _serial(cert: x509.Certificate) -> str:
    with _without_warnings():
        number = cert.serial_number
    digits = abs(number).to_bytes(max(1, (number.bit_length() + 7) // 8), "big").hex(":").upper()
    return f"-{digits}" if number < 0 else digits


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence cryptography about serial numbers below 1, country codes of odd length and the like."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def dn(name: x509.Name) -> str:
    """A distinguished name as text (RFC 4514), escaped for a log."""
    return shown(name.rfc4514_string(), lines=False)


def reason(error: BaseException) -> str:
    """The message of a library's exception, escaped for a log."""
    text = str(error).removeprefix("validation failed: ").removeprefix("candidates exhausted: ")
    return shown(text, lines=False) or type(error).__name__


def signature_fault(cert: x509.Certificate) -> str:
    """Why the signature algorithm is too weak or unknown; empty for all others."""
    try:
        digest = cert.signature_hash_algorithm
    except ODD:
        return f"signed with an unknown algorithm, {cert.signature_algorithm_oid.dotted_string}"
    weak = digest is not None and digest.name in ("md5", "sha1")
    return f"signed with {digest.name.upper()}, SHA-256 or better expected" if digest and weak else ""
