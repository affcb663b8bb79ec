"""The stand-in CertMgr with a memory of its requests, with access lists and archive, and with faults of all kinds."""

from __future__ import annotations

import enum
import random
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from entrypoint.core.model import KeyType
from entrypoint.demo.client_hello import ClientHello, read_hello
from entrypoint.demo.listener import HANDSHAKE_SECONDS, Deadline, TlsPipe, finish, http_answer
from entrypoint.demo.pki import ascii_name
from entrypoint.demo.standin import Credential, StandInCertMgr
from tests.support import imposter

_NO_LINGER = struct.pack("ii", 1, 0)
_DAY = 86_400.0  # seconds


class Mode(enum.StrEnum):
    """The treatment of TLS clients, from the next connection on."""

    NORMAL = "normal"
    RESET = "reset"  # RST once the ClientHello is read
    HANG = "hang"  # accept, and never answer
    PLAIN_HTTP = "plain-http"
    GARBAGE = "garbage"
    CLOSE = "close"  # FIN without a byte
    DRIP = "drip"  # a correct answer, one byte at a time
    MALFORMED_CERTIFICATE = "malformed-certificate"
    IMPOSTER = "imposter"  # the right chain, by someone without its key


@dataclass(frozen=True)
class Request:
    """One connection to the TLS port. ``key_types`` is None where no ClientHello came."""

    time: datetime
    sni: str | None
    key_types: frozenset[KeyType] | None
    mode: Mode
    default: bool  # whether the default certificate is the answer


class FaultyCertMgr(StandInCertMgr):
    """A stand-in that fails its clients as its ``mode`` says, and whose ``log`` tells who came.

    ``drip_delay`` are seconds before each byte in mode "drip". The credentials are changed by one thread at a time.
    """

    drip_delay = 0.0
    _mode = Mode.NORMAL

    def __init__(self, default: Credential, credentials: Iterable[Credential] = (), **options: Any) -> None:
        super().__init__(default, **options)
        self._log: deque[Request] = deque(maxlen=100_000)
        self._logged = threading.Condition()
        self._stopped = threading.Event()
        self._random = random.Random(0)  # the same garbage in each run, on purpose
        self._denied: tuple[Credential, ...] = ()
        for credential in credentials:
            self.put(credential)

    def start(self) -> None:
        self._stopped.clear()
        super().start()

    def stop(self) -> None:
        self._stopped.set()
        super().stop()

    @property
    def mode(self) -> str:
        """The treatment of clients: one of `Mode`. Raises ValueError for another word."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = Mode(mode)

    # Requests

    @property
    def log(self) -> tuple[Request, ...]:
        """The requests so far, oldest first, noted as soon as their ClientHello is read."""
        with self._logged:
            return tuple(self._log)

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> bool:
        """Waits until the log holds so many requests; false where it does not within ``timeout`` seconds."""
        with self._logged:
            return self._logged.wait_for(lambda: len(self._log) >= count, timeout)

    def _note(self, hello: ClientHello | None, mode: Mode) -> None:
        sni, offered = (hello.sni, hello.key_types) if hello else (None, None)
        request = Request(datetime.now(UTC), sni, offered, mode, default=not self.find(sni))
        with self._logged:
            self._log.append(request)
            self._logged.notify_all()
        self.tell(hello)

    # Credentials

    def put(self, credential: Credential) -> None:
        super().put(credential)
        self._denied = tuple(each for each in self._denied if not _alike(each, credential))

    def remove(self, names: str | Iterable[str]) -> tuple[Credential, ...]:
        """Delete the credentials that have one of the names. Raises LookupError where none has."""
        loaded, self.credentials = _parted(self.credentials, names)
        denied, self._denied = _parted(self._denied, names)
        if not loaded and not denied:
            raise LookupError(f"there is no credential for {names}")
        return loaded + denied

    def archive(self, names: str | Iterable[str]) -> None:
        """Archive a document, as a key rollover does with the old one: it is not loaded any more."""
        self.remove(names)

    def deny(self, names: str | Iterable[str]) -> None:
        """Remove this server from "Servers with access" of the credentials that have one of the names."""
        self._denied += self.remove(names)

    def allow(self, names: str | Iterable[str]) -> None:
        """Add this server to "Servers with access" again."""
        for credential in self.remove(names):
            self.put(credential)

    # Faults

    def serve_tls(self, conn: socket.socket) -> None:
        """Serve one connection in the mode that holds at its beginning."""
        mode, deadline = self._mode, Deadline(HANDSHAKE_SECONDS)
        received, hello = read_hello(conn, Deadline(_DAY) if mode is Mode.HANG else deadline)
        self._note(hello, mode)
        if mode in _SOCKET_FAULTS:
            _SOCKET_FAULTS[mode](conn)
        elif mode is Mode.GARBAGE:
            _garbage(conn, self._random)
        elif hello and mode is Mode.MALFORMED_CERTIFICATE:
            imposter.play_malformed(conn, hello)
        else:
            kind = _Drip if mode is Mode.DRIP else TlsPipe
            pipe = kind(conn, self.fronts[mode is Mode.IMPOSTER], received, deadline)
            if isinstance(pipe, _Drip):
                pipe.wait = lambda: self._stopped.wait(self.drip_delay)
            self.answer(pipe)


class _Drip(TlsPipe):
    """Sends one byte at a time, with ``wait`` called before each."""

    wait: Callable[[], object]

    def send(self, conn: socket.socket, data: bytes) -> None:
        for byte in data:
            self.wait()
            conn.sendall(bytes([byte]))


def _reset(conn: socket.socket) -> None:
    """End the connection with RST."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    conn.close()


def _hang(conn: socket.socket) -> None:
    """Send nothing until the client leaves or the port is closed."""
    conn.settimeout(None)
    while conn.recv(65536):
        pass


def _close(conn: socket.socket) -> None:
    """End the connection without sending a byte."""
    finish(conn, Deadline(HANDSHAKE_SECONDS))


def _plain_http(conn: socket.socket) -> None:
    """Answer in plain HTTP, as a server does that received a TLS handshake."""
    conn.sendall(http_answer("400 Bad Request", "This port speaks HTTP."))
    _close(conn)


def _garbage(conn: socket.socket, source: random.Random) -> None:
    """Answer with up to 4 KB of the source's next bytes."""
    conn.sendall(source.randbytes(source.randint(1, 4096)))
    _close(conn)


_SOCKET_FAULTS: dict[Mode, Callable[[socket.socket], None]] = {
    Mode.RESET: _reset,
    Mode.HANG: _hang,
    Mode.PLAIN_HTTP: _plain_http,
    Mode.CLOSE: _close,
}


def ders(credential: Credential) -> list[bytes]:
    """The chain as DER, leaf first."""
    return [certificate.public_bytes(Encoding.DER) for certificate in credential.chain]


def _parted(
    credentials: tuple[Credential, ...], names: str | Iterable[str]
) -> tuple[tuple[Credential, ...], tuple[Credential, ...]]:
    """The credentials that have one of the names, and the others."""
    wanted = {ascii_name(name) for name in ([names] if isinstance(names, str) else names)}
    found = tuple(each for each in credentials if wanted & set(each.names))
    return found, tuple(each for each in credentials if each not in found)


def _alike(one: Credential, other: Credential) -> bool:
    return set(one.names) == set(other.names) and one.key_type is other.key_type
