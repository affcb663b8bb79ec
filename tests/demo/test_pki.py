"""The demo's authority: certificates, right and odd ones, and keys as files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from entrypoint.core.model import KeyType
from entrypoint.demo import pki
from tests.support.pki import cached_key, key_pem


def linked(chain: tuple[x509.Certificate, ...]) -> bool:
    """Whether each certificate is signed by the next, and the last by itself."""
    for certificate, issuer in zip(chain, (*chain[1:], chain[-1]), strict=True):
        certificate.verify_directly_issued_by(issuer)
    return True


def names_of(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_chain_links_up(authority: pki.Authority) -> None:
    """An authority's chain is leaf, intermediate, root."""
    issued = authority.issue(["www.example.test"])
    assert len(issued.chain) == 3
    assert linked(issued.chain)


def test_names(authority: pki.Authority) -> None:
    """All names are in the certificate, Unicode ones as the A-labels that browsers ask for."""
    issued = authority.issue(["WWW.example.test.", "*.example.test", "straße.de", "*.bücher.de"])
    expected = ["www.example.test", "*.example.test", "xn--strae-oqa.de", "*.xn--bcher-kva.de"]
    assert names_of(issued.certificate) == expected


@pytest.mark.parametrize("name", ["", "a..b", "ü..de", "-ü.de", "a" * 300])
def test_strange_names_never_crash(name: str) -> None:
    """A name either is written in ASCII or refused with ValueError."""
    try:
        assert pki.ascii_name(name).isascii()
    except ValueError:
        assert not name.isascii()


def test_long_name(authority: pki.Authority) -> None:
    """A name that is too long for a common name is still issued."""
    name = ".".join(["a" * 60, "b" * 60, "test"])
    assert names_of(authority.issue(name).certificate) == [name]


def test_renewal_keeps_key(authority: pki.Authority) -> None:
    """A certificate can be issued again for the same key, and is another certificate."""
    first = authority.issue("www.example.test")
    second = authority.issue("www.example.test", key=first.key)
    assert first.certificate.public_key() == second.certificate.public_key()
    assert first.certificate.serial_number != second.certificate.serial_number


def test_dates(authority: pki.Authority) -> None:
    """Past and future certificates can be made."""
    since = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    leaf = authority.issue("a.test", not_before=since, not_after=since + timedelta(days=6)).certificate
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (since, since + timedelta(days=6))


def test_key_kinds(authority: pki.Authority) -> None:
    """RSA of two sizes and ECDSA on P-256 are made; cached keys are made once."""
    weak = cached_key(KeyType.RSA, bits=1024)
    assert weak is cached_key(KeyType.RSA, bits=1024)
    assert weak is not cached_key(KeyType.RSA, "another", bits=1024)
    assert (weak.key_size, cached_key(KeyType.RSA).key_size) == (1024, 2048)
    assert pki.key_type_of(authority.issue("a.test").key) is KeyType.ECDSA
    assert pki.key_type_of(authority.issue("a.test", key=weak).key) is KeyType.RSA


@pytest.mark.parametrize("key_type", list(KeyType))
@pytest.mark.parametrize(
    ("traditional", "marks"),
    [(False, [b"BEGIN ENCRYPTED PRIVATE KEY"]), (True, [b"DEK-Info: ", b"Proc-Type: 4,ENCRYPTED"])],
)
def test_key_export(key_type: KeyType, traditional: bool, marks: list[bytes]) -> None:
    """Both forms of encrypted keys come out as such, and open with their password only."""
    key = cached_key(key_type)
    pem = key_pem(key, b"sesame", traditional=True) if traditional else pki.encrypted_pem(key, b"sesame")
    assert all(mark in pem for mark in marks)
    assert pki.load_key(pem, b"sesame").public_key() == key.public_key()
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is OpenSSL's
        pki.load_key(pem, b"wrong-password")
    assert "wrong-password" not in str(refused.value)


def test_plain_key_is_refused() -> None:
    """A key that is not encrypted is not taken for an encrypted one."""
    pem = key_pem(pki.new_key(KeyType.ECDSA))
    with pytest.raises(ValueError, match="not encrypted"):
        pki.load_key(pem, b"sesame")


def test_authority_is_stored() -> None:
    """An authority read back from its PEM file goes on where it was."""
    before = pki.Authority.create()
    after = pki.Authority.from_pem(before.to_pem(b"sesame"), b"sesame")
    leaf, *above = after.issue("a.test").chain
    assert linked((leaf, before.intermediate.certificate, before.root.certificate))
    assert above == [before.intermediate.certificate, before.root.certificate]
    assert after.root.certificate == before.root.certificate


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"])
def test_damaged_authority(damage: bytes) -> None:
    """A damaged file is refused, not half read."""
    with pytest.raises(ValueError, match="PEM blocks"):
        pki.Authority.from_pem(damage, b"sesame")


def test_no_key_in_repr(authority: pki.Authority) -> None:
    """Neither authorities nor issued certificates show their keys."""
    assert "Key" not in repr(authority)
    assert "Key" not in repr(authority.issue("a.test"))
