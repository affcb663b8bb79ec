"""A listening port with TLS and HTTP on its connections: one thread accepts them, and a daemon thread serves each."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from entrypoint.demo import pki

_T = TypeVar("_T")

HANDSHAKE_SECONDS = 30.0

_SUITES = "ECDHE+AESGCM:@SECLEVEL=0"  # level 0, so that weak keys and old signatures can be shown, too
_VERSIONS = {
    "1.2": (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
    "1.3": (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3),
    "both": (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
}
_LONGEST_REQUEST = 16384


class Deadline:
    """A point in time that several blocking calls share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def apply(self, conn: socket.socket) -> socket.socket:
        """The socket, with the remaining time as its timeout. Raises TimeoutError where none remains."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this connection is over")
        conn.settimeout(left)
        return conn


def listening_socket(host: str, port: int) -> socket.socket:
    """A TCP listener on a host's address; ``::`` takes IPv4, too. Raises OSError."""
    wide = host == "::" and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=512, dualstack_ipv6=wide)


class Port:
    """A TCP port that hands each connection to ``serve`` in a daemon thread.

    ``serve`` may raise OSError (which includes ssl.SSLError) whenever the client misbehaves or leaves: the connection
    is closed, with no other effect. ``open`` after ``close`` takes the same port again.
    """

    def __init__(self, host: str, port: int, serve: Callable[[socket.socket], None]) -> None:
        self.address: tuple[str, int] = (host, port)
        self._serve = serve
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._accepting: tuple[threading.Thread, socket.socket] | None = None

    def open(self) -> None:
        """Listens; with port 0 in ``address``, on a free port, which ``address`` then names.

        Raises OSError where the port is taken or forbidden.
        """
        if self._accepting:
            return
        listener = listening_socket(*self.address)
        self.address = (self.address[0], listener.getsockname()[1])
        ours, its = socket.socketpair()
        thread = threading.Thread(target=self._accept, args=(listener, its), daemon=True)
        self._accepting = (thread, ours)
        thread.start()

    def close(self) -> None:
        """Frees the port and ends all its connections before it returns."""
        if not self._accepting:
            return
        thread, wake = self._accepting
        self._accepting = None
        wake.close()
        thread.join()
        with self._lock:
            open_connections = dict(self._connections)
        for conn in open_connections.values():
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        for worker in open_connections:
            worker.join(timeout=5)

    def _accept(self, listener: socket.socket, wake: socket.socket) -> None:
        """Accepts until the other end of ``wake`` is closed."""
        with listener, wake, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            listener.setblocking(False)  # a client may be gone again before accept is reached
            while wake not in {key.fileobj for key, _ in selector.select()}:
                with contextlib.suppress(OSError):
                    self._start(listener.accept()[0])

    def _start(self, conn: socket.socket) -> None:
        thread = threading.Thread(target=self._run, args=(conn,), daemon=True)
        with self._lock:
            self._connections[thread] = conn
        thread.start()

    def _run(self, conn: socket.socket) -> None:
        try:
            with conn, contextlib.suppress(OSError):
                conn.setblocking(True)
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._serve(conn)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]


class TlsPipe:
    """The server's side of TLS between memory and a socket, from which some bytes were read already."""

    def __init__(self, conn: socket.socket, context: ssl.SSLContext, received: bytes, deadline: Deadline) -> None:
        self._conn, self._deadline = conn, deadline
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(received)
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def run(self, step: Callable[[], _T]) -> _T:
        """The result of a TLS step, after the reads that it needs. Raises OSError, after sending any alert."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                pass
            finally:
                self.flush()
            if data := self._deadline.apply(self._conn).recv(65536):
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def read(self) -> bytes:
        """Some decrypted bytes from the client. Raises OSError where it has left."""
        return self.run(lambda: self.tls.read(4096))

    def write(self, data: bytes) -> None:
        """Send all of the data."""
        self.run(lambda: self.tls.write(data))

    def end(self) -> None:
        """Send close_notify, and end the connection."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()
        finish(self._conn, self._deadline)

    def flush(self) -> None:
        """Send the pending TLS records."""
        if data := self._outgoing.read():
            self.send(self._deadline.apply(self._conn), data)

    def send(self, conn: socket.socket, data: bytes) -> None:
        """Send some bytes to the client: all at once."""
        conn.sendall(data)


def server_context(tls: str, *pairs: tuple[Sequence[x509.Certificate], bytes, str | None]) -> ssl.SSLContext:
    """A server context for TLS "1.2", "1.3" or "both"; each pair is a chain, its key as PEM, and the key's password.

    One pair for each key type may be given. Raises ValueError for another version, ssl.SSLError where a key does not
    fit its chain.
    """
    if tls not in _VERSIONS:
        raise ValueError(f"tls: expected one of {', '.join(_VERSIONS)}, found {tls!r}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[tls]
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_TICKET  # a resumed session would show no certificate
    for chain, key, password in pairs:
        # Python loads chains from files only: here from memory, so that not even Ctrl-C leaves one behind.
        with _in_memory(pki.certificate_pem(*chain)) as chain_file, _in_memory(key) as key_file:
            context.load_cert_chain(chain_file, key_file, password)
    return context


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[Path]:
    """The path of an anonymous file with the data."""
    with os.fdopen(os.memfd_create("certfront-demo"), "wb", buffering=0) as file:
        file.write(data)
        yield Path(f"/proc/self/fd/{file.fileno()}")


def http_answer(status: str, text: str, body: bool = True) -> bytes:
    """A response with one line of text; without ``body`` for HEAD."""
    data = f"{text}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + (data if body else b"")


def read_request(read: Callable[[], bytes]) -> tuple[str, str]:
    """The method and the path of an HTTP request. Raises ConnectionError where the client leaves first."""
    request = b""
    while b"\r\n\r\n" not in request and len(request) < _LONGEST_REQUEST:
        if not (part := read()):
            raise ConnectionError("the client left")
        request += part
    method, _, rest = request.decode("latin-1").partition(" ")
    return method, rest.partition(" ")[0].partition("?")[0]


def finish(conn: socket.socket, deadline: Deadline) -> None:
    """End the connection with FIN: with unread data, a plain close would send RST."""
    conn.shutdown(socket.SHUT_WR)
    while deadline.apply(conn).recv(65536):
        pass
