"""The first flight of TLS 1.2, written by hand, and a server without the right key that sends it.

OpenSSL refuses to load a key that does not fit its certificate, so the server's first flight (RFC 5246, section 7.3) is
written here byte by byte: ServerHello, the genuine Certificate, a ServerKeyExchange that a foreign key has signed,
ServerHelloDone.
"""

from __future__ import annotations

import base64
import functools
import secrets
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from entrypoint.core.model import KeyType
from entrypoint.demo.faults import HANDSHAKE_SECONDS, Deadline, Port, finish
from entrypoint.demo.pki import PrivateKey, cached_key, key_type_of

HANDSHAKE, ALERT = 22, 21  # content types
CLIENT_HELLO, CLIENT_KEY_EXCHANGE = 1, 16  # handshake types
_SERVER_NAME, _SIGNATURE_ALGORITHMS = 0, 13  # extensions
_POINT_FORMATS, _EXTENDED_MASTER_SECRET, _RENEGOTIATION_INFO = 11, 23, 0xFF01
_ECDHE = {KeyType.RSA: 0xC02F, KeyType.ECDSA: 0xC02B}  # ..._WITH_AES_128_GCM_SHA256
_SECP256R1 = 23
_SCHEMES = {  # RFC 8446, section 4.2.3
    KeyType.RSA: {0x0401, 0x0501, 0x0601, 0x0804, 0x0805, 0x0806},
    KeyType.ECDSA: {0x0403, 0x0503, 0x0603},
}
_RECORD = 16384


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


def read_hello(conn: socket.socket, deadline: Deadline | None = None) -> tuple[bytes, ClientHello | None]:
    """The first bytes of a connection, and the ClientHello in them if they are one.

    Raises OSError where the client leaves or takes too long.
    """
    received, message = b"", b""
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4]):
        received += _receive(conn, 5, deadline)
        if received[-5] != HANDSHAKE:
            return received, None
        message += (fragment := _receive(conn, int.from_bytes(received[-2:]), deadline))
        received += fragment
    try:
        return received, ClientHello.parse(message[4:]) if message[0] == CLIENT_HELLO else None
    except NotClientHello:
        return received, None


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


def foreign_key(certificate: x509.Certificate) -> PrivateKey:
    """A new key of the certificate's type and size, whose signatures do not verify."""
    public_key = certificate.public_key()
    if isinstance(public_key, rsa.RSAPublicKey):
        return rsa.generate_private_key(public_exponent=65537, key_size=public_key.key_size)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return ec.generate_private_key(public_key.curve)
    raise TypeError("the certificate's key is neither RSA nor ECDSA")


def forged_pem(certificate: x509.Certificate) -> bytes:
    """A foreign private key with the certificate's public key, which is all that OpenSSL compares.

    With it, OpenSSL itself plays the imposter, over TLS 1.3, too. It is not encrypted, as it has no value.
    """
    key = foreign_key(certificate)
    form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    der = key.private_bytes(serialization.Encoding.DER, form, plain)
    label = b"RSA" if isinstance(key, rsa.RSAPrivateKey) else b"EC"
    forged = der.replace(_public_half(key.public_key()), _public_half(certificate.public_key()), 1)
    text = b"-----BEGIN %s PRIVATE KEY-----\n%s-----END %s PRIVATE KEY-----\n"
    return text % (label, base64.encodebytes(forged), label)


@dataclass(frozen=True)
class Reply:
    """A client's answer to a flight: the alert's number, or the type of its next handshake message."""

    alert: int | None = None
    message: int | None = None


def play(conn: socket.socket, hello: ClientHello, ders: Sequence[bytes], key: PrivateKey) -> Reply:
    """Send the flight, read the client's reply, and end the connection."""
    deadline = Deadline(HANDSHAKE_SECONDS)
    deadline.apply(conn).sendall(server_flight(hello, ders, key))
    header = _receive(conn, 5, deadline)
    body = _receive(conn, int.from_bytes(header[3:]), deadline)
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
        self._key = key or foreign_key(x509.load_der_x509_certificate(self._ders[0]))
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

    def __enter__(self) -> Imposter:
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


def _receive(conn: socket.socket, length: int, deadline: Deadline | None) -> bytes:
    """Exactly ``length`` bytes. Raises ConnectionError where the client leaves first."""
    data = b""
    while len(data) < length:
        if not (part := (deadline.apply(conn) if deadline else conn).recv(length - len(data))):
            raise ConnectionError("the client left")
        data += part
    return data


def _sized(data: bytes, length: int) -> bytes:
    """A vector: the data, preceded by its length."""
    return len(data).to_bytes(length) + data


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _sized(body, 3)


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2]) for at in range(0, len(data) - 1, 2))


def _server_hello(hello: ClientHello, server_random: bytes, cipher: int) -> bytes:
    """A ServerHello: version 1.2, no session, no compression, and an answer to each extension that requires one."""
    answers = {_RENEGOTIATION_INFO: b"\0", _EXTENDED_MASTER_SECRET: b"", _POINT_FORMATS: b"\1\0"}
    offered = {*hello.extensions, _RENEGOTIATION_INFO} if 0x00FF in hello.ciphers else hello.extensions
    extensions = b"".join(k.to_bytes(2) + _sized(data, 2) for k, data in answers.items() if k in offered)
    return b"\3\3" + server_random + b"\0" + cipher.to_bytes(2) + b"\0" + _sized(extensions, 2)


def _server_key_exchange(randoms: bytes, key: PrivateKey) -> bytes:
    """A fresh point on secp256r1 and its signature (RFC 8422, section 5.4)."""
    point = _public_half(ec.generate_private_key(ec.SECP256R1()).public_key())
    params = b"\3" + _SECP256R1.to_bytes(2) + _sized(point, 1)
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, signature = 0x0401, key.sign(randoms + params, padding.PKCS1v15(), hashes.SHA256())
    else:
        scheme, signature = 0x0403, key.sign(randoms + params, ec.ECDSA(hashes.SHA256()))
    return params + scheme.to_bytes(2) + _sized(signature, 2)


def _public_half(public_key: object) -> bytes:
    """The modulus or the point, as private keys and handshakes spell it."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return public_key.public_numbers().n.to_bytes(public_key.key_size // 8)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        form = serialization.PublicFormat.UncompressedPoint
        return public_key.public_bytes(serialization.Encoding.X962, form)
    raise TypeError("the public key is neither RSA nor ECDSA")


@functools.cache
def _suites() -> dict[int, frozenset[KeyType]]:
    """The key types of each cipher suite that OpenSSL knows; those of TLS 1.3 leave it open."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    kinds = {"auth-any": frozenset(KeyType)} | {f"auth-{kind}": frozenset({kind}) for kind in KeyType}
    return {c["id"] & 0xFFFF: kinds.get(c["auth"], frozenset()) for c in context.get_ciphers()}
