"""The log on standard error, as text and as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import entrypoint
from tests.support import rig

CODE = """
import logging, sys
from entrypoint import log
log.setup(sys.argv[1], sys.argv[2])
logger = logging.getLogger("certfront")
for level in ("debug", "info", "warning", "error"):
    getattr(logger, level)("say %s: Größe", level)
logger.info("two\\nlines", extra={"fields": {"name": "www.acme.io"}})
try:
    raise ValueError("inner")
except ValueError:
    logger.exception("outer")
logging.getLogger("asyncio").info("noise")
logging.getLogger("watchfiles").info("noise")
print("standard output")
"""


def _run(style: str, level: str) -> list[str]:
    done = subprocess.run(
        rig.python(CODE, style, level),
        capture_output=True,
        check=True,
        text=True,
        env=rig.python_environment(TZ="Asia/Tokyo", PYTHONIOENCODING="utf-8"),
    )
    assert done.stdout == "standard output\n"
    return done.stderr.splitlines()


def _recent(text: str) -> bool:
    return abs(datetime.now(UTC) - datetime.fromisoformat(text)) < timedelta(minutes=2)


def test_text() -> None:
    """Text: time in UTC, level, message."""
    lines = _run("text", "info")
    found = re.fullmatch(r"(\S+Z) INFO    say info: Größe", lines[0])
    assert found
    assert _recent(found[1])
    assert lines[1].endswith("Z WARNING say warning: Größe")
    assert "ValueError: inner" in lines


def test_json() -> None:
    """JSON: one object a line, multi-line messages and exceptions included."""
    entries: list[dict[str, Any]] = [json.loads(line) for line in _run("json", "debug")]
    assert [entry["level"] for entry in entries] == ["debug", "info", "warning", "error", "info", "error"]
    assert all(_recent(entry["time"]) and entry["logger"] == "certfront" for entry in entries)
    assert entries[0]["message"] == "say debug: Größe"
    assert (entries[4]["message"], entries[4]["name"]) == ("two\nlines", "www.acme.io")
    assert entries[5]["message"] == "outer"
    assert entries[5]["exception"].endswith("ValueError: inner")


@pytest.mark.parametrize(("level", "count"), [("debug", 6), ("info", 5), ("warning", 3), ("error", 2)])
def test_level(level: str, count: int) -> None:
    """Nothing below the level is logged, and libraries only warn."""
    assert len(_run("json", level)) == count


LONG = """
import logging, sys
from entrypoint import log
log.setup(sys.argv[1], "info")
for text in ("x" * 100_000, "\\n" * 5000, "Größe " * 3000, '"' * 3000, chr(0xDCFF) * 3000, "short"):
    logging.getLogger("certfront").info(text, extra={"fields": {}})
"""


@pytest.mark.parametrize("style", ["text", "json"])
def test_long(style: str) -> None:
    """No message takes more than 2 KB, and what is left out is counted; what is shorter is whole."""
    done = subprocess.run(
        rig.python(LONG, style), capture_output=True, check=True, env=rig.python_environment(PYTHONIOENCODING="utf-8")
    )
    marks = [b"INFO  ", b'"level"'][style == "json"]
    records = done.stderr.split(marks)[1:]
    assert len(records) == 6
    assert max(map(len, records)) <= 2048
    assert all(b"bytes more" in record for record in records[:-1])
    assert b"more" not in records[-1]
    if style == "json":
        assert [json.loads(line)["level"] for line in done.stderr.decode().splitlines()] == ["info"] * 6


@pytest.mark.parametrize("style", ["json", "JSON", "text", ""])
def test_lines_of_the_container(style: str) -> None:
    """What the container's shell says before certfront runs is an object as well, whatever is in the name of a file."""
    script = (Path(entrypoint.__file__).parent / "container.sh").read_text()
    functions = script[script.index("is_json() {") : script.index("# /docker-entrypoint.d in the order")]
    name = 'running /docker-entrypoint.d/a "b" \\ c\td é.sh'
    command = ["/bin/sh", "-euc", f'{functions}say "$1"', "sh", name]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env={**os.environ, "LOG_FORMAT": style})
    if style.lower() != "json":
        assert done.stdout == f"certfront: {name}\n"
        return
    entry = json.loads(done.stdout)
    assert (entry["level"], entry["message"]) == ("info", f"certfront: {name}")
    assert _recent(entry["time"])


@pytest.mark.parametrize(
    ("command", "style", "json_line"),
    [
        ("run", "json", True),
        ("agent", "JSON", True),
        ("run", "text", False),
        ("run", "", False),
        ("status", "json", False),
    ],
)
def test_unusable_settings(command: str, style: str, json_line: bool) -> None:
    """What runs in the background says them as one object with all faults; other commands are for people."""
    environment = {**os.environ, "LOG_FORMAT": style, "CERTMGR_TIMEOUT": "soon", "HTTP_PORT": "none"}
    code = "from entrypoint.launch import main; raise SystemExit(main())"
    done = subprocess.run(rig.python(code, command), capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    message = done.stderr
    if json_line:
        entry = json.loads(done.stderr)
        assert (entry["level"], entry["logger"]) == ("error", "certfront")
        assert _recent(entry["time"])
        message = entry["message"]
    assert message.startswith("certfront: the settings cannot be used\n") is not json_line
    assert all(name in message for name in ("CERTMGR_TIMEOUT", "HTTP_PORT"))
