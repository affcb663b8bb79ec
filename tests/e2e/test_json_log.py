"""LOG_FORMAT=json: every line is an object, NGINX's own among them."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.support import rig
from tests.support.front import Front
from tests.support.user import ROOT, User

JSON = {"LOG_FORMAT": "json", "UPSTREAM": "http://127.0.0.1:9"}  # nobody listens there: NGINX's error log has it
MAIN = "log_format main '$remote_addr - [$time_local] \"$request\" $status';"
BROKEN = "server {{ listen {http}; server_name www.acme.io; location / {{ proxy_pass http://127.0.0.1:9; }} }}\n"
OWN = 'log_format own escape=json \'{"mine":"$request"}\';'


def _entries(front: Front) -> list[dict[str, Any]]:
    """All lines that are written to their ends; raises where one is no object."""
    found = [json.loads(line) for line in front.log().split("\n")[:-1]]
    assert all(isinstance(entry, dict) for entry in found)
    return found


def _loggers(front: Front) -> set[str]:
    return {entry.get("logger", "") for entry in _entries(front)}


def test_every_line() -> None:
    """certfront's, NGINX's access and error lines, a reload, a stop: all of them have a time, a level and a message."""
    with Front(JSON) as front:
        front.serve()
        front.http("/page")
        front.renew()
        front.check()
        assert front.stop() == 0
        assert front.log().endswith("\n")
        entries = _entries(front)
        assert {"certfront", "certfront.boot", "access"} <= {entry["logger"] for entry in entries}
        assert all(entry["time"] for entry in entries)
        others = [entry for entry in entries if entry["logger"] != "access"]
        assert all(entry["message"] and entry["level"] in LEVELS for entry in others)


LEVELS = {"debug", "info", "warning", "error", "critical"}


def test_nginx_errors() -> None:
    """An error line of NGINX's keeps its level and words, without its own form of time and numbers in front."""
    with Front({**JSON, "SERVER_NAME": None, "KEY_FILE": None}) as front:
        front.start()
        front.until(lambda: front.http("/missing")[0] == 502, "the application that is not there")
        front.until(lambda: "nginx" in _loggers(front), "NGINX's error line")
        (entry, *_) = [entry for entry in _entries(front) if entry["logger"] == "nginx"]
        assert entry["level"] == "error"
        assert "connect() failed" in entry["message"]
        assert "#" not in entry["message"].partition("connect")[0]


@pytest.mark.parametrize(
    ("log", "ours"),
    [
        ("access_log /dev/stdout main;", True),
        ("access_log /dev/stdout;", True),
        ("access_log /dev/stdout combined buffer=1k flush=100ms;", True),
        ("access_log /proc/self/fd/1 main if=$request_method;", True),
        ("access_log /dev/stdout own;", False),
    ],
)
def test_access_lines_of_the_users(log: str, ours: bool) -> None:
    """Whatever format they name for standard output becomes JSON; JSON of the user's own, and other files, stay."""
    with User(LOG_FORMAT="json") as user:
        formats = f"{MAIN} {OWN}".replace("{", "{{").replace("}", "}}")
        file = f"access_log {user.folder}/access.txt main;"
        text = ROOT.replace("access_log off;", f"{formats} {log}").replace(
            "server {{ listen", f"server {{{{ {log} {file} listen"
        )
        user.put_file("nginx.conf", text)
        user.start()
        user.until(user.plain, "the server")
        user.until(lambda: any('"GET / ' in line or "GET / " in line for line in user.log().splitlines()), "its line")
        lines = [entry for entry in _entries(user) if "mine" in entry or entry.get("logger") == "access"]
        assert lines
        assert all(("mine" in entry) is not ours for entry in lines)
        user.until(lambda: "- [" in (user.folder / "access.txt").read_text(), "the user's own file")


@pytest.mark.parametrize("log", ["/dev/stdout", "/dev/stdout basic", "/dev/fd/1 basic buffer=1k flush=100ms"])
def test_stream(log: str) -> None:
    """Access lines of `stream` are objects as well, with a format that knows its variables."""
    with User(LOG_FORMAT="json") as user:
        (listen,) = rig.free_ports(1)
        server = f"server {{{{ listen 127.0.0.1:{listen}; access_log {log}; return hello; }}}}"
        formats = "log_format basic '$remote_addr $status';"
        user.put_file("nginx.conf", f"{ROOT}stream {{{{ {formats} {server} }}}}\n")
        user.start()
        user.until(user.plain, "the server")
        with socket.create_connection(("127.0.0.1", listen), 5) as connection:
            assert connection.recv(100) == b"hello"
        user.until(lambda: "access" in _loggers(user), "its line")
        (entry,) = [entry for entry in _entries(user) if entry.get("logger") == "access"]
        assert (entry["protocol"], entry["status"], entry["bytes"]) == ("TCP", 200, 5)


@pytest.mark.parametrize("log", ["/dev/stdout", "/proc/self/fd/1 error", "stderr", "/dev/stderr info"])
def test_error_lines_of_the_users(log: str) -> None:
    """Wherever they send error lines of what a container logs, those are objects."""
    with User(LOG_FORMAT="json") as user:
        user.put_file("nginx.conf", ROOT.replace("access_log off;", f"access_log off; error_log {log};"))
        user.put_file("conf.d/broken.conf", BROKEN)
        user.start()
        user.until(lambda: user.http()[0] == 502, "the application that is not there")
        user.until(lambda: "nginx" in _loggers(user), "NGINX's error line")
        assert any("connect() failed" in entry["message"] for entry in _entries(user) if entry["logger"] == "nginx")
