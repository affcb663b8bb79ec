"""A certificate chain by SNI, read off a TLS port: CertMgr's, and our own NGINX's for the proof.

Certificate verification is off on purpose: the handshake is *completed*, which proves that the other side holds the
leaf's private key, and that key must be ours (see ``core.vet``). Chain and proof come from the same connection.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import ssl
from typing import Any, NamedTuple

from entrypoint.core.model import KeyType, Outcome, Refused

# SECLEVEL=0: a weak certificate must arrive, so that vetting can say in words what is wrong with it.
_CIPHERS = {
    KeyType.RSA: "ECDHE+aRSA:DHE+aRSA:!eNULL:@SECLEVEL=0",
    KeyType.ECDSA: "ECDHE+aECDSA:!eNULL:@SECLEVEL=0",
    None: "ALL:!aNULL:!eNULL:@SECLEVEL=0",
}
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "BAD_RECORD_TYPE",
)
_MALFORMED = ("EXCESSIVE_MESSAGE_SIZE", "CERT_LENGTH_MISMATCH", "BAD_CERTIFICATE", "LENGTH_MISMATCH", "ASN1")
_NO_OFFER = (
    "HANDSHAKE_FAILURE",
    "PROTOCOL_VERSION",
    "NO_SHARED_CIPHER",
    "UNSUPPORTED_PROTOCOL",
    "INTERNAL_ERROR",
)
_OURS_IS_SHORTER = 3600.0  # seconds; asyncio's own limit would end long fetches early
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
    """The chain that ``host`` presents when it is asked for ``name``, each certificate as DER, as presented.

    ``key_type`` restricts the offer to TLS 1.2 with that kind of certificate: TLS 1.3 leaves the choice to the
    server. Where the server has nothing for such an offer, it is asked once more without the restriction, so that the
    caller can name what it has. ``timeout`` is for everything together, in seconds. Raises `Refused`. Port 0 is a UNIX
    socket at the path ``host``; with ``proxy_protocol`` the connection begins with that protocol's header, version 1.
    """
    progress = ["resolving and connecting to"]
    try:
        async with asyncio.timeout(timeout):
            return await _offers(_Peer(host, port, proxy_protocol), name, key_type, progress)
    except TimeoutError:
        raise _refused(Outcome.UNREACHABLE, host, port, f"timed out after {timeout:g} s {progress[0]} it") from None


class _Peer(NamedTuple):
    host: str
    port: int
    proxy_protocol: bool

    async def connect(self) -> asyncio.StreamWriter:
        if self.port == 0:
            _, writer = await asyncio.open_unix_connection(self.host)
        else:
            _, writer = await asyncio.open_connection(self.host, self.port, happy_eyeballs_delay=_HAPPY_EYEBALLS)
        if self.proxy_protocol:
            writer.write(b"PROXY UNKNOWN\r\n")
        return writer


async def _offers(peer: _Peer, name: str, key_type: KeyType | None, progress: list[str]) -> tuple[bytes, ...]:
    try:
        return await _handshake(peer, name, _context(key_type), progress)
    except ssl.SSLError as error:
        first = _from_ssl(error, peer.host, peer.port)
        if key_type is None or not any(word in (error.reason or "") for word in _NO_OFFER):
            raise first from None
    try:
        return await _handshake(peer, name, _context(None), progress)
    except ssl.SSLError:
        raise first from None


async def _handshake(peer: _Peer, name: str, context: ssl.SSLContext, progress: list[str]) -> tuple[bytes, ...]:
    writer = None
    try:
        writer = await peer.connect()
        progress[0] = "in the TLS handshake with"
        await writer.start_tls(context, server_hostname=name, ssl_handshake_timeout=_OURS_IS_SHORTER)
        chain = _presented(writer.get_extra_info("ssl_object"))
    except ssl.SSLError:
        raise
    except OSError as error:
        raise _from_os(error, peer.host, peer.port, connected=writer is not None) from None
    finally:
        if writer:
            writer.transport.abort()
    if not chain:
        raise _refused(Outcome.NO_CERTIFICATE, peer.host, peer.port, "completed the handshake without a certificate")
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


def _from_ssl(error: ssl.SSLError, host: str, port: int) -> Refused:
    # Some of OpenSSL's reasons have no name of their own: "[SSL] ASN1 lib (_ssl.c:1006)".
    reason = error.reason or re.sub(r"^\[.*?\] |\(_ssl.*", "", str(error)).strip().upper()
    words = reason.lower().replace("_", " ")
    if any(word in reason for word in _NOT_TLS):
        return _refused(Outcome.NOT_TLS, host, port, f"did not answer with TLS ({words})")
    if any(word in reason for word in _MALFORMED):
        return _refused(Outcome.MALFORMED, host, port, f"sent what is no certificate ({words})")
    if "SIGNATURE" in reason:
        words = f"the signature does not fit its certificate, {words}"
        hint = "whoever answers presents your certificate without holding its key: is it really CertMgr?"
        return _refused(Outcome.HANDSHAKE_FAILED, host, port, f"TLS handshake failed ({words})", hint)
    return _refused(Outcome.HANDSHAKE_FAILED, host, port, f"TLS handshake failed ({words})")


def _from_os(error: OSError, host: str, port: int, *, connected: bool) -> Refused:
    if isinstance(error, socket.gaierror):
        what = f"its name was not resolved ({error.strerror})"
    elif isinstance(error, ConnectionRefusedError):
        what = "the connection was refused"
    elif connected:
        what = "the connection was reset or closed during the TLS handshake"
    else:
        what = f"no connection ({error.strerror or error})"
    return _refused(Outcome.UNREACHABLE, host, port, what)


_HINTS = {
    Outcome.UNREACHABLE: "is CERTMGR_HOST right, is Domino's HTTP task running there, is a firewall between?",
    Outcome.NOT_TLS: "is the port in CERTMGR_HOST Domino's HTTPS port?",
    Outcome.HANDSHAKE_FAILED: "does the Domino server offer TLS 1.2 and a certificate of the key's type?",
}


def _refused(outcome: Outcome, host: str, port: int, what: str, hint: str = "") -> Refused:
    return Refused(outcome, f"{host} port {port}: {what}", hint or _HINTS.get(outcome, ""))
