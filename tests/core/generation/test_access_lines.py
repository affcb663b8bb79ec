"""Lines of the user's configuration on standard output: which become JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrypoint.core.conf.edit import render
from entrypoint.core.generation import access_lines
from entrypoint.core.generation.site import JSON_FORMAT
from entrypoint.edges import packaged
from tests.core.generation.test_rewrite import ROOT, names, source
from tests.support import rig

LINK = "/var/log/nginx/access.log"
FORMATS = "log_format own escape=json '{}'; log_format plain '$status'; log_format both escape=json '{}';"


def _changed(folder: Path, text: str, style: str = "json") -> list[str]:
    settings = rig.settings(folder, LOG_FORMAT=style)
    facts, what = rig.facts(outputs=frozenset({LINK})), source(text)
    edits = [edit for _, edit in access_lines.edits(what, settings, facts, packaged.packaged())]
    return names(render(what.texts[ROOT], edits).text)


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("access_log /dev/stdout", f"access_log /dev/stdout {JSON_FORMAT}"),
        ("access_log /dev/stdout plain buffer=1k", f"access_log /dev/stdout {JSON_FORMAT} buffer=1k"),
        ("access_log /dev/stderr combined", f"access_log /dev/stderr {JSON_FORMAT}"),
        ("access_log /dev/fd/1 plain", f"access_log /dev/fd/1 {JSON_FORMAT}"),
        ("access_log /proc/1/fd/1 plain", f"access_log /proc/1/fd/1 {JSON_FORMAT}"),
        (f"access_log {LINK} plain", f"access_log {LINK} {JSON_FORMAT}"),
        ("access_log /dev/stdout both", f"access_log /dev/stdout {JSON_FORMAT}"),  # no JSON in `stream`
        ("access_log /dev/stdout own", "access_log /dev/stdout own"),
        ("access_log /var/log/other.log plain", "access_log /var/log/other.log plain"),
        ("access_log off", "access_log off"),
        ("access_log syslog:server=127.0.0.1 plain", "access_log syslog:server=127.0.0.1 plain"),
        ("error_log /dev/stdout warn", "error_log stderr warn"),
        ("error_log /proc/1/fd/2", "error_log stderr"),
        ("error_log /var/log/other.log", "error_log /var/log/other.log"),
    ],
)
def test_lines(tmp_path: Path, line: str, becomes: str) -> None:
    """All that end up in the container's log do; files, syslog and JSON of the user's own stay."""
    text = f"http {{ {FORMATS} server {{ {line}; }} }} stream {{ log_format both '$status'; }}"
    assert becomes in _changed(tmp_path, text)
    assert line in _changed(tmp_path, text, "text")


@pytest.mark.parametrize(
    ("text", "number"), [("http { }", 1), ("stream { }", 1), ("http { } stream { }", 2), ("mail { }", 0)]
)
def test_formats(tmp_path: Path, text: str, number: int) -> None:
    """Each block has its own format of that name."""
    assert len([line for line in _changed(tmp_path, text) if line.startswith(f"log_format {JSON_FORMAT} ")]) == number
