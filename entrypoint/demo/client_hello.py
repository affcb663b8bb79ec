"""The first message of a TLS handshake: what a client asks for, read before it is answered."""

from __future__ import annotations

import functools
import socket
import ssl
from dataclasses import dataclass

from entrypoint.core.model import KeyType
from entrypoint.demo.listener import Deadline

HANDSHAKE = 22  # a content type
_CLIENT_HELLO = 1  # a handshake type
_SERVER_NAME, _SIGNATURE_ALGORITHMS = 0, 13  # extensions
_SCHEMES = {  # RFC 8446, section 4.2.3
    KeyType.RSA: {0x0401, 0x0501, 0x0601, 0x0804, 0x0805, 0x0806},
    KeyType.ECDSA: {0x0403, 0x0503, 0x0603},
}


class NotClientHello(OSError):
    """A client's first bytes are no ClientHello."""


class _Reader:
    """Reads vectors (RFC 5246, section 4.3) from a message."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def take(self, length: int) -> bytes:
        if length > len(self._rest):
            raise NotClientHello("a ClientHello that ends too early")
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length))

    def vector(self, length: int) -> bytes:
        return self.take(self.number(length))

    def __bool__(self) -> bool:
        return bool(self._rest)


@dataclass(frozen=True)
class ClientHello:
    """A client's offer (RFC 5246, section 7.4.1.2)."""

    random: bytes
    ciphers: tuple[int, ...]
    extensions: dict[int, bytes]

    @classmethod
    def parse(cls, body: bytes) -> ClientHello:
        """The offer in a handshake message without its header. Raises NotClientHello."""
        reader = _Reader(body)
        random = reader.take(2 + 32)[2:]
        reader.vector(1)
        ciphers = _numbers(reader.vector(2))
        reader.vector(1)
        extensions = _Reader(reader.vector(2) if reader else b"")
        found = {}
        while extensions:
            kind = extensions.number(2)
            found[kind] = extensions.vector(2)
        return cls(random, ciphers, found)

    @property
    def sni(self) -> str | None:
        """The host name of the server_name extension (RFC 6066, section 3), or None."""
        if _SERVER_NAME not in self.extensions:
            return None
        names = _Reader(_Reader(self.extensions[_SERVER_NAME]).vector(2))
        names.take(1)
        return names.vector(2).decode("ascii", "backslashreplace")

    @property
    def key_types(self) -> frozenset[KeyType]:
        """The key types that both the cipher suites and the signature algorithms allow."""
        by_cipher = frozenset().union(*(_suites().get(number, frozenset()) for number in self.ciphers))
        extension = self.extensions.get(_SIGNATURE_ALGORITHMS)
        if extension is None:
            return by_cipher
        schemes = _numbers(extension[2:])
        return frozenset(kind for kind in by_cipher if _SCHEMES[kind].intersection(schemes))


def read_hello(conn: socket.socket, deadline: Deadline) -> tuple[bytes, ClientHello | None]:
    """The first bytes of a connection, and the ClientHello in them if they are one.

    Raises OSError where the client leaves or takes too long.
    """
    received, message = b"", b""
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4]):
        received += receive(conn, 5, deadline)
        if received[-5] != HANDSHAKE:
            return received, None
        message += (fragment := receive(conn, int.from_bytes(received[-2:]), deadline))
        received += fragment
    try:
        return received, ClientHello.parse(message[4:]) if message[0] == _CLIENT_HELLO else None
    except NotClientHello:
        return received, None


def receive(conn: socket.socket, length: int, deadline: Deadline) -> bytes:
    """Exactly ``length`` bytes. Raises ConnectionError where the client leaves first."""
    data = b""
    while len(data) < length:
        if not (part := deadline.apply(conn).recv(length - len(data))):
            raise ConnectionError("the client left")
        data += part
    return data


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2]) for at in range(0, len(data) - 1, 2))


@functools.cache
def _suites() -> dict[int, frozenset[KeyType]]:
    """The key types of each cipher suite that OpenSSL knows; those of TLS 1.3 leave it open."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    kinds = {"auth-any": frozenset(KeyType)} | {f"auth-{kind}": frozenset({kind}) for kind in KeyType}
    return {c["id"] & 0xFFFF: kinds.get(c["auth"], frozenset()) for c in context.get_ciphers()}
