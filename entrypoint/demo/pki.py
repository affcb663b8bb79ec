"""A certification authority for the stand-in CertMgr, and keys.

Everything is made in memory, with the caller's key or a new one. Keys of authorities are ECDSA P-256, because RSA keys
take long to make.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from entrypoint.core.model import KeyType
from entrypoint.core.names import to_ascii

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", re.DOTALL)
_UNUSED = (
    *("content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "encipher_only", "decipher_only"),
)
_BACKDATED = timedelta(hours=1)  # as public authorities do, for clients whose clock is slow
_LIFETIME = timedelta(days=90)
_YEAR = timedelta(days=365)


def new_key(key_type: KeyType) -> PrivateKey:
    """A new private key: RSA of 2048 bits, or ECDSA on P-256."""
    if key_type is KeyType.RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def foreign_key(public_key: PublicKey) -> PrivateKey:
    """A new key of the same type and size, whose signatures do not verify."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return rsa.generate_private_key(public_exponent=65537, key_size=public_key.key_size)
    return ec.generate_private_key(public_key.curve)


def key_type_of(key: PrivateKey) -> KeyType:
    """The key's type, RSA or ECDSA."""
    return KeyType.RSA if isinstance(key, rsa.RSAPrivateKey) else KeyType.ECDSA


def encrypted_pem(key: PrivateKey, password: bytes) -> bytes:
    """The key as an encrypted PEM file: PKCS #8 with PBES2."""
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


def forged_pem(genuine: PrivateKey) -> bytes:
    """A foreign private key with the public half of the genuine one, which is all that OpenSSL compares.

    With it, OpenSSL itself plays the imposter, over each version of TLS. It is not encrypted, as it has no value.
    """
    key = foreign_key(genuine.public_key())
    form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    der = key.private_bytes(serialization.Encoding.DER, form, plain)
    label = b"RSA" if isinstance(key, rsa.RSAPrivateKey) else b"EC"
    forged = der.replace(_public_half(key.public_key()), _public_half(genuine.public_key()), 1)
    text = b"-----BEGIN %s PRIVATE KEY-----\n%s-----END %s PRIVATE KEY-----\n"
    return text % (label, base64.encodebytes(forged), label)


def _public_half(public_key: PublicKey) -> bytes:
    """The modulus or the point, as private keys spell it."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return public_key.public_numbers().n.to_bytes(public_key.key_size // 8)
    return public_key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def load_key(pem: bytes, password: bytes) -> PrivateKey:
    """The private key of an encrypted PEM file.

    Raises ValueError where the password does not open it or the key is neither RSA nor ECDSA.
    """
    try:
        key = serialization.load_pem_private_key(pem, password)
    except TypeError:
        raise ValueError("the private key is not encrypted") from None
    if not isinstance(key, PrivateKey):
        raise ValueError("the private key is neither RSA nor ECDSA")
    return key


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """The certificates as one PEM file, in the given order."""
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def ascii_name(name: str) -> str:
    """The name in lower case and A-labels (RFC 5890), without a final dot; ``*.`` may lead it.

    Raises ValueError for a Unicode name that is no host name; those in ASCII are issued as they are.
    """
    return name.lower().rstrip(".") if name.isascii() else to_ascii(name)


@dataclass(frozen=True)
class Issued:
    """A certificate's key and its chain: the certificate first, root last."""

    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        """The one that the key belongs to."""
        return self.chain[0]


@dataclass(frozen=True)
class Authority:
    """A root, and the intermediate that signs the leaves."""

    root: Issued
    intermediate: Issued

    @classmethod
    def create(cls, name: str = "Example") -> Authority:
        """A new root and intermediate, valid since five years ago."""
        root = _ca(f"{name} Root", None)
        return cls(root, _ca(f"{name} Intermediate", root))

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes) -> Authority:
        """The authority that ``to_pem`` stored. Raises ValueError for a damaged file or a wrong password."""
        blocks = [match.group() for match in _PEM_BLOCK.finditer(pem)]
        if len(blocks) != 4:
            raise ValueError(f"expected 4 PEM blocks, found {len(blocks)}")
        root, intermediate = map(x509.load_pem_x509_certificate, blocks[::2])
        keys = [load_key(pem, password) for pem in blocks[1::2]]
        return cls(Issued(keys[0], (root,)), Issued(keys[1], (intermediate, root)))

    def to_pem(self, password: bytes) -> bytes:
        """The authority as one PEM file: each certificate followed by its encrypted key."""
        both = (self.root, self.intermediate)
        return b"".join(certificate_pem(each.certificate) + encrypted_pem(each.key, password) for each in both)

    def issue(
        self,
        names: str | Iterable[str],
        *,
        key: PrivateKey | None = None,
        key_type: KeyType = KeyType.ECDSA,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Issued:
        """A leaf for the names (Unicode names become A-labels), and its chain with the root.

        ``key`` is the one to certify (a renewal passes the old one); without it, a new one of
        ``key_type`` is made. The dates are aware; by default from an hour ago, for 90 days.
        """
        key = key or new_key(key_type)
        since = not_before or datetime.now(UTC) - _BACKDATED
        until = not_after or since + _LIFETIME
        written = [ascii_name(name) for name in ([names] if isinstance(names, str) else names)]
        builder = _leaf_builder(written, key, self.intermediate).not_valid_before(since).not_valid_after(until)
        leaf = builder.sign(self.intermediate.key, hashes.SHA256())
        return Issued(key, (leaf, *self.intermediate.chain))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, key: PrivateKey, issuer: Issued | None, *, ca: bool) -> x509.CertificateBuilder:
    """The fields of all certificates, without the dates; without an issuer, they sign themselves."""
    builder = (
        x509.CertificateBuilder(issuer.certificate.subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(ca=ca), critical=True)
    )
    if issuer is None:
        return builder
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return builder.add_extension(identifier, critical=False)


def _ca(name: str, issuer: Issued | None) -> Issued:
    """An authority's certificate (RFC 5280, sections 4.2.1.3 and 4.2.1.9) with a new key, a root without an issuer."""
    key, now = new_key(KeyType.ECDSA), datetime.now(UTC)
    builder = (
        _builder(_name(name), key, issuer, ca=True)
        .not_valid_before(now - 5 * _YEAR)
        .not_valid_after(now + (10 if issuer else 20) * _YEAR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else None), critical=True)
    )
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Issued(key, (certificate, *(issuer.chain if issuer else ())))


def _leaf_builder(names: list[str], key: PrivateKey, issuer: Issued) -> x509.CertificateBuilder:
    """The fields of a server certificate, without the dates."""
    subject = _name(names[0]) if len(names[0]) <= 64 else x509.Name([])  # ub-common-name of X.520
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    return (
        _builder(subject, key, issuer, ca=False)
        .add_extension(alternative, critical=not list(subject))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    others = dict.fromkeys(_UNUSED, False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **others)
