"""Lines of others as objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from entrypoint.core.json_lines import wrapped

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        ("2026/11/25 13:00:00 [error] 12#34: *5 connect() failed", "error", "*5 connect() failed"),
        ("2026/11/25 13:00:00 [warn] 12#34: a client", "warning", "a client"),
        ("2026/11/25 13:00:00 [notice] 1#1: signal 1 (SIGHUP) received", "info", "signal 1 (SIGHUP) received"),
        ('nginx: [emerg] bind() to "x" failed', "critical", 'bind() to "x" failed'),
        ("Traceback (most recent call last):", "info", "Traceback (most recent call last):"),
        ("{not an object", "info", "{not an object"),
        ('\x1b[31m\t\\ "', "info", '\x1b[31m\t\\ "'),
    ],
)
def test_wrapped(line: str, level: str, message: str) -> None:
    """NGINX's levels in our words, everything else as it is, and always one line."""
    text = wrapped(line, "nginx", NOW)
    assert "\n" not in text
    found = {"time": "2026-03-01T12:00:00Z", "level": level, "logger": "nginx", "message": message}
    assert json.loads(text) == found


def test_objects_stay() -> None:
    """What is JSON already is passed on byte for byte."""
    assert wrapped('{"a":  1}', "nginx", NOW) == '{"a":  1}'
