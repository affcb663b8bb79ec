"""Tokens of SPNEGO and SAML make long headers: they pass through the built-in site, both ways."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from entrypoint.demo.stage import NAME
from tests.support.front import Front, tls
from tests.support.recorder import Answer, Recorder
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("e2e-large-headers")


@pytest.fixture(scope="module", params=[16, 48, 64, 86])
def size(request: pytest.FixtureRequest) -> int:
    return int(request.param) << 10


@pytest.fixture(scope="module")
def front() -> Iterator[tuple[Front, Recorder]]:
    with Recorder() as application, Front({"UPSTREAM": application.url}) as front:
        yield front.serve(), application


def _head(conn: socket.socket, request: str) -> bytes:
    with conn, conn.makefile("rb") as answer:
        conn.settimeout(PATIENCE)
        conn.sendall(f"{request}Connection: close\r\n\r\n".encode())
        return answer.read().partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-Token"])
def test_requests(front: tuple[Front, Recorder], size: int, name: str) -> None:
    """The application gets the whole of a long header."""
    site, application = front
    application.requests.clear()
    request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\n{name}: Negotiate {'x' * size}\r\n"
    assert _head(tls(site.https_port), request).startswith(b"HTTP/1.1 200")
    assert [len(each.header(name.lower())) for each in application.requests] == [size + len("Negotiate ")]


def test_request_lines(front: tuple[Front, Recorder], size: int) -> None:
    """A long URI reaches the application, and on port 80 it leads to HTTPS."""
    site, _ = front
    request = f"GET /?SAMLRequest={'x' * size} HTTP/1.1\r\nHost: {NAME}\r\n"
    assert _head(tls(site.https_port), request).startswith(b"HTTP/1.1 200")
    plain = socket.create_connection(("127.0.0.1", site.http_port), timeout=PATIENCE)
    assert _head(plain, request).startswith(b"HTTP/1.1 301")


@pytest.mark.parametrize("name", ["WWW-Authenticate", "Set-Cookie", "Location"])
def test_answers(front: tuple[Front, Recorder], size: int, name: str) -> None:
    """The visitor gets the whole of a long header of the application's."""
    site, application = front
    application.answer = Answer(headers=f"{name}: {'x' * size}\r\n".encode())
    head = _head(tls(site.https_port), f"GET / HTTP/1.1\r\nHost: {NAME}\r\n")
    application.answer = Answer()
    assert head.startswith(b"HTTP/1.1 200")
    assert b"x" * size in head
