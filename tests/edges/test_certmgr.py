"""A chain by SNI from a real TLS server, in every way in which it can go well or wrong."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from entrypoint.core.model import KeyType, Outcome, Problem, Refused
from entrypoint.demo import pki
from entrypoint.demo.standin import Credential
from entrypoint.edges import certmgr
from tests.support import rig
from tests.support.certmgr import FaultyCertMgr, Mode, ders
from tests.support.imposter import Imposter
from tests.support.pki import cached_key
from tests.support.waiting import until

CLOSED = rig.free_ports(1)[0]  # nobody listens there
WWW = "www.acme.io"
TYPES = (KeyType.RSA, KeyType.ECDSA)


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    return pki.Authority.create("Acme")


def _credential(authority: pki.Authority, name: str, key_type: KeyType) -> Credential:
    issued = authority.issue(name, key=cached_key(key_type, "test_certmgr"))
    return Credential((name,), issued.key, issued.chain)


@pytest.fixture(scope="module")
def www(authority: pki.Authority) -> dict[KeyType, Credential]:
    return {key_type: _credential(authority, WWW, key_type) for key_type in TYPES}


@pytest.fixture(scope="module")
def default(authority: pki.Authority) -> Credential:
    return _credential(authority, "certmgr.acme.com", KeyType.RSA)


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    gc.collect()
    before = rig.descriptors()
    yield
    gc.collect()
    until(lambda: rig.descriptors() <= before, "all descriptors closed")


def _fetch(
    address: tuple[str, int], name: str = WWW, key_type: KeyType | None = KeyType.RSA, timeout: float = 20
) -> list[bytes]:
    return list(asyncio.run(certmgr.fetch(*address, name, key_type, timeout)))


def _refusal(address: tuple[str, int], key_type: KeyType | None = KeyType.RSA, timeout: float = 20) -> Problem:
    with pytest.raises(Refused) as caught:
        _fetch(address, WWW, key_type, timeout)
    assert caught.value.problem.detail.startswith(f"{address[0]} port {address[1]}: ")
    return caught.value.problem


@pytest.mark.parametrize("tls", ["1.2", "1.3", "both"])
@pytest.mark.parametrize("key_type", TYPES)
def test_chain(default: Credential, www: dict[KeyType, Credential], tls: str, key_type: KeyType) -> None:
    """The chain comes as it was presented, over each version, for each type of key, and with no type asked for."""
    with FaultyCertMgr(default, [www[key_type]], tls=tls) as server:
        assert _fetch(server.address, WWW, key_type) == ders(www[key_type])
        assert _fetch(server.address, WWW, None) == ders(www[key_type])
        assert server.log[0].sni == WWW


@pytest.mark.parametrize("tls", ["1.2", "both"])
def test_key_type_decides(default: Credential, www: dict[KeyType, Credential], tls: str) -> None:
    """Of two certificates for one name, the one of the asked type comes, whatever the server prefers."""
    with FaultyCertMgr(default, www.values(), tls=tls) as server:
        for key_type in TYPES * 2:
            assert _fetch(server.address, WWW, key_type) == ders(www[key_type])
            assert server.log[-1].key_types == frozenset({key_type})


@pytest.mark.parametrize("key_type", TYPES)
def test_only_the_other_type(default: Credential, www: dict[KeyType, Credential], key_type: KeyType) -> None:
    """Where there is only a certificate of the other type, that one comes, so that it can be named."""
    (other,) = set(TYPES) - {key_type}
    with FaultyCertMgr(default, [www[other]]) as server:
        assert _fetch(server.address, WWW, key_type) == ders(www[other])
        assert [request.key_types for request in server.log] == [frozenset({key_type}), frozenset(TYPES)]


def test_default_certificate(default: Credential) -> None:
    """An unknown name gets the default certificate: judging it is not the fetch's business."""
    with FaultyCertMgr(default) as server:
        assert _fetch(server.address, "unknown.acme.io") == ders(default)


def test_address_as_name(default: Credential) -> None:
    """An IP address is no SNI (RFC 6066, section 3)."""
    with FaultyCertMgr(default) as server:
        assert _fetch(server.address, "192.0.2.1") == ders(default)
        assert server.log[0].sni is None


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6(default: Credential, www: dict[KeyType, Credential]) -> None:
    """CertMgr may have an IPv6 address."""
    with FaultyCertMgr(default, www.values(), host="::1") as server:
        assert _fetch(server.address) == ders(www[KeyType.RSA])
        server.mode = "reset"
        assert _refusal(server.address).outcome is Outcome.UNREACHABLE


def test_drip(default: Credential, www: dict[KeyType, Credential]) -> None:
    """A server that sends one byte at a time is slow, not wrong."""
    with FaultyCertMgr(default, www.values()) as server:
        server.mode = "drip"
        assert _fetch(server.address) == ders(www[KeyType.RSA])


def test_long_chain(default: Credential, www: dict[KeyType, Credential]) -> None:
    """A chain of 100 certificates arrives complete."""
    leaf = www[KeyType.RSA]
    extra = pki.Authority.create("Filler").root.certificate
    long = Credential((WWW,), leaf.key, (*leaf.chain, *[extra] * 97))
    with FaultyCertMgr(default, [long]) as server:
        assert _fetch(server.address) == ders(long)
        assert len(ders(long)) == 100


def test_huge_certificate_message(default: Credential, www: dict[KeyType, Credential]) -> None:
    """A megabyte of certificates is refused as malformed."""
    leaf = www[KeyType.RSA]
    size = 1_000_000 // len(ders(default)[0])
    huge = Credential((WWW,), leaf.key, (leaf.chain[0], *[default.chain[0]] * size))
    with FaultyCertMgr(default, [huge]) as server:
        problem = _refusal(server.address)
    assert problem.outcome is Outcome.MALFORMED
    assert "excessive message size" in problem.detail


# What a client is told in each mode of the stand-in: outcomes, and words of the detail.
FAULTS: dict[Mode, tuple[set[Outcome], str]] = {
    Mode.RESET: ({Outcome.UNREACHABLE}, "reset or closed during the TLS handshake"),
    Mode.CLOSE: ({Outcome.UNREACHABLE}, "reset or closed during the TLS handshake"),
    Mode.HANG: ({Outcome.UNREACHABLE}, "timed out after 0.5 s in the TLS handshake"),
    Mode.PLAIN_HTTP: ({Outcome.NOT_TLS}, "did not answer with TLS"),
    Mode.GARBAGE: ({Outcome.NOT_TLS, Outcome.HANDSHAKE_FAILED, Outcome.MALFORMED, Outcome.UNREACHABLE}, ""),
    Mode.MALFORMED_CERTIFICATE: ({Outcome.MALFORMED}, "sent what is no certificate"),
    Mode.IMPOSTER: ({Outcome.HANDSHAKE_FAILED}, "signature does not fit"),
}


@pytest.mark.parametrize("tls", ["1.2", "both"])
@pytest.mark.parametrize("key_type", [*TYPES, None])
@pytest.mark.parametrize("mode", [mode for mode in Mode if mode not in (Mode.NORMAL, Mode.DRIP)])
def test_faults(
    default: Credential, www: dict[KeyType, Credential], mode: Mode, key_type: KeyType | None, tls: str
) -> None:
    """Each fault has its outcome; after it, the same server is asked successfully again."""
    outcomes, words = FAULTS[mode]
    with FaultyCertMgr(default, www.values(), tls=tls) as server:
        server.mode = mode
        problem = _refusal(server.address, key_type, timeout=0.5 if mode is Mode.HANG else 20)
        server.mode = Mode.NORMAL
        assert _fetch(server.address, WWW, key_type)[0] in {ders(credential)[0] for credential in www.values()}
    assert problem.outcome in outcomes
    assert words in problem.detail


def test_every_mode_is_covered() -> None:
    """A new mode of the stand-in needs an outcome here."""
    assert {*FAULTS, Mode.NORMAL, Mode.DRIP} == set(Mode)


@pytest.mark.parametrize("key_type", TYPES)
def test_right_chain_by_someone_else(www: dict[KeyType, Credential], key_type: KeyType) -> None:
    """Who presents the right chain and signs with another key is refused; with the right key, the flight is fine."""
    chain = ders(www[key_type])
    with Imposter(chain, key_type) as server:
        problem = _refusal(server.address, key_type)
    assert problem.outcome is Outcome.HANDSHAKE_FAILED
    assert "signature does not fit" in problem.detail
    assert "holding its key" in problem.hint
    with Imposter(chain, key_type, www[key_type].key) as server:
        assert _refusal(server.address, key_type).outcome is Outcome.UNREACHABLE  # it ends after its first flight


def test_connection_refused() -> None:
    """A port on which nobody listens is unreachable, with a hint."""
    problem = _refusal(("127.0.0.1", CLOSED))
    assert problem.outcome is Outcome.UNREACHABLE
    assert "refused" in problem.detail
    assert "CERTMGR_HOST" in problem.hint


def test_name_not_resolved() -> None:
    """A name that does not exist (RFC 6761, section 6.4) is unreachable, and the detail says why."""
    problem = _refusal(("certmgr.invalid", 443), timeout=60)
    assert problem.outcome is Outcome.UNREACHABLE
    assert "not resolved" in problem.detail or "resolving" in problem.detail


@contextmanager
def _backlogged() -> Iterator[tuple[str, int]]:
    """A port that takes no more connections: SYNs to it are dropped, as a firewall does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        try:
            while True:
                filler = socket.socket()
                fillers.append(filler)
                filler.settimeout(0.3)
                filler.connect(address)
        except TimeoutError:
            yield address
        finally:
            for filler in fillers:
                filler.close()


def test_filtered() -> None:
    """Where no connection comes about, the time-out ends it and says so."""
    with _backlogged() as address:
        began = time.monotonic()
        problem = _refusal(address, timeout=0.5)
        assert time.monotonic() - began < 10
    assert problem.outcome is Outcome.UNREACHABLE
    assert "timed out after 0.5 s connecting to it" in problem.detail
    assert "firewall" in problem.hint


def _names(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int], after: float = 0) -> None:
    """A name server that answers any name so, and after a while."""
    numeric = socket.getaddrinfo

    def answer(host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[object]:
        if flags:
            return list(numeric(host, port, family, type, proto, flags))
        threading.Event().wait(after)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for it is told from waiting for CertMgr, and the hint is about names."""
    _names(monkeypatch, after=1.5)
    problem = _refusal(("certmgr.acme.com", 443), timeout=0.3)
    assert problem.outcome is Outcome.UNREACHABLE
    assert "timed out after 0.3 s resolving its name" in problem.detail
    assert "/etc/resolv.conf" in problem.hint


@pytest.mark.parametrize("first", ["refuses", "hangs"])
def test_several_addresses(
    default: Credential, www: dict[KeyType, Credential], monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """The next address of a name is tried when one refuses, or says nothing for a quarter of a second."""
    with FaultyCertMgr(default, www.values()) as server, _backlogged() as silent:
        bad = ("127.0.0.1", CLOSED) if first == "refuses" else silent
        _names(monkeypatch, bad, server.address)
        assert _fetch(("certmgr.acme.com", 443)) == ders(www[KeyType.RSA])
        _names(monkeypatch, server.address, bad)
        assert _fetch(("certmgr.acme.com", 443)) == ders(www[KeyType.RSA])


def test_no_address_takes_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one's reason is given: refused is refused, however many addresses refuse."""
    _names(monkeypatch, ("127.0.0.1", CLOSED), ("127.0.0.2", CLOSED))
    assert "the connection was refused" in _refusal(("certmgr.acme.com", 443)).detail


def test_timeout_is_for_everything(default: Credential, www: dict[KeyType, Credential]) -> None:
    """A server that sends something all the time, but too slowly, meets the same limit."""
    with FaultyCertMgr(default, www.values()) as server:
        server.mode, server.drip_delay = "drip", 0.2
        began = time.monotonic()
        problem = _refusal(server.address, timeout=1)
        assert time.monotonic() - began < 10
    assert problem.outcome is Outcome.UNREACHABLE
    assert "timed out after 1 s" in problem.detail


def test_old_protocol() -> None:
    """A server that speaks nothing newer than TLS 1.1 fails the handshake, and the detail holds OpenSSL's words."""
    alert = bytes([21, 3, 1, 0, 2, 2, 70])  # protocol_version (RFC 5246, section 7.2.2)
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(alert)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    thread = threading.Thread(target=answer)
    thread.start()
    with listener:
        problem = _refusal(listener.getsockname())
        thread.join()
    assert problem.outcome is Outcome.HANDSHAKE_FAILED
    assert "protocol version" in problem.detail


def test_many_at_once(default: Credential, www: dict[KeyType, Credential]) -> None:
    """Fetches run side by side, good and bad ones, and none disturbs another."""

    async def together(port: int) -> list[object]:
        ports = [port, CLOSED] * 25
        fetches = [certmgr.fetch("127.0.0.1", each, WWW, KeyType.RSA, 60) for each in ports]
        return list(await asyncio.gather(*fetches, return_exceptions=True))

    with FaultyCertMgr(default, www.values()) as server:
        found = asyncio.run(together(server.address[1]))
    assert all(chain == tuple(ders(www[KeyType.RSA])) for chain in found[::2])
    assert all(isinstance(error, Refused) for error in found[1::2])


def test_cancelled(default: Credential) -> None:
    """A fetch that is cancelled in the middle of its handshake ends at once and leaves nothing behind."""

    async def cancel(server: FaultyCertMgr) -> None:
        task = asyncio.create_task(certmgr.fetch(*server.address, WWW, None, 600))
        await asyncio.to_thread(server.wait_for_requests, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with FaultyCertMgr(default) as server:
        server.mode = "hang"
        asyncio.run(cancel(server))


def test_flat(default: Credential, www: dict[KeyType, Credential]) -> None:
    """Hundreds of good and bad answers in one process leave no socket open."""

    async def ask(server: FaultyCertMgr) -> list[int]:
        counts = []
        for number in range(280):
            mode = (Mode.NORMAL, *[mode for mode in FAULTS if mode is not Mode.HANG])[number % 7]
            server.mode = mode
            try:
                await certmgr.fetch(*server.address, WWW, KeyType.ECDSA, 60)
            except Refused:
                assert mode is not Mode.NORMAL
            counts.append(_sockets())
        return counts

    with FaultyCertMgr(default, www.values()) as server:
        counts = asyncio.run(ask(server))
    assert max(counts[140:]) <= max(counts[:140]) + 3


def _sockets() -> int:
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            count += str(descriptor.readlink()).startswith("socket:")
    return count


def test_the_offer_is_not_verified_but_completed() -> None:
    """Verification is off on purpose, and TLS 1.2 is the least: what proves the key is the completed handshake."""
    for key_type in (*TYPES, None):
        context = certmgr._context(key_type)
        assert context.verify_mode is ssl.CERT_NONE
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert all("NULL" not in cipher["name"] for cipher in context.get_ciphers())
