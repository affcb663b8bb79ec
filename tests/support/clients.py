"""Clients that show what a port really sends."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable

RSA_ONLY, ECDSA_ONLY = "ECDHE+aRSA", "ECDHE+aECDSA"


def client_context(ciphers: str | None = None) -> ssl.SSLContext:
    """A client that verifies nothing; with ciphers given, one for TLS 1.2 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ciphers:
        context.set_ciphers(ciphers)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def chain_of(tls: ssl.SSLSocket) -> list[bytes]:
    """The presented chain as DER. Public from Python 3.13; before, behind an underscore."""
    if hasattr(tls, "get_unverified_chain"):
        return [bytes(der) for der in tls.get_unverified_chain()]
    found = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in found]


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def fetch(address: tuple[str, int], sni: str | None, ciphers: str | None = None) -> list[bytes]:
    """The chain that comes back for a name, after a completed handshake."""
    with (
        socket.create_connection(address, timeout=10) as conn,
        client_context(ciphers).wrap_socket(conn, server_hostname=sni) as tls,
    ):
        return chain_of(tls)


def get(address: tuple[str, int], path: str, tls: bool = True, method: str = "GET") -> bytes:
    """The whole answer to one HTTP request."""
    with socket.create_connection(address, timeout=10) as conn:
        stream = client_context().wrap_socket(conn) if tls else conn
        with stream:
            stream.sendall(f"{method} {path} HTTP/1.1\r\nHost: www.example.test\r\n\r\n".encode())
            return b"".join(iter(lambda: stream.recv(65536), b""))


def get_named(address: tuple[str, int], path: str, name: str) -> bytes:
    """The whole answer to one HTTPS request for a name, by SNI and Host."""
    with (
        socket.create_connection(address, timeout=10) as conn,
        client_context().wrap_socket(conn, server_hostname=name) as tls,
    ):
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: tls.recv(65536), b""))


def get_plain(address: tuple[str, int], host: str) -> bytes:
    """The whole answer to one plain request for a host's first page; nothing where nobody answers."""
    try:
        with socket.create_connection(address, timeout=10) as conn:
            conn.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: conn.recv(65536), b""))
    except OSError:
        return b""


def hello(sni: str = "www.example.test", ciphers: str | None = None) -> bytes:
    """A real ClientHello's record."""
    outgoing = ssl.MemoryBIO()
    tls = client_context(ciphers).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=sni)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a server")


def raw_answer(address: tuple[str, int]) -> bytes:
    """All that a port sends to a ClientHello, until it ends the connection."""
    with socket.create_connection(address, timeout=10) as conn:
        conn.sendall(hello())
        return b"".join(iter(lambda: conn.recv(65536), b""))


def is_over(conn: socket.socket) -> bool:
    """Whether the other side ends the connection, in order or (not yet accepted) with a reset."""
    try:
        return conn.recv(1) == b""
    except ConnectionResetError:
        return True


def raw_chain(address: tuple[str, int]) -> list[bytes]:
    """The chain in a TLS 1.2 server's first flight, of any size: no library limits it here."""
    with socket.create_connection(address, timeout=10) as conn, conn.makefile("rb") as file:
        conn.sendall(hello(ciphers="ECDHE"))
        for kind, body in _messages(iter(lambda: _record(file.read), b"")):
            if kind == 11:
                return _vectors(body[3:])
    raise AssertionError("no Certificate message")


def _record(read: object) -> bytes:
    assert callable(read)
    header: bytes = read(5)
    assert header[0] == 22
    body: bytes = read(int.from_bytes(header[3:]))
    return body


def _messages(records: Iterable[bytes]) -> Iterable[tuple[int, bytes]]:
    data = b""
    for record in records:
        data += record
        while len(data) >= 4 and len(data) >= (end := 4 + int.from_bytes(data[1:4])):
            yield data[0], data[4:end]
            data = data[end:]


def _vectors(data: bytes) -> list[bytes]:
    found = []
    while data:
        end = 3 + int.from_bytes(data[:3])
        found.append(data[3:end])
        data = data[end:]
    return found
