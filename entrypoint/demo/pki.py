"""Certification authorities for the stand-in CertMgr, which issue good and faulty certificates.

Everything is made in memory, with the caller's key or a new one. Keys of authorities are ECDSA P-256, because RSA keys
take long to make; ``cached_key`` saves that time for leaves, too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import idna
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from entrypoint.core.model import KeyType

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


def new_key(key_type: KeyType, bits: int = 2048) -> PrivateKey:
    """A new private key: RSA of ``bits``, or ECDSA on P-256."""
    if key_type is KeyType.RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def cached_key(key_type: KeyType, label: str = "", bits: int = 2048) -> PrivateKey:  # noqa: ARG001
    """The same key for the same arguments, as long as the process lives; ``label`` tells them apart."""
    return new_key(key_type, bits)


def key_type_of(key: PrivateKey) -> KeyType:
    """The key's type, RSA or ECDSA."""
    return KeyType.RSA if isinstance(key, rsa.RSAPrivateKey) else KeyType.ECDSA


def spki(public_key: object) -> bytes:
    """The DER encoding of SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).

    Raises TypeError for a public key that is neither RSA nor ECDSA.
    """
    if not isinstance(public_key, PublicKey):
        raise TypeError("the public key is neither RSA nor ECDSA")
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def encrypted_pem(key: PrivateKey, password: bytes, traditional: bool = False) -> bytes:
    """The key as an encrypted PEM file: PKCS #8 with PBES2, or the traditional ``DEK-Info`` form."""
    form = serialization.PrivateFormat
    return key.private_bytes(
        serialization.Encoding.PEM,
        form.TraditionalOpenSSL if traditional else form.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


def plain_pem(key: PrivateKey) -> bytes:
    """The key as PKCS #8 without encryption."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


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

    Raises ValueError where it is no host name.
    """
    star, _, rest = ("*.", "", name[2:]) if name.startswith("*.") else ("", "", name)
    if rest.isascii():  # names with an underscore are served, too, and IDNA would refuse them
        return star + rest.lower().rstrip(".")
    return star + idna.encode(rest.rstrip("."), uts46=True).decode("ascii")


def ascii_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """One name, or several, as ``ascii_name`` writes them."""
    return tuple(ascii_name(name) for name in ([names] if isinstance(names, str) else names))


@dataclass(frozen=True)
class Profile:
    """The fields of a leaf besides names and dates; every departure from the defaults is a fault."""

    san: bool = True
    eku: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.SERVER_AUTH,)
    aki: bool = True


USUAL = Profile()


@dataclass(frozen=True)
class Signer:
    """A certificate of an authority with its private key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)


@dataclass(frozen=True)
class Issued:
    """A leaf's key and its chain: leaf first, root last."""

    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf."""
        return self.chain[0]


@dataclass(frozen=True)
class Authority:
    """A root and, unless it is a MicroCA, the intermediate that signs the leaves."""

    root: Signer
    intermediate: Signer | None = None

    @classmethod
    def create(cls, name: str = "Example") -> Authority:
        """A new root and intermediate, valid since five years ago."""
        authority = cls.micro(name)
        key = new_key(KeyType.ECDSA)
        return replace(authority, intermediate=_intermediate(f"{name} Intermediate", key, authority.root))

    @classmethod
    def micro(cls, name: str = "MicroCA") -> Authority:
        """A new authority whose root signs the leaves, as Domino's MicroCA."""
        key = new_key(KeyType.ECDSA)
        subject = _name(f"{name} Root")
        builder = _ca_builder(subject, subject, key.public_key(), years=20, path_length=None)
        return cls(Signer(builder.sign(key, hashes.SHA256()), key))

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes) -> Authority:
        """The authority that ``to_pem`` stored. Raises ValueError for a damaged file or a wrong password."""
        blocks = [match.group() for match in _PEM_BLOCK.finditer(pem)]
        if len(blocks) not in (2, 4):
            raise ValueError(f"expected 2 or 4 PEM blocks, found {len(blocks)}")
        signers = [
            Signer(x509.load_pem_x509_certificate(certificate), load_key(key, password))
            for certificate, key in zip(blocks[::2], blocks[1::2], strict=True)
        ]
        return cls(*signers)

    def to_pem(self, password: bytes) -> bytes:
        """The authority as one PEM file: each certificate followed by its encrypted key."""
        signers = [self.root, self.intermediate] if self.intermediate else [self.root]
        return b"".join(certificate_pem(s.certificate) + encrypted_pem(s.key, password) for s in signers)

    @property
    def signer(self) -> Signer:
        """The certificate and key that sign the leaves."""
        return self.intermediate or self.root

    def chain(self, leaf: x509.Certificate, root: bool = True) -> tuple[x509.Certificate, ...]:
        """The leaf followed by this authority's certificates, with or without the root."""
        between = (self.intermediate.certificate,) if self.intermediate else ()
        return (leaf, *between, *((self.root.certificate,) if root else ()))

    def cross_signed(self, by: Authority) -> Authority:
        """This intermediate (same subject, same key) below another root.

        ``cross_signed(by).chain(leaf)`` is an alternate chain of the very same leaf. Raises
        ValueError for a MicroCA, which has no intermediate.
        """
        if self.intermediate is None:
            raise ValueError("a MicroCA has no intermediate to cross-sign")
        subject = self.intermediate.certificate.subject
        return Authority(by.root, _intermediate(subject, self.intermediate.key, by.root))

    def issue(
        self,
        names: str | Iterable[str],
        *,
        key: PrivateKey | None = None,
        key_type: KeyType = KeyType.ECDSA,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        profile: Profile = USUAL,
    ) -> Issued:
        """A leaf for the names (Unicode names become A-labels), and its chain with the root.

        ``key`` is the one to certify (a renewal passes the old one); without it, a new one of
        ``key_type`` is made. The dates are aware; by default from an hour ago, for 90 days.
        """
        key = key or new_key(key_type)
        since = not_before or datetime.now(UTC) - _BACKDATED
        until = not_after or since + _LIFETIME
        builder = _leaf_builder(ascii_names(names), key, self.signer, profile)
        builder = builder.not_valid_before(since).not_valid_after(until)
        return Issued(key, self.chain(builder.sign(self.signer.key, hashes.SHA256())))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, public_key: PublicKey) -> x509.CertificateBuilder:
    """The fields of all certificates, without the dates."""
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _ca_builder(
    subject: x509.Name, issuer: x509.Name, public_key: PublicKey, years: int, path_length: int | None
) -> x509.CertificateBuilder:
    """The fields of an authority's certificate (RFC 5280, sections 4.2.1.3 and 4.2.1.9)."""
    now = datetime.now(UTC)
    return (
        _builder(subject, issuer, public_key)
        .not_valid_before(now - 5 * _YEAR)
        .not_valid_after(now + years * _YEAR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
    )


def _intermediate(subject: x509.Name | str, key: PrivateKey, root: Signer) -> Signer:
    """An intermediate with that subject and key, signed by the root."""
    subject = _name(subject) if isinstance(subject, str) else subject
    builder = _ca_builder(subject, root.certificate.subject, key.public_key(), years=10, path_length=0)
    builder = builder.add_extension(_authority_key_identifier(root), critical=False)
    return Signer(builder.sign(root.key, hashes.SHA256()), key)


def _leaf_builder(names: tuple[str, ...], key: PrivateKey, signer: Signer, profile: Profile) -> x509.CertificateBuilder:
    """The fields of a server certificate, without the dates."""
    subject = _name(names[0]) if len(names[0]) <= 64 else x509.Name([])  # ub-common-name of X.520
    builder = _builder(subject, signer.certificate.subject, key.public_key()).add_extension(
        _key_usage(ca=False), critical=True
    )
    if profile.san:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=not list(subject)
        )
    if profile.eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage(profile.eku), critical=False)
    if profile.aki:
        builder = builder.add_extension(_authority_key_identifier(signer), critical=False)
    return builder


def _authority_key_identifier(signer: Signer) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())


def _key_usage(ca: bool) -> x509.KeyUsage:
    others = dict.fromkeys(_UNUSED, False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **others)
