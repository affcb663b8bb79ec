"""``certfront health`` without the imports of the other commands, as engines call it every few seconds."""

from __future__ import annotations

import os
import sys

# The module below `socket`: that one takes longer to import than Python to start.
from _socket import AF_UNIX, SOCK_STREAM, socket

_TIMEOUT = 3.0  # seconds; the image's HEALTHCHECK has five
_OPTIONS = {"--ready", "--image"}
_TRACES = ("status", "supervisord.conf")  # of a certfront that has begun, in its run folder


def quick(arguments: list[str]) -> int | None:
    """The exit status, after printing NGINX's answer; None where the full command has to find the reason."""
    if not _OPTIONS.issuperset(arguments):
        return None
    run_dir = os.environ.get("CERTFRONT_RUN_DIR") or "/run/certfront"
    code, text = _ask(run_dir, "/readyz" if "--ready" in arguments else "/healthz")
    if code in (200, 503):
        return told(code, text)
    if "--image" in arguments and not _belongs_here(run_dir):
        print("this container runs another command than certfront: there is nothing to check")
        return 0
    return None


def told(code: int, text: str) -> int:
    """Print NGINX's answer; returns the exit status."""
    print(text.strip() or f"status {code}", file=sys.stdout if code == 200 else sys.stderr)
    return int(code != 200)


def _ask(run_dir: str, path: str) -> tuple[int, str]:
    """Status code and body of NGINX's answer on certfront's own socket; code 0 where there is none."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    answer = b""
    try:
        folder = os.open(run_dir, os.O_PATH | os.O_DIRECTORY)  # a socket's address is shorter than a path may be
        connection.settimeout(_TIMEOUT)
        connection.connect(f"/proc/self/fd/{folder}/nginx.sock")
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        while data := connection.recv(65536):
            answer += data
    except OSError:
        return 0, ""
    finally:
        connection.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    known = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
    return (int(words[1]), body.decode(errors="replace")) if known else (0, "")


def _belongs_here(run_dir: str) -> bool:
    """Whether this container runs certfront, by its first process or by certfront's files."""
    if any(os.path.exists(f"{run_dir}/{name}") for name in _TRACES):  # noqa: PTH110 - pathlib costs more than all this
        return True
    try:
        with open("/proc/1/cmdline", "rb") as file:  # noqa: PTH123
            return _is_certfronts(file.read())
    except OSError:
        return True


def _is_certfronts(cmdline: bytes) -> bool:
    """Whether a first process (proc(5)) is `certfront run` or starts it, with or without an init."""
    words = cmdline.rstrip(b"\0").split(b"\0")
    names = [word.rpartition(b"/")[2] for word in words]
    if b"certfront-container" in names:
        return names[-1] in (b"certfront-container", b"run")
    return b"certfront" in names and names[-1] == b"run"
