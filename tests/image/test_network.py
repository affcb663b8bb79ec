"""Networks: names, IPv6, a host without it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator

import pytest

from entrypoint.demo.stage import NAME, fingerprint
from tests.support import clients

from .engine import IMAGE, Engine
from .lab import HTTPS, Container, Lab

pytestmark = pytest.mark.engine

APPLICATION = ("--entrypoint", "/opt/certfront/bin/python", IMAGE, "-m", "entrypoint.demo.application", "8000")


def test_names_of_a_network(lab: Lab, engine: Engine) -> None:
    """CertMgr and the application are names of other containers; neither needs to be there at the start."""
    folder = lab.folder / "export"
    certmgr = ("demo-certmgr", "--names", NAME, "--listen", "8443", "--export", "/export", "--state", "/export/state")
    environment = lab.environment(
        CERTMGR_HOST="certmgr:8443",
        UPSTREAM="http://app:8000",
        KEY_FILE="/export/key.pem",
        KEY_PASSWORD_FILE="/export/ssl_pw.txt",
    )
    folder.mkdir()
    mount = ("-v", f"{folder}:/export")
    with lab.run(*mount, environment=environment) as front:
        front.until_outcome("key-missing")
        network = ("--network", lab.network, "--network-alias")
        with Container(engine, [*network, "certmgr", *mount, IMAGE, *certmgr]):
            front.until(front.served, "TLS")
            assert "502" in front.https()
            with Container(engine, [*network, "app", *APPLICATION]):
                front.until(lambda: "Hello from the application" in front.https(), "the application")
            front.until(lambda: "502" in front.https() or "504" in front.https(), "its end")
            with Container(engine, [*network, "app", *APPLICATION]):
                front.until(lambda: "Hello from the application" in front.https(), "the application again")


@pytest.fixture
def lab6(engine: Engine) -> Iterator[Lab]:
    with Lab(engine, ipv6=True) as lab:
        yield lab


def test_ipv6(lab6: Lab) -> None:
    """On a network with IPv6, visitors come over it."""
    lab6.put()
    with lab6.run(*lab6.key()) as front:
        front.until_serves(lab6.issued)
        template = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}"
        address = front.docker("inspect", "--format", template).stdout.strip()
        chain = clients.fetch((address, HTTPS), NAME)
        assert hashlib.sha256(chain[0]).hexdigest() == fingerprint(lab6.issued)
        with socket.create_connection((address, 80), timeout=10) as visitor:
            visitor.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
            assert visitor.recv(12) == b"HTTP/1.1 301"


def test_a_host_without_ipv6(lab: Lab) -> None:
    """It listens on IPv4 alone, and all is well."""
    lab.put()
    with lab.run("--sysctl", "net.ipv6.conf.all.disable_ipv6=1", *lab.key()) as front:
        front.until_serves(lab.issued)
        assert "[::]" not in front.execute("cat", "/var/lib/certfront/current/site.conf")
