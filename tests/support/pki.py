"""Keys and certificates for tests: real ones, made by `cryptography`, each key once per session.

ca = root()                                # a CA that signs itself
between = issue("Issuing CA", ca, ca=True)
site = issue("www.acme.io", between, names=["www.acme.io"], key=rsa_key(1))
site.der, site.pem, site.key, key_of(site.key), key_pem(site.key, b"password")
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from entrypoint.core.model import Key, KeyType
from entrypoint.demo import pki as demo

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

NOW = datetime.now(UTC).replace(microsecond=0)
"""When this session began: certificates are valid from a day before it, unless told otherwise."""


@functools.cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return the RSA key of that number, the same one every time."""
    del number  # it only tells keys apart
    return rsa.generate_private_key(65537, bits)


@functools.cache
def ec_key(number: int = 0, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """Return the EC key of that number, the same one every time."""
    del number
    return ec.generate_private_key(curve())


@functools.cache
def cached_key(key_type: KeyType, label: str = "", bits: int = 2048) -> demo.PrivateKey:
    """Return the same key for the same arguments; ``label`` tells them apart."""
    del label
    return rsa.generate_private_key(65537, bits) if key_type is KeyType.RSA else demo.new_key(key_type)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    cert: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.cert.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.cert.public_bytes(Encoding.PEM)


def root(name: str = "Test Root", key: PrivateKey | None = None, **options: Any) -> Issued:
    """Return a CA certificate that signs itself."""
    return issue(name, None, key=key or ec_key(_stable(name)), ca=True, **options)


def issue(
    common_name: str,
    issuer: Issued | None,
    *,
    names: Sequence[str] = (),
    key: PrivateKey | None = None,
    ca: bool = False,
    not_before: datetime = NOW - timedelta(days=1),
    not_after: datetime = NOW + timedelta(days=90),
    serial: int | None = None,
    extensions: Iterable[x509.ExtensionType] = (),
    plain: bool = False,
    critical: Iterable[x509.ExtensionType] = (),
    rsa_padding: padding.PSS | None = None,
) -> Issued:
    """Return a certificate that ``issuer`` signed (None: itself); without ``key``, an EC key of its name.

    ``plain`` leaves out the key identifiers and the key usage, as small private CAs do. ``rsa_padding`` is for a
    signature by an RSA key that is not of PKCS #1, version 1.5.
    """
    key = key or ec_key(_stable(common_name))
    signer = issuer.key if issuer else key
    subject = _name(common_name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.cert.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension in critical:
        builder = builder.add_extension(extension, critical=True)
    for extension in [*_usual(key, signer, names, ca=ca, plain=plain), *extensions]:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(builder.sign(signer, digest, rsa_padding=rsa_padding), key)


def cross_sign(subject: Issued, issuer: Issued, **options: Any) -> Issued:
    """Return a CA certificate for the same name and key as ``subject``'s, signed by ``issuer``."""
    (name,) = subject.cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return issue(str(name.value), issuer, key=subject.key, ca=True, **options)


def key_of(key: PrivateKey, pem: bytes = b"", password: bytes | None = None) -> Key:
    """Return the product's own description of a private key."""
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    types = {rsa.RSAPrivateKey: KeyType.RSA, ec.EllipticCurvePrivateKey: KeyType.ECDSA}
    key_type = next((each for kind, each in types.items() if isinstance(key, kind)), None)
    return Key(key_type, spki, pem or key_pem(key), password)


def key_pem(key: PrivateKey, password: bytes | None = None, *, traditional: bool = False) -> bytes:
    """Return the key as PEM: PKCS #8, or the traditional format, encrypted where there is a password."""
    form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(password) if password else NoEncryption())


def _usual(
    key: PrivateKey, signer: PrivateKey, names: Sequence[str], *, ca: bool, plain: bool
) -> list[x509.ExtensionType]:
    extensions: list[x509.ExtensionType] = [x509.BasicConstraints(ca=ca, path_length=None)] if ca else []
    if names:
        extensions.append(x509.SubjectAlternativeName([_general(name) for name in names]))
    if not plain:
        extensions.append(x509.SubjectKeyIdentifier.from_public_key(key.public_key()))
        extensions.append(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()))
        extensions.append(_usage(sign=ca))
    return extensions


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def _stable(name: str) -> int:
    return int.from_bytes(name.encode()[:32], "big") + 1000
