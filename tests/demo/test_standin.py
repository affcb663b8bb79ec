"""The stand-in CertMgr: which chain it presents to whom, as Domino does."""

from __future__ import annotations

import random
import socket
import ssl
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from entrypoint.core.model import KeyType
from entrypoint.demo import pki
from entrypoint.demo.standin import Credential
from tests.support.certmgr import FaultyCertMgr, ders
from tests.support.clients import ECDSA_ONLY, RSA_ONLY, client_context, fetch, get, is_over

from .conftest import WWW, credential

CHALLENGES = "/.well-known/acme-challenge/"


@pytest.mark.parametrize("sni", [WWW, "WWW.Example.Test"])
def test_right_name(standin: FaultyCertMgr, www: Credential, sni: str) -> None:
    """A known name gets its chain, in whatever case it is asked for."""
    assert fetch(standin.address, sni) == ders(www)


@pytest.mark.parametrize("sni", ["other.example.test", "example.test", "a.www.example.test", None])
def test_default(standin: FaultyCertMgr, default: Credential, sni: str | None) -> None:
    """An unknown name, and none at all, get the default certificate without an error."""
    assert fetch(standin.address, sni) == ders(default)


def test_wildcard(standin: FaultyCertMgr, authority: pki.Authority, www: Credential, default: Credential) -> None:
    """A wildcard answers for one label, after an exact name and before the default."""
    standin.put(wild := credential(authority, "*.example.test"))
    assert fetch(standin.address, "other.example.test") == ders(wild)
    assert fetch(standin.address, WWW) == ders(www)
    assert fetch(standin.address, "a.b.example.test") == ders(default)
    assert fetch(standin.address, "example.test") == ders(default)


def test_idn(standin: FaultyCertMgr, authority: pki.Authority) -> None:
    """A Unicode name is served under its A-label."""
    standin.put(idn := credential(authority, "straße.de"))
    assert fetch(standin.address, "xn--strae-oqa.de") == ders(idn)


def test_access_and_archive(standin: FaultyCertMgr, www: Credential, default: Credential) -> None:
    """A server without access, and an archived credential, give the default certificate."""
    standin.deny(WWW)
    assert fetch(standin.address, WWW) == ders(default)
    standin.allow([WWW])
    assert fetch(standin.address, WWW) == ders(www)
    standin.archive(WWW)
    assert fetch(standin.address, WWW) == ders(default)


def test_put_and_remove(standin: FaultyCertMgr, authority: pki.Authority, www: Credential, default: Credential) -> None:
    """A renewal replaces what has the same names and key type; a removed name is unknown again."""
    standin.put(renewed := credential(authority, WWW, key=www.key))
    assert fetch(standin.address, WWW) == ders(renewed)
    standin.remove(WWW)
    assert fetch(standin.address, WWW) == ders(default)


def test_misspelt_name(standin: FaultyCertMgr) -> None:
    """To change a credential that is not there is an error, not silence."""
    with pytest.raises(LookupError, match=r"wwww\.example\.test"):
        standin.deny("wwww.example.test")


@pytest.mark.parametrize("tls", ["1.2", "both"])
def test_both_key_types(authority: pki.Authority, default: Credential, www: Credential, tls: str) -> None:
    """With RSA and ECDSA for one name, the client's offer decides."""
    rsa = credential(authority, WWW, key_type=KeyType.RSA)
    with FaultyCertMgr(default, [www, rsa], tls=tls) as server:
        assert fetch(server.address, WWW, RSA_ONLY) == ders(rsa)
        assert fetch(server.address, WWW, ECDSA_ONLY) == ders(www)
        assert [sorted(request.key_types or ()) for request in server.log] == [["rsa"], ["ecdsa"]]


def test_only_the_other_key_type(standin: FaultyCertMgr) -> None:
    """A client for RSA and a credential for ECDSA do not come together."""
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        fetch(standin.address, WWW, RSA_ONLY)


@pytest.mark.parametrize("tls", ["1.2", "1.3", "both"])
def test_versions(default: Credential, www: Credential, tls: str) -> None:
    """The version of TLS is the chosen one."""
    expected = "TLSv1.2" if tls == "1.2" else "TLSv1.3"
    with FaultyCertMgr(default, [www], tls=tls) as server, socket.create_connection(server.address) as conn:
        with client_context().wrap_socket(conn, server_hostname=WWW) as client:
            assert client.version() == expected
        assert fetch(server.address, WWW) == ders(www)


def test_unknown_version(default: Credential) -> None:
    """A version that is none is refused at once."""
    with pytest.raises(ValueError, match="tls: expected one of"):
        FaultyCertMgr(default, tls="1.1")


def test_foreign_leaf_is_refused(authority: pki.Authority, www: Credential) -> None:
    """A credential whose first certificate does not fit the key is refused where it is made."""
    with pytest.raises(ValueError, match="does not belong to the key"):
        Credential((WWW,), www.key, authority.issue(WWW).chain)
    with pytest.raises(ValueError, match="does not belong to the key"):
        Credential((WWW,), www.key, ())


def test_no_key_in_repr(www: Credential) -> None:
    """A credential does not show its key."""
    assert "Key" not in repr(www)


def test_log(standin: FaultyCertMgr) -> None:
    """Each request is noted with name, offered key types, time, and whether the default is the answer."""
    before = datetime.now(UTC)
    for sni in (WWW, "other.test", None):
        fetch(standin.address, sni)
    assert standin.wait_for_requests(3)
    assert [request.sni for request in standin.log] == [WWW, "other.test", None]
    assert [request.default for request in standin.log] == [False, True, True]
    assert {request.key_types for request in standin.log} == {frozenset(KeyType)}
    assert all(before <= request.time <= datetime.now(UTC) for request in standin.log)
    assert not standin.wait_for_requests(4, timeout=0)


def test_away_and_back(standin: FaultyCertMgr, www: Credential) -> None:
    """Stopped, the port is free at once, also for others; started again, it is the same port."""
    address = standin.address
    fetch(address, WWW)
    standin.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    socket.create_server(address).close()
    standin.start()
    assert standin.address == address
    assert fetch(address, WWW) == ders(www)


def test_stop_ends_connections(standin: FaultyCertMgr) -> None:
    """No client holds up the end: neither one that says nothing nor one that is hung up on."""
    standin.mode = "hang"
    with (
        socket.create_connection(standin.address) as silent,
        socket.create_connection(standin.address) as hung,
    ):
        hung.sendall(b"\x16\x03\x01\x00\x01\x00")
        standin.stop()
        assert is_over(silent)
        assert is_over(hung)
    assert not any(thread.name.endswith("(_run)") for thread in threading.enumerate())


def test_taken_port(default: Credential) -> None:
    """Where one port is taken, the start fails and leaves none open."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = FaultyCertMgr(default, http_port=other.getsockname()[1])
        with pytest.raises(OSError, match=r"(?i)in use"):
            free.start()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(free.address)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_dual_stack(default: Credential, www: Credential) -> None:
    """``::`` takes IPv6 and IPv4."""
    with FaultyCertMgr(default, [www], host="::") as server:
        for host in ("::1", "127.0.0.1"):
            assert fetch((host, server.address[1]), WWW) == ders(www)


@pytest.mark.parametrize("tls", [True, False])
def test_challenges(standin: FaultyCertMgr, tls: bool) -> None:
    """Challenges are answered over HTTP and HTTPS as Domino does."""
    standin.challenges["token-1"] = "token-1.thumbprint"
    address = standin.address if tls else standin.http_address
    expected = {
        CHALLENGES + "letsdebug-test": (b"200 OK", b"DOMINO-ACME-PROTOCOL-CHALLENGE-DATA-OK\n"),
        CHALLENGES + "token-1": (b"200 OK", b"token-1.thumbprint\n"),
        CHALLENGES + "token-1?x=y": (b"200 OK", b"token-1.thumbprint\n"),
        CHALLENGES + "unknown": (b"404 Not Found", b"Challenge NOT found\n"),
        "/": (b"404 Not Found", b"This is a stand-in for Domino CertMgr.\n"),
    }
    for path, (status, body) in expected.items():
        answer = get(address, path, tls)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.partition(b"\r\n\r\n")[2] == body
    assert get(address, "/", tls, method="HEAD").endswith(b"\r\n\r\n")


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_silent_about_clients_that_leave(
    default: Credential, www: Credential, tls: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Clients that leave before, in and after the handshake, or speak something else, cause no output."""
    with FaultyCertMgr(default, [www], tls=tls, http_port=0) as server:
        for data in (
            b"",
            b"\x16",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
            bytes(99),
        ):
            with socket.create_connection(server.address) as conn:
                conn.sendall(data)
        socket.create_connection(server.http_address).close()
        for _ in range(5):
            fetch(server.address, WWW)
    assert capfd.readouterr() == ("", "")


def test_no_files(default: Credential, www: Credential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is made for what OpenSSL reads from files, and the key in it is encrypted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[bytes] = []
    load = ssl.SSLContext.load_cert_chain

    def spy(context: ssl.SSLContext, chain: Path, key: Path, password: str) -> None:
        seen.append(key.read_bytes())
        load(context, chain, key, password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    with FaultyCertMgr(default, [www]) as server:
        fetch(server.address, WWW)
        assert list(tmp_path.iterdir()) == []
    assert seen
    assert all(b"BEGIN ENCRYPTED PRIVATE KEY" in pem for pem in seen)


def test_changes_under_load(standin: FaultyCertMgr, authority: pki.Authority, www: Credential) -> None:
    """While credentials change, each of many clients gets one of them, whole."""
    versions = [credential(authority, WWW, key=www.key) for _ in range(10)]
    possible = [ders(version) for version in (www, *versions)]
    with ThreadPoolExecutor(16) as pool:
        fetches = [pool.submit(fetch, standin.address, WWW) for _ in range(100)]
        for version in versions:
            standin.put(version)
        assert all(future.result() in possible for future in fetches)
    assert fetch(standin.address, WWW) == possible[-1]


def test_events(default: Credential, www: Credential) -> None:
    """Each request is told in a sentence, in which a client cannot hide control characters."""
    events: list[str] = []
    with FaultyCertMgr(default, [www], http_port=0, on_event=events.append) as server:
        fetch(server.address, WWW, ECDSA_ONLY)
        get(server.http_address, "/\x1b[31m", tls=False)
    assert events == [
        "asked for 'www.example.test' by a client for ecdsa: its certificate",
        "'GET' '/\\x1b[31m': 404 Not Found",
    ]


def test_shuffled_offers(standin: FaultyCertMgr, authority: pki.Authority) -> None:
    """Twenty names in any order are never mixed up."""
    many = {f"n{number}.test": credential(authority, f"n{number}.test") for number in range(20)}
    for one in many.values():
        standin.put(one)
    names = list(many)
    random.Random(1).shuffle(names)
    with ThreadPoolExecutor(8) as pool:
        for name, chain in zip(names, pool.map(lambda sni: fetch(standin.address, sni), names), strict=True):
            assert chain == ders(many[name])
