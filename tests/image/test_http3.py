"""HTTP3=on in the container, whose NGINX can: HTTP/3 beside HTTPS over TCP, under the same certificate."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from entrypoint.demo.stage import NAME, fingerprint
from tests.support import clients

from . import http3
from .lab import HTTPS, Container, Lab

pytestmark = pytest.mark.engine

UDP = ("-p", f"127.0.0.1::{HTTPS}/udp")


@pytest.fixture
def front(lab: Lab) -> Iterator[Container]:
    """With a certificate that is served, and HTTP/3 on a published port."""
    lab.put()
    environment = lab.environment(HTTP3="on", HTTPS_PUBLIC_PORT="8443")
    with lab.run(*lab.key(), *UDP, environment=environment) as front:
        front.until_serves(lab.issued)
        front.until(lambda: _presents(front, lab, fingerprint(lab.issued)), "the certificate over QUIC")
        yield front


def _port(front: Container) -> int:
    return int(front.engine.docker("port", front.id, f"{HTTPS}/udp").stdout.split()[0].rpartition(":")[2])


def _asked(front: Container, lab: Lab, name: str = NAME) -> http3.Answer:
    """The answer, asked for again where there is none: old workers may take a connection's first packets."""
    found: list[http3.Answer] = []

    def ask() -> bool:
        try:
            found.append(http3.get(_port(front), name, lab.authority))
        except TimeoutError:
            return False
        return True

    front.until(ask, "an answer over QUIC")
    return found[0]


def _presents(front: Container, lab: Lab, fingerprint: str) -> bool:
    try:
        return _asked(front, lab).fingerprint == fingerprint
    except http3.Ended:  # by an old worker, which has no certificate yet
        return False


def test_an_answer(front: Container, lab: Lab) -> None:
    """It comes over QUIC under the site's certificate, and the application is told of HTTPS and the host's name."""
    answer = _asked(front, lab)
    assert answer.status == HTTPStatus.OK
    assert answer.fingerprint == fingerprint(lab.issued)
    assert "https" in answer.body
    assert f"You asked {NAME}:8443 " in answer.body
    assert answer.headers["alt-svc"] == 'h3=":8443"; ma=86400'
    assert "HTTP/3.0" in front.log()


def test_browsers_learn_of_it(front: Container) -> None:
    """The answer over TCP offers HTTP/3 on the public port."""
    address = "127.0.0.1", front.port(HTTPS)
    assert b'\r\nAlt-Svc: h3=":8443"; ma=86400\r\n' in clients.get_named(address, "/", NAME)


def test_renewals(front: Container, lab: Lab) -> None:
    """QUIC follows each, and no reload fails for its sockets."""
    for _ in range(3):
        renewed = fingerprint(lab.renew())
        front.until(lambda renewed=renewed: front.served() == renewed, "the renewal over TCP")  # type: ignore[misc]
        front.until(lambda renewed=renewed: _presents(front, lab, renewed), "the renewal over QUIC")  # type: ignore[misc]
    assert "[emerg]" not in front.log()


def test_unknown_names(front: Container, lab: Lab) -> None:
    """Another name gets no certificate over QUIC either, but TLS's alert for it."""
    with pytest.raises(http3.Ended) as ended:
        _asked(front, lab, "other.acme.io")
    assert ended.value.code == http3.UNRECOGNIZED_NAME


def test_before_the_certificate(lab: Lab) -> None:
    """The socket is there, and refuses; with the first certificate the site answers on it."""
    with lab.run(*lab.key(), *UDP, environment=lab.environment(HTTP3="on")) as front:
        front.until_outcome("wrong-name")
        with pytest.raises(http3.Ended) as ended:
            _asked(front, lab)
        assert ended.value.code == http3.UNRECOGNIZED_NAME
        lab.put()
        front.until(lambda: _presents(front, lab, fingerprint(lab.issued)), "HTTP/3")


def test_without_root(lab: Lab) -> None:
    """Any user with a read-only root has it too."""
    lab.put()
    options = ("--user", "101:101", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/run/certfront")
    volume = ("-v", f"{lab.volume()}:/var/lib/certfront")
    with lab.run(*options, *volume, *lab.key((101, 101)), *UDP, environment=lab.environment(HTTP3="on")) as front:
        front.until_serves(lab.issued)
        front.until(lambda: _presents(front, lab, fingerprint(lab.issued)), "HTTP/3")
