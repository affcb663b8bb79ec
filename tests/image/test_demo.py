"""`docker run certfront demo`: the tour, and what it leaves up is reachable from outside."""

from __future__ import annotations

import pytest

from entrypoint.demo.stage import NAME
from tests.support import clients

from .engine import IMAGE, Engine
from .lab import Container

pytestmark = pytest.mark.engine


def test_the_tour(engine: Engine) -> None:
    """It plays through and ends with 0."""
    done = engine.docker("run", "--rm", IMAGE, "demo", "--exit", timeout=90)
    assert "kill -9, restart offline" in done.stdout
    assert "FAILED" not in done.stdout


@pytest.mark.parametrize("options", [(), ("--user", "101:101", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")])
def test_it_stays_up(engine: Engine, options: tuple[str, ...]) -> None:
    """Published ports are those that it names; `docker stop` ends it with 0."""
    ports = [part for port in (8080, 8443, 8081) for part in ("-p", f"127.0.0.1::{port}")]
    with Container(engine, [*ports, *options, IMAGE, "demo"]) as tour:
        tour.until(lambda: "Still running" in tour.log(), "the end of the tour")
        assert f"https://{NAME}:8443/" in tour.log()
        page = clients.get_named(("127.0.0.1", tour.port(8443)), "/", NAME)
        assert b"Hello from the application" in page
        assert tour.http("/", 8080)[0] == 301
        status, seconds = tour.stop()
        assert status == 0
        assert seconds < 5
