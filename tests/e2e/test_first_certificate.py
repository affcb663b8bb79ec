"""Before the first certificate, its arrival, and renewals."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator

import pytest

from entrypoint.demo.stage import NAME, fingerprint
from tests.support import pki
from tests.support.application import Application
from tests.support.front import Front, tls
from tests.support.waiting import PATIENCE

INTERVAL = 1  # seconds


@pytest.fixture(scope="module")
def pending() -> Iterator[Front]:
    with Front({"CERTMGR_CHECK_INTERVAL": str(INTERVAL)}) as front:
        front.start()
        front.until(front.outcome("wrong-name"))
        yield front


@pytest.fixture
def front() -> Iterator[Front]:
    with Front({"CERTMGR_CHECK_INTERVAL": str(INTERVAL)}) as front:
        yield front.serve()


@pytest.mark.xdist_group("e2e-pending")
class TestBeforeTheFirstCertificate:
    def test_visitors_are_asked_to_come_back(self, pending: Front) -> None:
        """Port 80 answers 503 with Retry-After and a short page."""
        code, headers, page = pending.http("/any/page")
        assert code == 503
        assert int(headers["Retry-After"]) > 0
        assert headers["Content-Type"].startswith("text/html")
        assert "</html>" in page

    @pytest.mark.parametrize("uri", ["token-1_A", "token?key=a&b=%20c", "a%2Fb"])
    def test_challenges_go_to_certmgr(self, pending: Front, uri: str) -> None:
        """A challenge is answered with 301 to CertMgr, the request's URI untouched."""
        path = f"/.well-known/acme-challenge/{uri}"
        code, headers, _ = pending.http(path)
        host, port = pending.certmgr.address
        assert (code, headers["Location"]) == (301, f"https://{host}:{port}{path}")

    @pytest.mark.parametrize("uri", ["", "?token", "token/", "a/b", "token.nsf", "a;b", "a%20b/../token"])
    def test_what_is_no_challenge(self, pending: Front, uri: str) -> None:
        """What is not one word below the challenges' path, as it is sent, is not found; it leads nowhere."""
        assert pending.http(f"/.well-known/acme-challenge/{uri}")[0] == 404
        assert pending.http(f"/x.nsf/../.well-known/acme-challenge/{uri}")[0] == 404

    def test_tls_is_not_served(self, pending: Front) -> None:
        """A visitor of the site over TLS gets no certificate at all, not even a placeholder."""
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            tls(pending.https_port)

    def test_it_is_alive_but_not_ready(self, pending: Front) -> None:
        """/healthz says 200; /readyz says 503 with the certificate and the reason."""
        assert pending.http("/healthz", pending.status_port)[0] == 200
        pending.until(lambda: "wrong-name" in pending.http("/readyz", pending.status_port)[2], "the reason")
        code, _, reason = pending.http("/readyz", pending.status_port)
        assert code == 503
        assert NAME in reason

    def test_the_tls_server_is_commented_out_line_by_line(self, pending: Front) -> None:
        """In the rendered copy, every line of the site's TLS server is a comment, the reason above it."""
        lines = (pending.current / "site.conf").read_text().splitlines()
        reason = next(number for number, line in enumerate(lines) if line.startswith("# certfront: commented out at "))
        assert "waiting for the first certificate" in lines[reason]
        server = lines[reason + 1 :]
        assert server[0] == "# server {"
        end = server.index("# }")
        assert all(line.startswith("#") for line in server[: end + 1])
        assert any("ssl_certificate_key" in line for line in server[:end])
        live = [line for line in lines if not line.startswith("#")]
        assert not any("ssl_certificate" in line or NAME in line for line in live)

    def test_nginx_is_satisfied(self, pending: Front) -> None:
        """What is current passes `nginx -t`."""
        pending.tested()


def test_before_tls_serve_shows_the_site_over_http() -> None:
    """BEFORE_TLS=serve: the application answers over HTTP, and is told so; challenges still go to CertMgr."""
    with Application() as application, Front({"BEFORE_TLS": "serve", "UPSTREAM": application.url}) as front:
        front.start()
        front.until(lambda: front.http()[0])
        code, _, body = front.http("/page?q=1")
        assert code == 200
        seen = json.loads(body)
        assert seen["path"] == "/page?q=1"
        assert seen["headers"]["X-Forwarded-Proto"] == "http"
        assert front.http("/.well-known/acme-challenge/token")[0] == 301
        assert front.served() == ""
        front.put(front.issued)
        front.until_served(front.issued)
        front.until(lambda: front.http()[0] == 301, "the redirect")


def test_the_first_certificate_brings_tls_in() -> None:
    """TLS within 15 s of CertMgr having the certificate; port 80 redirects then, with the port; all is ready."""
    with Front({"CERTMGR_CHECK_INTERVAL": str(INTERVAL)}) as front:
        front.start()
        front.until(front.outcome("wrong-name"))
        front.put(front.issued)
        assert front.until_served(front.issued) < 15
        front.until(lambda: front.http()[0] == 301, "the redirect")
        wanted = f"https://{NAME}:{front.https_port}/page?q=a%20b"
        assert front.http("/page?q=a%20b")[1]["Location"] == wanted
        assert front.http("/.well-known/acme-challenge/t")[1]["Location"].startswith("https://127.0.0.1:")
        front.until(lambda: front.http("/readyz", front.status_port)[0] == 200, "readiness")
        assert "# certfront" not in (front.current / "site.conf").read_text()
        entry = front.status()
        assert entry["state"] == "serving"
        assert entry["source"] == "certmgr"
        assert entry["key_type"] == "ecdsa"
        front.tested()


def test_the_usual_public_port_is_not_named() -> None:
    """With HTTPS_PUBLIC_PORT=443, as behind a published port, the redirect names none."""
    with Front({"HTTPS_PUBLIC_PORT": "443"}) as front:
        front.serve()
        front.until(lambda: front.http()[0] == 301, "the redirect")
        assert front.http("/page")[1]["Location"] == f"https://{NAME}/page"


def test_challenges_are_passed_on() -> None:
    """With ACME_CHALLENGE=proxy the answer comes from CertMgr, before and after TLS is on."""
    with Front({"ACME_CHALLENGE": "proxy"}) as front:
        front.certmgr.challenges["token"] = "token.thumbprint"
        front.start()
        front.until(front.outcome("wrong-name"))
        assert front.http("/.well-known/acme-challenge/token")[::2] == (200, "token.thumbprint\n")
        assert front.http("/.well-known/acme-challenge/other")[::2] == (404, "Challenge NOT found\n")
        front.put(front.issued)
        front.until(lambda: front.http()[0] == 301, "the redirect")
        assert front.http("/.well-known/acme-challenge/token")[::2] == (200, "token.thumbprint\n")


def test_renewals(front: Front) -> None:
    """Each renewal is served soon; three make exactly three generations; NGINX is satisfied at every moment, and
    no handshake fails."""
    first = front.generation()
    old = fingerprint(front.issued)
    expected = {old}
    with front.visited() as seen, _tested_all_along(front) as complaints:
        for number in range(first + 1, first + 4):
            took = front.until_served(front.renew())
            assert took < INTERVAL * 1.1 + 3 + 10  # the contract's figure, and a busy machine's share
            expected.add(fingerprint(front.issued))
            assert front.generation() == number
            front.until(lambda number=number: front.answers(number), "the generation")  # type: ignore[misc]
            front.tested()
    assert seen == expected
    assert complaints == []
    assert front.report()["generation"] == first + 3
    newest = max(int(path.name) for path in (front.folder / "state" / "generations").iterdir())
    assert newest == first + 3


class _tested_all_along:  # noqa: N801 - used as a function
    """`nginx -t` in a loop; its complaints."""

    def __init__(self, front: Front) -> None:
        self.front, self.over, self.complaints, self.runs = front, threading.Event(), list[str](), 0
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.over.is_set():
            done = self.front.nginx_test()
            if done.returncode:
                self.complaints.append(done.stderr)
            self.runs += 1

    def __enter__(self) -> list[str]:
        self.thread.start()
        return self.complaints

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join(PATIENCE)
        assert self.runs > 3


def test_without_a_change_nothing_happens(front: Front) -> None:
    """Over several checks of the same certificate: no generation, no reload."""
    front.until(front.outcome("unchanged"))
    before = front.footprint()
    front.until_asked(3)
    assert front.footprint() == before
    assert front.status()["outcome"] == "unchanged"


def test_an_intermediate_that_changes_alone_is_followed(front: Front) -> None:
    """The leaf is the same, its intermediate another one: the new chain is served."""
    from entrypoint.demo.pki import Issued

    between, other = front.authority.intermediate, pki.root("Other")
    crossed = pki.cross_sign(pki.Issued(between.certificate, between.key), other)
    before = front.chain()
    front.put(Issued(front.issued.key, (front.issued.certificate, crossed.cert, other.cert)))
    front.until(lambda: front.chain()[1:] != before[1:], "the other intermediate")
    assert front.chain()[0] == before[0]
    front.tested()
