"""PEM: what is written can be read back, by us and by others."""

from __future__ import annotations

import ssl

from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core import pem
from tests import pki

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
