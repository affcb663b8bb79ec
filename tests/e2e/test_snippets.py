"""The snippets at work in servers of the user's: what they do for visitors, the application, and challenges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from entrypoint.demo.stage import NAME, fingerprint
from tests.support.application import Application
from tests.support.clients import client_context, get_named
from tests.support.front import tls
from tests.support.user import User
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.xdist_group("e2e-snippets")

CHALLENGE = "/.well-known/acme-challenge/token"
# As users have them: a location that would take challenges as well, if it came first.
PLAIN = """server {{
    listen {http};
    server_name www.acme.io;
    auth_basic "closed";
    auth_basic_user_file none;
    location ~ /\\. {{ deny all; }}
    include snippets/acme-challenge.conf;
    include snippets/https-redirect.conf;
}}
"""
TLS = """server {{
    listen {https} ssl;
    server_name www.acme.io;
    ssl_certificate www.acme.io.crt;
    ssl_certificate_key www.acme.io.key;
    include snippets/tls.conf;
    include snippets/hsts.conf;
    location / {{
        proxy_pass {app};
        include snippets/proxy.conf;
        include snippets/websockets.conf;
    }}
    location /plain/ {{ proxy_pass {app}; }}
}}
"""


class Snippets(User):
    """A front with the user's own two servers, made of snippets."""

    def __init__(self, application: Application, **environment: str | None) -> None:
        super().__init__(**environment)
        self.own = self.site(NAME, own=True)
        self.put_file("conf.d/www.acme.io.conf", PLAIN + TLS, app=application.url)

    def up(self) -> Snippets:
        self.start()
        self.until(lambda: self.serves(self.own, NAME), "TLS")
        self.until(lambda: self.http()[0], "HTTP")
        return self

    def get(self, path: str) -> tuple[str, dict[str, Any]]:
        """The head of the answer over TLS, and what the application was told."""
        head, _, body = get_named(("127.0.0.1", self.https_port), path, NAME).decode().partition("\r\n\r\n")
        return head, json.loads(body)["headers"]


@pytest.fixture(scope="module")
def front() -> Iterator[Snippets]:
    with Application() as application, Snippets(application, HTTPS_PUBLIC_PORT="443") as front:
        yield front.up()


def test_all_of_it_runs(front: Snippets) -> None:
    """Nothing is commented out, and NGINX is satisfied."""
    assert front.commented_out() == {}
    front.tested()


def test_redirects(front: Snippets) -> None:
    """A challenge goes to CertMgr, before locations with regular expressions; all else to HTTPS's public port."""
    code, headers, _ = front.http(f"{CHALLENGE}?x=1")
    host, port = front.certmgr.address
    assert (code, headers["Location"]) == (301, f"https://{host}:{port}{CHALLENGE}?x=1")
    code, headers, _ = front.http("/a%20b?q=1")
    assert (code, headers["Location"]) == (301, f"https://{NAME}/a%20b?q=1")
    assert front.http("/.git")[0] == 403


def test_hsts_without_a_setting(front: Snippets) -> None:
    """Whoever includes the snippet wants the header: two years where HSTS is off."""
    assert "\r\nStrict-Transport-Security: max-age=63072000\r\n" in front.get("/")[0] + "\r\n"


def test_what_the_application_is_told(front: Snippets) -> None:
    """Scheme, public port, host and address reach it, by HTTP/1.1; without the snippet they do not."""
    told = front.get("/")[1]
    assert {name: told.get(name) for name in ("X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-IP", "Host")} == {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "443",
        "X-Real-IP": "127.0.0.1",
        "Host": NAME,
    }
    assert "Upgrade" not in told
    assert "X-Forwarded-Proto" not in front.get("/plain/")[1]


def test_websockets(front: Snippets) -> None:
    """The upgrade passes, and what is sent then comes back."""
    with tls(front.https_port) as conn, conn.makefile("rb") as answer:
        conn.settimeout(PATIENCE)
        conn.sendall(
            f"GET / HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert answer.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        while answer.readline() != b"\r\n":
            pass
        conn.sendall(b"\x81\x80mask")
        assert answer.read(6) == b"\x81\x80mask"


def test_the_tls_profile(front: Snippets) -> None:
    """A cipher of the profile is taken; one without forward secrecy is not."""
    with tls(front.https_port, client_context("ECDHE-ECDSA-AES128-GCM-SHA256")) as conn:
        assert conn.version() == "TLSv1.2"
    with pytest.raises(OSError, match=r"(?i)handshake"):
        tls(front.https_port, client_context("ECDHE-ECDSA-AES128-SHA"))


def test_with_other_settings() -> None:
    """ACME_CHALLENGE=proxy passes challenges on, although the server asks for a password; HSTS gives its value."""
    settings = {"ACME_CHALLENGE": "proxy", "HSTS": "max-age=600"}
    with Application() as application, Snippets(application, **settings) as front:
        front.certmgr.challenges["token"] = "token.thumbprint"
        front.up()
        assert front.http(CHALLENGE)[::2] == (200, "token.thumbprint\n")
        assert "\r\nStrict-Transport-Security: max-age=600" in front.get("/")[0]
        assert f"X-Forwarded-Port: {front.https_port}" in [f"{k}: {v}" for k, v in front.get("/")[1].items()]


def test_challenges_off() -> None:
    """With ACME_CHALLENGE=off the snippet does nothing, and is valid all the same."""
    with Application() as application, Snippets(application, ACME_CHALLENGE="off") as front:
        front.up()
        assert front.http(CHALLENGE)[0] == 403
        assert fingerprint(front.own) == front.served()
