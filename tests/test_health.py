"""`certfront health`: what it says of NGINX's answers, in whose containers it asks, and how little it imports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint import health

ROOT = Path(__file__).parent.parent
RUN, OWN = b"run", b"certfront-container"


class Server:
    """Answers one question after the other on certfront's own socket, always the same."""

    def __init__(self, folder: Path) -> None:
        self.answer, self.asked = b"", b""
        number = os.open(folder, os.O_PATH)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(f"/proc/self/fd/{number}/nginx.sock")
        os.close(number)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.asked = connection.recv(1000)
                connection.sendall(self.answer)

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = tmp_path / ("long" * 30)  # longer than a socket's address
    folder.mkdir()
    monkeypatch.setenv("CERTFRONT_RUN_DIR", str(folder))
    found = Server(folder)
    yield found
    found.stop()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"200 OK\r\n\r\nok\n", (0, "ok\n", "")),
        (b"200 OK\r\nServer: nginx\r\n\r\n", (0, "status 200\n", "")),
        (b"503 Service Unavailable\r\n\r\nwww.acme.io: pending\n", (1, "", "www.acme.io: pending\n")),
        (b"503\r\n\r\n", (1, "", "status 503\n")),
    ],
)
@pytest.mark.parametrize(("option", "path"), [("", b"/healthz"), ("--ready", b"/readyz"), ("--image", b"/healthz")])
def test_answers(
    server: Server,
    capsys: pytest.CaptureFixture[str],
    answer: bytes,
    expected: tuple[int, str, str],
    option: str,
    path: bytes,
) -> None:
    """200 is 0 and 503 is 1, with NGINX's own text."""
    server.answer = b"HTTP/1.1 " + answer
    assert (health.quick([option] * bool(option)), *capsys.readouterr()) == expected
    assert server.asked.startswith(b"GET " + path + b" HTTP/1.0\r\n")


@pytest.mark.parametrize(
    "answer", [b"", b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 404 No\r\n\r\n", b"\xff 200 "]
)
def test_other_answers(server: Server, answer: bytes) -> None:
    """Whatever else comes is for the slow way, which says what is wrong."""
    server.answer = answer
    assert health.quick([]) is None
    assert health.quick(["--bogus"]) is None


@pytest.mark.parametrize("trace", ["status", "supervisord.conf", ""])
def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trace: str) -> None:
    """Where certfront has begun that is unhealthy, for the image too; where it never did, nothing is checked."""
    monkeypatch.setenv("CERTFRONT_RUN_DIR", str(tmp_path))
    if trace:
        (tmp_path / trace).touch()
    assert health.quick([]) is None
    assert health.quick(["--image"]) == (None if trace else 0)


@pytest.mark.parametrize(
    ("words", "is_certfronts"),
    [
        ([b"/bin/sh", b"/usr/local/bin/certfront-container", RUN], True),
        ([b"/bin/sh", b"/usr/local/bin/certfront-container"], True),
        ([b"/sbin/docker-init", b"--", OWN, RUN], True),
        ([b"/opt/certfront/bin/python", b"/opt/certfront/bin/certfront", RUN], True),
        (
            [b"/opt/certfront/bin/python", b"/opt/certfront/bin/certfront", b"demo-certmgr", b"--names", b"localhost"],
            False,
        ),
        ([b"/opt/certfront/bin/python", b"/opt/certfront/bin/certfront", b"demo"], False),
        ([b"/sbin/docker-init", b"--", OWN, b"nginx", b"-g", b"daemon off;"], False),
        ([b"nginx: master process nginx -g daemon off;"], False),
        ([b"sleep", b"infinity"], False),
        ([b"/pause"], False),
        ([b""], False),
    ],
)
def test_whose_container(words: list[bytes], is_certfronts: bool) -> None:
    """By its first process, with and without an init."""
    assert health._is_certfronts(b"\0".join(words) + b"\0") is is_certfronts


def test_imports(server: Server) -> None:
    """Of all that Python does not import for itself, only the two modules that the question needs."""
    server.answer = b"HTTP/1.1 200 OK\r\n\r\nok\n"
    script = f"""
import sys
sys.path.append({str(ROOT)!r})
before = set(sys.modules)
from entrypoint.launch import main
sys.argv = ["certfront", "health"]
status = main()
print(status, sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[1].removeprefix("0 ").strip("[]").replace("'", "").split(", "))
    own = {"entrypoint", "entrypoint.launch", "entrypoint.health", "__future__", "_socket", "resource"}
    assert modules - own <= {"os", "stat", "_stat", "posixpath", "genericpath", "os.path", "_collections_abc"}
