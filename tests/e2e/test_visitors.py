"""What visitors and the application see of the built-in site."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from entrypoint.demo.stage import NAME, fingerprint
from tests.support.application import Application
from tests.support.clients import client_context
from tests.support.front import Front, tls
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("e2e-visitors")


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with Application() as application, Front({"UPSTREAM": application.url, "HSTS": "max-age=600"}) as front:
        yield front.serve()


def _get(front: Front, path: str, **headers: str) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
    connection = http.client.HTTPSConnection("127.0.0.1", front.https_port, timeout=PATIENCE, context=_named_context())
    try:
        connection.request("GET", path, headers={"Host": f"{NAME}:{front.https_port}", **headers})
        response = connection.getresponse()
        body = response.read()
        return response, json.loads(body) if body.startswith(b"{") else {}
    finally:
        connection.close()


def _named_context() -> ssl.SSLContext:
    """http.client sends no name for an address: here the site's is sent all the same."""

    class Named(ssl.SSLContext):
        def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> ssl.SSLSocket:
            return super().wrap_socket(sock, *args, **{**options, "server_hostname": NAME})

    context = Named(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("sni", ["other.acme.io", "acme.io", "www.acme.io.evil.example", None])
def test_unknown_names_are_refused(front: Front, sni: str | None) -> None:
    """Another name, or none, gets no certificate at all; the right one does."""
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        tls(front.https_port, sni=sni)
    assert front.chain()


def test_another_host_than_in_the_handshake(front: Front) -> None:
    """Whoever got the site's certificate and then asks for another host is told so (421), and gets nothing."""
    assert _get(front, "/")[0].status == 200
    for host in ("other.acme.io", f"other.acme.io:{front.https_port}", "127.0.0.1"):
        assert _get(front, "/", Host=host)[0].status == 421


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions(front: Front, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and TLS 1.3 are both spoken."""
    context = client_context()
    context.minimum_version = context.maximum_version = version
    with tls(front.https_port, context) as conn:
        assert conn.version() == version.name.replace("_", ".")


def test_http2(front: Front) -> None:
    """HTTP/2 is agreed on by ALPN, and spoken: the server's first frame is its SETTINGS."""
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with tls(front.https_port, context) as conn:
        assert conn.selected_alpn_protocol() == "h2"
        conn.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        frame = b""
        while len(frame) < 9:
            frame += conn.recv(9 - len(frame)) or pytest.fail("the connection ended")
        assert frame[3] == 4


def test_http11_remains(front: Front) -> None:
    """A client without ALPN speaks HTTP/1.1, and gets the HSTS header that was asked for."""
    response, _ = _get(front, "/")
    assert (response.status, response.version) == (200, 11)
    assert response.headers["Strict-Transport-Security"] == "max-age=600"


def test_what_the_application_is_told(front: Front) -> None:
    """URI, Host, address, scheme and host reach it; a forged scheme does not."""
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "forged"}
    _, seen = _get(front, "/a%20b?q=%C3%BC", **headers)
    assert seen["path"] == "/a%20b?q=%C3%BC"
    told = {name.lower(): value for name, value in seen["headers"].items()}
    host = f"{NAME}:{front.https_port}"
    assert told["host"] == host
    assert told["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"
    assert told["x-real-ip"] == "127.0.0.1"
    assert told["x-forwarded-proto"] == "https"
    assert told["x-forwarded-host"] == host


def test_websockets(front: Front) -> None:
    """The upgrade passes, and a frame comes back as it was sent."""
    key = base64.b64encode(os.urandom(16))
    with tls(front.https_port) as conn:
        conn.settimeout(PATIENCE)
        conn.sendall(
            b"GET /socket HTTP/1.1\r\nHost: " + NAME.encode() + b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += conn.recv(4096) or pytest.fail(f"the connection ended after {head!r}")
        assert head.startswith(b"HTTP/1.1 101 ")
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        assert accept in head
        mask, text = os.urandom(4), b"hello"
        frame = bytes([0x81, 0x80 | len(text)]) + mask + bytes(a ^ b for a, b in zip(text, mask + mask, strict=False))
        conn.sendall(frame)
        echoed = b""
        while len(echoed) < len(frame):
            echoed += conn.recv(4096) or pytest.fail("the connection ended")
        assert echoed == frame


def test_an_upstream_that_does_not_resolve_blocks_nothing() -> None:
    """TLS comes up all the same, the request gets 502, and NGINX's test is satisfied."""
    with Front({"UPSTREAM": "http://no-such-host.invalid:8080"}) as front:
        front.serve()
        assert front.served() == fingerprint(front.issued)
        response, _ = _get(front, "/")
        assert response.status == 502
        front.tested()


def test_an_upstream_that_is_down_and_comes_back(front: Front) -> None:
    """502 while nobody listens there, 200 as soon as somebody does, without a reload."""
    with Application() as first:
        port = first.server_address[1]
    with Front({"UPSTREAM": f"http://127.0.0.1:{port}"}) as other:
        other.serve()
        assert _get(other, "/")[0].status == 502
    assert _get(front, "/")[0].status == 200
