"""A visitor who speaks HTTP/3 only: aioquic, whose QUIC and TLS are its own, and which checks certificate and name."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent
from cryptography.hazmat.primitives.serialization import Encoding

from entrypoint.demo.pki import Authority, certificate_pem

UNRECOGNIZED_NAME = 0x100 + 112  # the alert of RFC 6066, as RFC 9001, section 4.8 makes it an error of QUIC
_TIMEOUT = 10.0  # seconds


class Answer(NamedTuple):
    """An answer that came over QUIC, and the SHA-256 fingerprint of the certificate that it came under."""

    status: int
    headers: dict[str, str]
    body: str
    fingerprint: str


class Ended(Exception):
    """The server ended the connection, with this error of QUIC's."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code:#x} {reason}")
        self.code = code


def get(port: int, name: str, authority: Authority, path: str = "/") -> Answer:
    """One request on a connection of its own to 127.0.0.1. Raises `Ended`, or TimeoutError where nobody answers."""
    return asyncio.run(_get(port, name, authority, path))


async def _get(port: int, name: str, authority: Authority, path: str) -> Answer:
    settings = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=name)
    settings.load_verify_locations(cadata=certificate_pem(authority.root.certificate))
    seen: list[_Visitor] = []

    def visitor(*arguments: Any, **options: Any) -> _Visitor:
        seen.append(_Visitor(*arguments, **options))
        return seen[0]

    async with asyncio.timeout(_TIMEOUT):
        with suppress(ConnectionError):  # what the visitor has seen says more
            async with connect("127.0.0.1", port, configuration=settings, create_protocol=visitor):
                return await seen[0].get(name, path)
    end = seen[0].end
    raise Ended(end.error_code, end.reason_phrase) if end else ConnectionError("the connection failed without a word")


class _Visitor(QuicConnectionProtocol):
    """Asks once; ``end`` says how the connection ended, if it did."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.http = H3Connection(self._quic)
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.headers: dict[str, str] = {}
        self.body = b""
        self.end: ConnectionTerminated | None = None

    async def get(self, name: str, path: str) -> Answer:
        headers = {":method": "GET", ":scheme": "https", ":authority": name, ":path": path}
        stream = self._quic.get_next_available_stream_id()
        self.http.send_headers(stream, [(k.encode(), v.encode()) for k, v in headers.items()], end_stream=True)
        self.transmit()
        await self.answer
        certificate = self._quic.tls._peer_certificate
        assert certificate
        fingerprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
        return Answer(int(self.headers.pop(":status")), self.headers, self.body.decode(), fingerprint)

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.end = event
            if not self.answer.done():
                self.answer.set_exception(ConnectionError(event.reason_phrase))
                self.answer.exception()  # seen: nobody may be waiting
        for answer in self.http.handle_event(event):
            if isinstance(answer, HeadersReceived):
                self.headers |= _text(answer.headers)
            elif isinstance(answer, DataReceived):
                self.body += answer.data
            if isinstance(answer, HeadersReceived | DataReceived) and answer.stream_ended:
                self.answer.set_result(None)


def _text(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}
