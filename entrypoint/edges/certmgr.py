"""A certificate chain by SNI from a TLS port: CertMgr's, and NGINX's for the proof.

The certificate is not verified, on purpose: the handshake is *completed*, which proves that the other side holds the
leaf's private key, and that key must be ours (see ``core.x509.vet``). Chain and proof come from the same connection.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

from entrypoint.core import fetch_failures
from entrypoint.core.model import KeyType, Outcome

# SECLEVEL=0: a weak certificate must arrive, so that vetting can say in words what is wrong with it.
_CIPHERS = {
    KeyType.RSA: "ECDHE+aRSA:DHE+aRSA:!eNULL:@SECLEVEL=0",
    KeyType.ECDSA: "ECDHE+aECDSA:!eNULL:@SECLEVEL=0",
    None: "ALL:!aNULL:!eNULL:@SECLEVEL=0",
}
_OURS_IS_SHORTER = 3600.0  # seconds; asyncio's own limit would end long fetches early
_RESOLVING, _CONNECTING = "resolving its name", "connecting to it"
_HAPPY_EYEBALLS = 0.25  # seconds, RFC 8305, section 5


async def fetch(
    host: str,
    port: int,
    name: str,
    key_type: KeyType | None,
    timeout: float,
    *,
    proxy_protocol: bool = False,
) -> tuple[bytes, ...]:
    """The chain that ``host`` presents for the SNI name ``name``, each certificate as DER, in the order presented.

    ``key_type`` restricts the offer to TLS 1.2 with that kind of certificate, as with TLS 1.3 the server chooses. Where
    the server refuses that offer, a second handshake without the restriction lets the caller name the certificate that
    it has. ``timeout`` covers everything together, in seconds. Raises `Refused`. Port 0 is a UNIX socket at the path
    ``host``; with ``proxy_protocol`` the connection begins with that protocol's header, version 1.
    """
    peer, progress = _Peer(host, port, proxy_protocol), [_RESOLVING]
    try:
        async with asyncio.timeout(timeout):
            return await _offers(peer, name, key_type, progress)
    except TimeoutError:
        hint = fetch_failures.NAME_SERVER if progress[0] == _RESOLVING else ""
        what = f"timed out after {timeout:g} s {progress[0]}"
        raise fetch_failures.refused(Outcome.UNREACHABLE, peer.place, what, hint) from None


_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]  # as getaddrinfo has it


class _Peer(NamedTuple):
    host: str
    port: int
    proxy_protocol: bool

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.host} port {self.port}"

    async def connect(self, progress: list[str]) -> asyncio.StreamWriter:
        if self.port == 0:
            _, writer = await asyncio.open_unix_connection(self.host)
        else:
            progress[0] = _RESOLVING
            addresses = await _resolved(self.host, self.port)
            progress[0] = _CONNECTING
            _, writer = await asyncio.open_connection(sock=await _connected(addresses))
        progress[0] = "in the TLS handshake with it"
        if self.proxy_protocol:
            writer.write(b"PROXY UNKNOWN\r\n")
        return writer


async def _resolved(host: str, port: int) -> Sequence[_Address]:
    """The addresses of a host, in the order in which to try them. Raises socket.gaierror."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _connected(addresses: Sequence[_Address]) -> socket.socket:
    """A connection to the first address that accepts it; the next is tried after a failure or a delay (RFC 8305)."""
    waiting, trying, failed = list(addresses), set[asyncio.Task[socket.socket]](), list[BaseException]()
    try:
        while waiting or trying:
            trying |= {asyncio.create_task(_connection(address)) for address in waiting[:1]}
            del waiting[:1]
            patience = _HAPPY_EYEBALLS if waiting else None
            done, _ = await asyncio.wait(trying, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                trying.discard(task)
                if not (error := task.exception()):
                    return task.result()
                failed.append(error)
    finally:
        for task in trying:
            task.add_done_callback(_closed)
            task.cancel()
    raise failed[0]


async def _connection(address: _Address) -> socket.socket:
    family, kind, protocol, _, place = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, place)
    except BaseException:
        connection.close()
        raise
    return connection


def _closed(task: asyncio.Task[socket.socket]) -> None:
    """Close a connection that was not needed any more."""
    if not task.cancelled() and not task.exception():
        task.result().close()


async def _offers(peer: _Peer, name: str, key_type: KeyType | None, progress: list[str]) -> tuple[bytes, ...]:
    try:
        return await _handshake(peer, name, _context(key_type), progress)
    except ssl.SSLError as error:
        first = fetch_failures.of_tls(peer.place, error.reason, str(error))
        if key_type is None or not fetch_failures.refuses_the_offer(error.reason):
            raise first from None
    try:
        return await _handshake(peer, name, _context(None), progress)
    except ssl.SSLError:
        raise first from None


async def _handshake(peer: _Peer, name: str, context: ssl.SSLContext, progress: list[str]) -> tuple[bytes, ...]:
    writer = None
    try:
        writer = await peer.connect(progress)
        await writer.start_tls(context, server_hostname=name, ssl_handshake_timeout=_OURS_IS_SHORTER)
        chain = _presented(writer.get_extra_info("ssl_object"))
    except ssl.SSLError:
        raise
    except OSError as error:
        resolved, connected = not isinstance(error, socket.gaierror), writer is not None
        raise fetch_failures.of_connection(peer.place, error, resolved=resolved, connected=connected) from None
    finally:
        if writer:
            writer.transport.abort()
    if not chain:
        raise fetch_failures.refused(
            Outcome.NO_CERTIFICATE, peer.place, "completed the handshake without a certificate"
        )
    return chain


def _presented(connection: Any) -> tuple[bytes, ...]:
    """The peer's chain as DER. Public from Python 3.13 on; before, it is the same method of the inner object."""
    if hasattr(connection, "get_unverified_chain"):
        return tuple(connection.get_unverified_chain() or ())
    inner = connection._sslobj.get_unverified_chain()
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in inner or ())


@functools.cache
def _context(key_type: KeyType | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS[key_type])
    if key_type is not None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
