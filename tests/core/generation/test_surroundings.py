"""The user's own servers on the status port."""

from __future__ import annotations

import pytest

from entrypoint.core.conf.configuration import Configuration, read
from entrypoint.core.conf.syntax import attempt
from entrypoint.core.generation.surroundings import collisions, foreign_ports

AWAY = "is the one that answers: certfront's status and probes are not there"
TLS = "certfront's status and probes are not there"


def _read(text: str) -> Configuration:
    return read("/r", {"/r": attempt(text)}, {})


@pytest.mark.parametrize(
    ("text", "said", "foreign"),
    [
        ("http {\nserver { listen 8081; } }", "requests for its names reach it", False),
        ("http {\nserver { listen [::]:8081; } }", "requests for its names reach it", False),
        ("http {\nserver { listen 8000-8100; } }", "requests for its names reach it", False),
        ("http {\nserver { listen 8081 default_server; } }", AWAY, False),
        ("http {\nserver { listen 80; listen [::]:8081 default; } }", AWAY, False),
        ("http {\nserver { listen 127.0.0.1:8081; } }", AWAY, False),
        ("http {\nserver { listen 8081 ssl; } }", TLS, True),
        ("stream {\nserver { listen 127.0.0.1:8081; } }", TLS, True),
        ("mail {\nserver { listen 8081; } }", TLS, True),
    ],
)
def test_collisions(text: str, said: str, foreign: bool) -> None:
    """Each of them is named by its place, with who answers, and what to do; ours stays away where it must."""
    (found,) = collisions(_read(text), 8081)
    assert (found.file, found.line) == ("/r", 2)
    assert "listens on port 8081, which is STATUS_PORT" in found.message
    assert said in found.message
    assert "set STATUS_PORT to a port" in found.message
    assert (8081 in foreign_ports(_read(text))) is foreign


@pytest.mark.parametrize(
    "text",
    [
        "http { server { listen 80; } server { listen 443 ssl; } }",
        "http { server { listen 8081 quic; } }",
        "stream { server { listen 8081 udp; } }",
        "http { server { listen unix:/8081; } }",
        "",
    ],
)
def test_no_collision(text: str) -> None:
    """Other ports, other protocols below, and sockets in folders are nobody's rival."""
    assert list(collisions(_read(text), 8081)) == []
    assert 8081 not in foreign_ports(_read(text))
