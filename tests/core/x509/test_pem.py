"""PEM: what is written can be read back, by us and by others."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core.x509 import pem
from tests.support import pki

CHAIN = (pki.issue("leaf.acme.io", pki.root()).der, pki.root().der)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=4))
def test_there_and_back(ders: list[bytes]) -> None:
    """Any bytes survive, in their order, and no line is longer than 64 characters (RFC 7468, section 2)."""
    text = pem.encode(ders)
    assert pem.decode(text) == tuple(ders)
    assert max((len(line) for line in text.splitlines() if b"-----" not in line), default=0) <= 64


def test_as_others_write_it() -> None:
    """It is what Python's own ssl module writes, and what it reads."""
    assert pem.encode(CHAIN).decode() == "".join(ssl.DER_cert_to_PEM_cert(der) for der in CHAIN)


def test_company() -> None:
    """Comments, keys, DOS line ends and blank lines around the certificates do no harm."""
    text = b"subject=leaf\n" + pem.encode(CHAIN[:1]).replace(b"\n", b"\r\n") + pki.key_pem(pki.ec_key(1)) + b"\n\n"
    assert pem.decode(text + pem.encode(CHAIN[1:])) == CHAIN


@pytest.mark.parametrize("settings", [b"", b"0\x08\x0c\x06mylabel"[:10]])
def test_the_labels_that_openssl_takes(settings: bytes) -> None:
    """X509 and TRUSTED ones, the latter with OpenSSL's own settings behind the certificate, which nobody is sent."""
    for label, more in ((b"X509 CERTIFICATE", b""), (b"TRUSTED CERTIFICATE", settings)):
        text = pem.encode([CHAIN[0] + more]).replace(b"CERTIFICATE", label) + pem.encode(CHAIN[1:])
        assert pem.decode(text) == CHAIN
    assert pem.decode(pem.encode(CHAIN).replace(b"CERTIFICATE", b"CERTIFICATE REQUEST")) == ()


def test_one_that_is_damaged_costs_no_other() -> None:
    """What is no Base64 is passed over."""
    assert pem.decode(b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n" + pem.encode(CHAIN)) == CHAIN


@given(st.binary(max_size=200))
def test_anything_can_be_read(data: bytes) -> None:
    """Whatever is read, certificates or nothing come out."""
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"
    assert isinstance(pem.decode(data), tuple)
    assert isinstance(pem.decode(begin + data + end), tuple)


def test_nothing_to_read() -> None:
    """What is cut off, empty, or of odd length is no certificate."""
    whole = pem.encode(CHAIN[:1])
    for text in (b"", whole[:-10], whole[30:], b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"):
        assert pem.decode(text) == ()
