"""The right chain without its key: only the signature tells, over each version of TLS."""

from __future__ import annotations

import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core.model import KeyType
from entrypoint.demo import pki
from entrypoint.demo.client_hello import ClientHello, NotClientHello, read_hello
from entrypoint.demo.listener import HANDSHAKE_SECONDS, Deadline
from entrypoint.demo.standin import Credential
from tests.support.certmgr import ders
from tests.support.clients import ECDSA_ONLY, RSA_ONLY, fetch, hello, raw_chain
from tests.support.imposter import CLIENT_KEY_EXCHANGE, Imposter, Reply

from .conftest import WWW, credential

DECRYPT_ERROR = 51


@pytest.fixture(scope="module", params=list(KeyType))
def genuine(request: pytest.FixtureRequest, authority: pki.Authority) -> Credential:
    return credential(authority, WWW, key_type=request.param)


def test_foreign_signature_is_refused(genuine: Credential) -> None:
    """A client that verifies no chain at all still refuses the right chain with a foreign signature."""
    with Imposter(ders(genuine), genuine.key_type) as imposter:
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.signature"):
            fetch(imposter.address, WWW)
        assert imposter.reply() == Reply(alert=DECRYPT_ERROR)
        assert raw_chain(imposter.address) == ders(genuine)


def test_right_signature_is_accepted(genuine: Credential) -> None:
    """The same flight, signed with the right key, takes the client past it: only the signature was wrong."""
    with Imposter(ders(genuine), genuine.key_type, genuine.key) as imposter:
        with pytest.raises((ssl.SSLEOFError, ConnectionError)):
            fetch(imposter.address, WWW)
        assert imposter.reply() == Reply(message=CLIENT_KEY_EXCHANGE)


def test_long_chain_in_several_records(genuine: Credential) -> None:
    """A chain of more than one record's size arrives whole."""
    chain = [*ders(genuine), *[ders(genuine)[1]] * 60]
    with Imposter(chain, genuine.key_type) as imposter:
        assert raw_chain(imposter.address) == chain


def test_key_type_must_fit(genuine: Credential) -> None:
    """An imposter is made for the chain's own key type only."""
    other = KeyType.ECDSA if genuine.key_type is KeyType.RSA else KeyType.RSA
    with pytest.raises(ValueError, match="is not of type"):
        Imposter(ders(genuine), other)


def test_no_reply(genuine: Credential) -> None:
    """Where no client has answered, that is said."""
    with Imposter(ders(genuine), genuine.key_type) as imposter, pytest.raises(TimeoutError):
        imposter.reply(timeout=0)


@pytest.mark.parametrize(
    ("ciphers", "expected"), [(None, set(KeyType)), (RSA_ONLY, {KeyType.RSA}), (ECDSA_ONLY, {KeyType.ECDSA})]
)
def test_hello_is_read(ciphers: str | None, expected: set[KeyType]) -> None:
    """Name and key types are read off a real ClientHello."""
    found = ClientHello.parse(hello(WWW, ciphers)[9:])
    assert found.sni == WWW
    assert found.key_types == expected


def test_hello_in_pieces() -> None:
    """A ClientHello in many records and segments is put together."""
    data = hello()
    pieces = b"".join(b"\x16\x03\x01\x00\x01" + data[at : at + 1] for at in range(5, len(data)))
    ours, its = socket.socketpair()
    with ours, its:
        ours.sendall(pieces)
        received, found = read_hello(its, Deadline(HANDSHAKE_SECONDS))
    assert received == pieces
    assert found is not None
    assert found.sni == WWW


@given(st.binary(max_size=80), st.integers(0, 400))
def test_damaged_hello(junk: bytes, at: int) -> None:
    """Whatever a client sends, it is read or refused, and nothing else."""
    good = hello()[9:]
    for data in (junk, good[:at] + junk + good[at + len(junk) :], good[:at]):
        try:
            found = ClientHello.parse(data)
            assert isinstance(found.sni, str | None)
            assert found.key_types <= set(KeyType)
        except NotClientHello:
            pass
