"""What of a hostile request reaches the application and CertMgr: the name that was checked, and no tunnel."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from entrypoint.demo.stage import NAME
from tests.support.clients import client_context
from tests.support.front import Front, tls
from tests.support.recorder import Recorder
from tests.support.rig import DEBIAN, NEW
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("e2e-hostile")

CHALLENGES = "/.well-known/acme-challenge/"
SECRETS = "Cookie: a=secret\r\nAuthorization: Basic c2VjcmV0\r\nX-Forwarded-For: secret\r\nUser-Agent: secret"


class Site(NamedTuple):
    """certfront between visitors, the application, and CertMgr's own HTTP port."""

    front: Front
    application: Recorder
    certmgr: Recorder


@pytest.fixture(scope="module", params=[NEW, pytest.param(DEBIAN, marks=pytest.mark.old_nginx)])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with Recorder() as application, Recorder() as certmgr:
        variables = {
            "NGINX_BIN": request.param,
            "SERVER_NAME": f"{NAME},*.acme.io",
            "UPSTREAM": application.url,
            "ACME_CHALLENGE": "proxy",
            "ACME_CHALLENGE_TARGET": certmgr.url.replace("127.0.0.1", "localhost"),
        }
        with Front(variables) as front:
            front.issued = front.authority.issue([NAME, "*.acme.io"], key=front.issued.key)
            yield Site(front.serve(), application, certmgr)


@pytest.fixture(autouse=True)
def _nothing_recorded(site: Site) -> None:
    site.application.requests.clear()
    site.certmgr.requests.clear()


def _answer(conn: socket.socket, request: str) -> str:
    """The head of the answer, up to the end of the connection or of the head; empty where there is none."""
    with conn, conn.makefile("rb") as file:
        conn.settimeout(PATIENCE)
        conn.sendall(request.encode("latin-1"))
        lines = []
        while (line := file.readline()) not in (b"\r\n", b""):
            lines.append(line.decode("latin-1").rstrip())
        return "\n".join(lines)


def _over_tls(site: Site, *lines: str) -> int:
    return _code(_answer(tls(site.front.https_port), "\r\n".join([*lines, "Connection: close", "", ""])))


def _over_http(site: Site, *lines: str, body: str = "") -> str:
    conn = socket.create_connection(("127.0.0.1", site.front.http_port), timeout=PATIENCE)
    return _answer(conn, "\r\n".join([*lines, "Connection: close", "", body]))


def _code(head: str) -> int:
    return int(head.split()[1]) if head else 0


def _told(recorder: Recorder) -> list[tuple[str, str]]:
    return [(request.header("host"), request.header("x-forwarded-host")) for request in recorder.requests]


@pytest.mark.parametrize(
    ("line", "host", "told"),
    [
        ("GET / HTTP/1.1", NAME, NAME),
        ("GET / HTTP/1.1", f"{NAME}:8443", f"{NAME}:8443"),
        ("GET / HTTP/1.1", "WWW.Acme.IO.:443", f"{NAME}:443"),
        ("GET / HTTP/1.1", "www.acme.io:", NAME),
        ("GET / HTTP/1.1", "a_b.acme.io", "a_b.acme.io"),
        (f"GET https://{NAME}/ HTTP/1.1", "evil.example", NAME),
        (f"GET http://{NAME}/ HTTP/1.1", "evil.example:666", NAME),
        (f"GET https://{NAME}:8443/ HTTP/1.1", "evil.example:666", f"{NAME}:8443"),
        ("GET HTTPS://WWW.ACME.IO:8443?x=1 HTTP/1.1", "evil.example", f"{NAME}:8443"),
        (f"GET gopher://{NAME}/ HTTP/1.1", "evil.example", NAME),
        ("GET //evil.example/https://evil.example/ HTTP/1.1\r\nX: https://evil.example:666", NAME, NAME),
    ],
)
def test_the_name_that_was_checked(site: Site, line: str, host: str, told: str) -> None:
    """The application hears the name, and the port, of the place that NGINX chose the server by."""
    assert _over_tls(site, line, f"Host: {host}") == 200
    assert _told(site.application) == [(told, told)]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (("GET http://evil.example/ HTTP/1.1", f"Host: {NAME}"), 421),
        (("GET https://evil.example/ HTTP/1.1", f"Host: {NAME}"), 421),
        (("GET https://[::1]:443/ HTTP/1.1", f"Host: {NAME}"), 421),
        (("GET / HTTP/1.1", "Host: [::1]"), 421),
        (("GET / HTTP/1.1", "Host: evil.example"), 421),
        (("GET / HTTP/1.1", f"Host: {NAME}", "Host: evil.example"), 400),
        (("GET / HTTP/1.1", f"Host: {NAME}, evil.example"), 400),
        (("GET / HTTP/1.1", "Host: "), 400),
        (("GET / HTTP/1.1",), 400),
        (("GET / HTTP/1.0",), 421),
        ((f"GET https://user@{NAME}/ HTTP/1.1", f"Host: {NAME}"), 400),
    ],
)
def test_other_names_reach_nobody(site: Site, lines: tuple[str, ...], code: int) -> None:
    """Another name than the handshake's, two of them or none: the application hears nothing of it."""
    assert _over_tls(site, *lines) == code
    assert site.application.requests == []


@pytest.mark.parametrize("host", ["evil.example#.acme.io", "evil.example@.acme.io", "x%20y.acme.io", "ü.acme.io"])
def test_what_is_no_name(site: Site, host: str) -> None:
    """A text that fits a wildcard without being a name: refused, or the application hears the site's name."""
    assert _over_tls(site, "GET / HTTP/1.1", f"Host: {host}") in (200, 400)
    assert _told(site.application) in ([], [(NAME, NAME)])


@pytest.mark.parametrize("authority", [f"{NAME}:8443", "WWW.acme.io:8443"])
def test_http2(site: Site, authority: str) -> None:
    """`:authority` is the name; a Host header beside it does not get through."""
    _http2(site, authority)
    assert _told(site.application) == [(f"{NAME}:8443",) * 2]
    site.application.requests.clear()
    _http2(site, authority, host="evil.example")
    assert _told(site.application) in ([], [(f"{NAME}:8443",) * 2])


def _http2(site: Site, authority: str, **headers: str) -> None:
    """One request by HTTP/2, up to the first frame of its answer, with literal headers (RFC 7541, section 6.2.2)."""
    fields = {":method": "GET", ":scheme": "https", ":path": "/", ":authority": authority, **headers}
    block = b"".join(b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in field) for field in fields.items())
    context = client_context()
    context.set_alpn_protocols(["h2"])
    with tls(site.front.https_port, context) as conn, conn.makefile("rb") as answer:
        conn.settimeout(PATIENCE)
        conn.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + _frame(1, 5, 1, block))
        kind = None
        while kind not in (1, 3, 7):  # HEADERS, RST_STREAM, GOAWAY
            head = answer.read(9)
            kind = head[3] if head else 7
            answer.read(int.from_bytes(head[:3]))


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        (("GET /a%20b?q=1 HTTP/1.1", "Host: Any.Example:80"), "any.example:{port}/a%20b?q=1"),
        (("GET http://acme.io:80/a HTTP/1.1", "Host: evil.example"), "acme.io:{port}/a"),
        (("GET /a HTTP/1.0",), NAME + ":{port}/a"),
        (("GET //evil.example/ HTTP/1.1", f"Host: {NAME}"), NAME + ":{port}//evil.example/"),
        (("GET /a HTTP/1.1", "Host: [2001:db8::1]"), "[2001:db8::1]:{port}/a"),
    ],
)
def test_to_https(site: Site, lines: tuple[str, ...], where: str) -> None:
    """Port 80 leads to the name that was asked for, by HTTPS."""
    head = _over_http(site, *lines)
    assert _code(head) == 301
    assert f"Location: https://{where.format(port=site.front.https_port)}" in head.splitlines()


@pytest.mark.parametrize(
    "upgrade",
    ["h2c", "h2c, websocket", "websocket, h2c", "TLS/1.0", "websocket/13", "xwebsocket"],
)
def test_no_tunnel_but_websockets(site: Site, upgrade: str) -> None:
    """Any other protocol is not asked for at the application, which would grant it: the answer is a plain one."""
    lines = [f"Host: {NAME}", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]
    request = "\r\n".join(["GET / HTTP/1.1", *lines, "Connection: Upgrade, HTTP2-Settings", "", ""])
    assert _code(_answer(tls(site.front.https_port), request)) == 200
    (seen,) = site.application.requests
    assert [seen.header(name) for name in ("upgrade", "http2-settings", "connection")] == [""] * 3


def test_two_upgrades(site: Site) -> None:
    """The application hears `websocket` alone (NGINX before 1.23 looks at the first header only), or of neither."""
    lines = [f"Host: {NAME}", "Upgrade: websocket", "Upgrade: h2c", "Connection: Upgrade", "", ""]
    assert _code(_answer(tls(site.front.https_port), "\r\n".join(["GET / HTTP/1.1", *lines]))) in (101, 200)
    (seen,) = site.application.requests
    assert seen.header("upgrade") in ("", "websocket")


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "WEBSOCKET"])
def test_websockets(site: Site, upgrade: str) -> None:
    """WebSockets pass, however they are spelt; what belongs to HTTP/2 does not come along."""
    lines = [f"Host: {NAME}", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABk", "Connection: keep-alive, Upgrade"]
    assert _code(_answer(tls(site.front.https_port), "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]))) == 101
    (seen,) = site.application.requests
    assert (seen.header("upgrade"), seen.header("connection")) == ("websocket", "upgrade")
    assert seen.header("http2-settings") == ""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("token", ["letsdebug-test", "Zm9v_YmFy-1", "a", "x" * 99])
def test_one_token_goes_to_certmgr(site: Site, method: str, token: str) -> None:
    """CertMgr gets the token's path, and its own name: no query, no header of the visitor's."""
    head = _over_http(site, f"{method} {CHALLENGES}{token}?query=secret HTTP/1.1", f"Host: {NAME}\r\n{SECRETS}")
    assert _code(head) == 200
    (seen,) = site.certmgr.requests
    assert seen.line.split()[:2] == [method, CHALLENGES + token]
    host = f"localhost:{site.certmgr.server_address[1]}"
    assert (seen.headers, seen.body) == ({"host": [host], "connection": ["close"]}, b"")


@pytest.mark.parametrize(
    "path",
    [
        f"/x.nsf/..{CHALLENGES}token",
        f"/x.nsf%2f..{CHALLENGES}token",
        f"/.{CHALLENGES}token",
        f"/{CHALLENGES}token",
        f"{CHALLENGES}a/../token",
        CHALLENGES,
        f"{CHALLENGES}?x",
        f"{CHALLENGES}token/",
        f"{CHALLENGES}token/more",
        f"{CHALLENGES}%74oken",
        f"{CHALLENGES}token%00",
        f"{CHALLENGES}token.nsf",
        f"{CHALLENGES}token;x",
        f"{CHALLENGES}tok%20en",
        f"{CHALLENGES}..%2f..%2fx.nsf",
        f"{CHALLENGES}t\xf6ken",
    ],
)
def test_no_other_path_goes_to_certmgr(site: Site, path: str) -> None:
    """What only leads to a challenge, or is no token of RFC 8555: CertMgr hears nothing."""
    assert _code(_over_http(site, f"GET {path} HTTP/1.1", f"Host: {NAME}")) in (400, 404, 301)
    assert site.certmgr.requests == []
    if path.startswith(CHALLENGES) and "%2f" not in path and "%00" not in path:
        assert _code(_over_http(site, f"GET {path} HTTP/1.1", f"Host: {NAME}")) == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "TRACE", "get"])
def test_no_other_method_goes_to_certmgr(site: Site, method: str) -> None:
    """GET and HEAD alone: all others are 405 (those that NGINX knows to be wrong, 400 or 405)."""
    lines = (f"{method} {CHALLENGES}token HTTP/1.1", f"Host: {NAME}", "Content-Length: 1")
    assert _code(_over_http(site, *lines, body="x")) in ((400, 405) if method in ("get", "TRACE") else (405,))
    assert site.certmgr.requests == []


def test_a_body_does_not_go_to_certmgr(site: Site) -> None:
    """A GET with a body is refused, or goes without it."""
    for length, code in ((1, (200, 413)), (1000, (413,))):
        lines = (f"GET {CHALLENGES}token HTTP/1.1", f"Host: {NAME}", f"Content-Length: {length}")
        assert _code(_over_http(site, *lines, body="x" * length)) in code
    assert [seen.body for seen in site.certmgr.requests] in ([], [b""])
    assert all("content-length" not in seen.headers for seen in site.certmgr.requests)
