"""The first flight of TLS 1.2, written by hand, and a server without the right key that sends it.

OpenSSL refuses to load a key that does not fit its certificate, so the server's first flight (RFC 5246, section 7.3) is
written here byte by byte: ServerHello, the genuine Certificate, a ServerKeyExchange that a foreign key has signed,
ServerHelloDone.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from entrypoint.core.model import KeyType
from entrypoint.demo.client_hello import HANDSHAKE, ClientHello, read_hello, receive
from entrypoint.demo.listener import HANDSHAKE_SECONDS, Deadline, Port, finish
from entrypoint.demo.pki import PrivateKey, PublicKey, foreign_key, key_type_of
from tests.support.pki import cached_key

ALERT = 21  # a content type
CLIENT_KEY_EXCHANGE = 16  # a handshake type
_POINT_FORMATS, _EXTENDED_MASTER_SECRET, _RENEGOTIATION_INFO = 11, 23, 0xFF01  # extensions
_ECDHE = {KeyType.RSA: 0xC02F, KeyType.ECDSA: 0xC02B}  # ..._WITH_AES_128_GCM_SHA256
_SECP256R1 = 23
_RECORD = 16384


def server_flight(hello: ClientHello, ders: Sequence[bytes], key: PrivateKey) -> bytes:
    """The records of a server's first flight with a chain, its ServerKeyExchange signed by ``key``."""
    server_random = secrets.token_bytes(32)
    messages = (
        _message(2, _server_hello(hello, server_random, _ECDHE[key_type_of(key)])),
        _message(11, _sized(b"".join(_sized(der, 3) for der in ders), 3)),
        _message(12, _server_key_exchange(hello.random + server_random, key)),
        _message(14, b""),
    )
    data = b"".join(messages)
    parts = (data[start : start + _RECORD] for start in range(0, len(data), _RECORD))
    return b"".join(bytes([HANDSHAKE, 3, 3]) + _sized(part, 2) for part in parts)


@dataclass(frozen=True)
class Reply:
    """A client's answer to a flight: the alert's number, or the type of its next handshake message."""

    alert: int | None = None
    message: int | None = None


def play(conn: socket.socket, hello: ClientHello, ders: Sequence[bytes], key: PrivateKey) -> Reply:
    """Send the flight, read the client's reply, and end the connection."""
    deadline = Deadline(HANDSHAKE_SECONDS)
    deadline.apply(conn).sendall(server_flight(hello, ders, key))
    header = receive(conn, 5, deadline)
    body = receive(conn, int.from_bytes(header[3:]), deadline)
    reply = Reply(alert=body[1]) if header[0] == ALERT else Reply(message=body[0])
    finish(conn, deadline)
    return reply


def play_malformed(conn: socket.socket, hello: ClientHello) -> Reply:
    """As ``play``, with random bytes instead of certificates."""
    kind = KeyType.RSA if KeyType.RSA in hello.key_types else KeyType.ECDSA
    return play(conn, hello, (b"This is no certificate.",), cached_key(kind, "malformed"))


class Imposter:
    """A TLS 1.2 server with somebody else's chain (leaf first, DER) and a foreign key.

    A context manager. With ``key``, that key signs instead: with the right one, the flight is correct. ``replies`` has
    the clients' answers as they arrive. ``key_type`` must be the leaf's, otherwise ValueError.
    """

    def __init__(self, chain: Sequence[bytes], key_type: KeyType, key: PrivateKey | None = None) -> None:
        self._ders = tuple(chain)
        public_key = x509.load_der_x509_certificate(self._ders[0]).public_key()
        self._key = key or foreign_key(cast("PublicKey", public_key))
        if key_type_of(self._key) is not key_type:
            raise ValueError(f"the leaf's key is not of type {key_type}")
        self._port = Port("127.0.0.1", 0, self._serve)
        self._replies: list[Reply] = []
        self._replied = threading.Condition()

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the listener."""
        return self._port.address

    def reply(self, timeout: float = HANDSHAKE_SECONDS) -> Reply:
        """The oldest answer not yet taken. Raises TimeoutError where none comes in ``timeout`` seconds."""
        with self._replied:
            if not self._replied.wait_for(lambda: self._replies, timeout):
                raise TimeoutError("no client has answered")
            return self._replies.pop(0)

    def __enter__(self) -> Self:
        self._port.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._port.close()

    def _serve(self, conn: socket.socket) -> None:
        _, hello = read_hello(conn, Deadline(HANDSHAKE_SECONDS))
        if hello is None:
            return
        reply = play(conn, hello, self._ders, self._key)
        with self._replied:
            self._replies.append(reply)
            self._replied.notify_all()


def _sized(data: bytes, length: int) -> bytes:
    """A vector: the data, preceded by its length."""
    return len(data).to_bytes(length) + data


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _sized(body, 3)


def _server_hello(hello: ClientHello, server_random: bytes, cipher: int) -> bytes:
    """A ServerHello: version 1.2, no session, no compression, and an answer to each extension that requires one."""
    answers = {_RENEGOTIATION_INFO: b"\0", _EXTENDED_MASTER_SECRET: b"", _POINT_FORMATS: b"\1\0"}
    offered = {*hello.extensions, _RENEGOTIATION_INFO} if 0x00FF in hello.ciphers else hello.extensions
    extensions = b"".join(k.to_bytes(2) + _sized(data, 2) for k, data in answers.items() if k in offered)
    return b"\3\3" + server_random + b"\0" + cipher.to_bytes(2) + b"\0" + _sized(extensions, 2)


def _server_key_exchange(randoms: bytes, key: PrivateKey) -> bytes:
    """A fresh point on secp256r1 and its signature (RFC 8422, section 5.4)."""
    public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.PublicFormat.UncompressedPoint
    point = public_key.public_bytes(serialization.Encoding.X962, form)
    params = b"\3" + _SECP256R1.to_bytes(2) + _sized(point, 1)
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, signature = 0x0401, key.sign(randoms + params, padding.PKCS1v15(), hashes.SHA256())
    else:
        scheme, signature = 0x0403, key.sign(randoms + params, ec.ECDSA(hashes.SHA256()))
    return params + scheme.to_bytes(2) + _sized(signature, 2)
