"""What the stand-in does wrong where it is told to, and only as long as it is."""

from __future__ import annotations

import socket
import ssl
import time

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo import pki
from entrypoint.demo.standin import Credential
from tests.support.certmgr import FaultyCertMgr, Mode, ders
from tests.support.clients import ECDSA_ONLY, RSA_ONLY, fetch, hello, raw_answer, raw_chain

from .conftest import WWW, credential


def test_reset(standin: FaultyCertMgr) -> None:
    """The connection is reset once the ClientHello is there."""
    standin.mode = "reset"
    with pytest.raises(ConnectionResetError):
        fetch(standin.address, WWW)


def test_hang(standin: FaultyCertMgr) -> None:
    """The connection is accepted and the request noted, and no byte comes back."""
    standin.mode = "hang"
    with socket.create_connection(standin.address) as conn:
        conn.sendall(hello())
        assert standin.wait_for_requests(1)
        conn.settimeout(0.1)
        with pytest.raises(TimeoutError):
            conn.recv(1)


def test_plain_http(standin: FaultyCertMgr) -> None:
    """A TLS client gets a text."""
    standin.mode = "plain-http"
    assert raw_answer(standin.address).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(ssl.SSLError, match=r"(?i)wrong.version.number"):
        fetch(standin.address, WWW)


def test_garbage(default: Credential) -> None:
    """Random bytes come back: others each time, and the same ones from each new stand-in."""
    runs = []
    for _ in range(2):
        with FaultyCertMgr(default) as server:
            server.mode = "garbage"
            runs.append([raw_answer(server.address) for _ in range(3)])
            with pytest.raises(ssl.SSLError):
                fetch(server.address, WWW)
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def test_close(standin: FaultyCertMgr) -> None:
    """The connection is ended in order, without a byte."""
    standin.mode = "close"
    assert raw_answer(standin.address) == b""


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_drip(default: Credential, www: Credential, tls: str) -> None:
    """One byte at a time is slow, and right."""
    with FaultyCertMgr(default, [www], tls=tls) as server:
        server.mode = "drip"
        assert fetch(server.address, WWW) == ders(www)


def test_drip_delay(standin: FaultyCertMgr) -> None:
    """The time between bytes can be set, and a stop does not wait for the rest."""
    standin.mode, standin.drip_delay = "drip", 60
    with socket.create_connection(standin.address) as conn:
        conn.sendall(hello())
        assert standin.wait_for_requests(1)
        began = time.monotonic()
        standin.stop()
        assert time.monotonic() - began < 30  # far below the 60 s between two bytes


def test_malformed_certificate(standin: FaultyCertMgr) -> None:
    """The Certificate message holds bytes that are no certificate."""
    standin.mode = "malformed-certificate"
    assert raw_chain(standin.address) == [b"This is no certificate."]
    for ciphers in (None, RSA_ONLY, ECDSA_ONLY):
        with pytest.raises(ssl.SSLError, match=r"(?i)asn1|x509"):
            fetch(standin.address, WWW, ciphers)


@pytest.mark.parametrize("tls", ["1.2", "1.3", "both"])
def test_imposter(default: Credential, www: Credential, authority: pki.Authority, tls: str) -> None:
    """The right chain without its key is refused for its signature, over each version, for each key type."""
    rsa = credential(authority, WWW, key_type=KeyType.RSA)
    offers = [(ECDSA_ONLY, www), (RSA_ONLY, rsa)] if tls != "1.3" else [(None, www)]
    with FaultyCertMgr(default, [www, rsa], tls=tls) as server:
        server.mode = "imposter"
        for ciphers, _ in offers:
            with pytest.raises(ssl.SSLError, match=r"(?i)bad.signature"):
                fetch(server.address, WWW, ciphers)
        server.mode = "normal"
        for ciphers, expected in offers:
            assert fetch(server.address, WWW, ciphers) == ders(expected)


def test_imposter_presents_the_right_chain(standin: FaultyCertMgr, www: Credential) -> None:
    """The imposter's chain is the genuine one, byte for byte."""
    standin.mode = "imposter"
    assert raw_chain(standin.address) == ders(www)


def test_back_to_normal(standin: FaultyCertMgr, www: Credential) -> None:
    """After each fault, the very next connection can be served again, and the log tells which was which."""
    for mode in Mode:
        standin.mode = mode
        count = len(standin.log) + 1
        with socket.create_connection(standin.address) as conn:
            conn.sendall(hello())
            assert standin.wait_for_requests(count)
        standin.mode = "normal"
        assert fetch(standin.address, WWW) == ders(www)
    noted = [request.mode for request in standin.log]
    assert noted == [noted_mode for mode in Mode for noted_mode in (mode, Mode.NORMAL)]


def test_unknown_mode(standin: FaultyCertMgr) -> None:
    """A misspelt mode is refused, and nothing changes."""
    with pytest.raises(ValueError, match="is not a valid Mode"):
        standin.mode = "grabage"
    assert standin.mode == "normal"
