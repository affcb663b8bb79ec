"""NGINX as a neighbour: its build, its test, its answers, and the leftovers of a killed one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from entrypoint.core import nginx_output
from entrypoint.core.model import Outcome, Refused
from entrypoint.core.settings import NGINX_SOCKET, REFUSALS
from entrypoint.system import sockets

_COMM = 15  # bytes of a program's name that the kernel shows, proc(5)
_ANSWER = 65536 + 4096  # bytes that are read of an answer
_ANSWER_TIMEOUT = 2  # seconds
_OK = 200
_TEST_TIMEOUT = 300  # seconds; thousands of encrypted keys take a while


class Untested(Refused):
    """NGINX's test did not start or did not end: no part of the configuration is to blame."""


def binary(name: str) -> str:
    """The path of the NGINX binary: as given, from PATH, or beside this Python, where `make setup` links one."""
    if not (found := shutil.which(name, path=_path())):
        raise Refused(
            Outcome.CONFIG_REJECTED,
            f"NGINX_BIN: no program {name!r} was found",
            "install NGINX, or set NGINX_BIN to the path of its binary",
        )
    return str(Path(found).absolute())  # NGINX works in the run folder


def _path() -> str:
    """PATH without the image's own `nginx` command, which calls certfront: see ``nginx.sh``."""
    own = f"{sys.prefix}/libexec"
    return os.pathsep.join([*(folder for folder in os.get_exec_path() if folder != own), f"{sys.prefix}/bin"])


def build(program: str) -> nginx_output.Build:
    """The build of the binary. Raises `Refused` where it prints no version."""
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=False, timeout=30).stderr
    if not (found := nginx_output.build(said)):
        raise Refused(Outcome.CONFIG_REJECTED, f"{program} -v did not say its version: {said.strip()!r}")
    return found


def test(program: str, config: Path, run_dir: Path | None = None) -> tuple[str, ...]:  # noqa: PT028 - NGINX's test
    """Run NGINX's test of a configuration, with ``run_dir`` as its working folder; returns its warnings.

    Raises `Refused` (config-rejected) with NGINX's message, `Untested` where it has none.
    """
    done = _tested([program, "-t", "-q", "-e", "stderr", "-c", str(config)], run_dir)
    said = nginx_output.lines(done.stderr.decode(errors="surrogateescape"))
    if done.returncode < 0:
        raise Untested(Outcome.CONFIG_REJECTED, f"nginx -t was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        message = nginx_output.refusal(said) or f"nginx -t ended with status {done.returncode} and no message"
        raise Refused(Outcome.CONFIG_REJECTED, message, nginx_output.hint(message, os.geteuid()))
    return nginx_output.warnings(said)


def _tested(command: list[str], run_dir: Path | None) -> subprocess.CompletedProcess[bytes]:
    # Without a usable password NGINX asks on standard input, for ever if it is left open.
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TEST_TIMEOUT,
            start_new_session=True,
            cwd=run_dir,
        )
    except subprocess.TimeoutExpired:
        raise Untested(Outcome.CONFIG_REJECTED, f"nginx -t did not end within {_TEST_TIMEOUT} s") from None
    except OSError as error:  # no memory, no process
        hint = "is there memory left, and a process (the limits of the container)?"
        raise Untested(Outcome.CONFIG_REJECTED, f"nginx -t could not be started: {error.strerror}", hint) from None


def taken(kind: str, address: str, port: int) -> str:
    """The message that NGINX will fail with at its start where another program has a socket: its test ignores that."""
    udp, family = kind == "udp", socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not udp)  # as NGINX: old connections are no rival
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
            if not udp:
                probe.listen()
    except OSError as error:  # all other errors NGINX says itself
        shown = f"[{address}]" if ":" in address else address
        return f"bind() to {shown}:{port} failed ({error.strerror})" if error.errno == errno.EADDRINUSE else ""
    return ""


def ask(run_dir: Path, path: str) -> tuple[int, str]:
    """Status code and body of the running NGINX's answer to certfront; code 0 where it does not answer.

    Over certfront's own socket, as another server may listen on the status port. HTTP/1.0, whose answers end with the
    connection, needs no client library, which health checks would have to import.
    """
    try:
        answer = _answer(run_dir, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    except OSError as error:
        return 0, f"NGINX does not answer on {run_dir}/{NGINX_SOCKET}: {error}"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] ([0-9]{3}) ", head)
    if not status:
        return 0, f"what answers on {run_dir}/{NGINX_SOCKET} is not NGINX"
    return int(status[1]), body.decode(errors="replace")


def _answer(run_dir: Path, question: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_TIMEOUT)
        connection.connect(str(sockets.reachable(run_dir) / NGINX_SOCKET))
        connection.sendall(question)
        answer = b""
        while len(answer) < _ANSWER and (data := connection.recv(_ANSWER)):
            answer += data
        return answer


def generation(run_dir: Path) -> int | None:
    """The generation number that the running NGINX answers with, None where it does not answer."""
    code, text = ask(run_dir, "/generation")
    return int(text) if code == _OK and re.fullmatch(r"[0-9]{1,9}\n", text) else None


def forget_refusals(run_dir: Path) -> None:
    """Empty the log of refusals, before a reload."""
    with contextlib.suppress(OSError):
        os.truncate(run_dir / REFUSALS, 0)


def refused_reload(run_dir: Path) -> str:
    """Why the running NGINX refused the last reload; empty where it did not, or not yet."""
    try:
        output = (run_dir / REFUSALS).read_bytes()[-_ANSWER:]
    except OSError:
        return ""
    return nginx_output.refused_reload(nginx_output.lines(output.decode(errors="replace")))


def accepting_workers(pid_file: Path) -> frozenset[int]:
    """The process ids of the workers that accept connections: the titles of old ones say that they do not.

    Empty where the machine does not show titles, see proc(5).
    """
    try:
        master = int(pid_file.read_text())
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    except (OSError, ValueError):
        return frozenset()
    return frozenset(int(child) for child in children if _accepts(child))


def _accepts(pid: str) -> bool:
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"worker process" in title and b"shutting down" not in title


def running_since(pid_file: Path) -> datetime | None:
    """The time of NGINX's start, which is that of its pid file."""
    try:
        return datetime.fromtimestamp(pid_file.stat().st_mtime, UTC)
    except OSError:
        return None


def end_leftovers(pid_file: Path, program: str) -> None:
    """Kill the NGINX processes that a killed certfront left: orphaned workers keep the ports.

    NGINX leads its own process group, so the group's members are found by the master's number; a number that another
    process has by now is left alone. The pid file and the socket are removed: the next NGINX could not bind it.
    """
    pid_file.with_name(NGINX_SOCKET).unlink(missing_ok=True)
    try:
        master = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_nginx_of(entry, master, Path(program).name[:_COMM]):
            _kill(int(entry.name))
    pid_file.unlink(missing_ok=True)


def _is_nginx_of(process: Path, group: int, program: str) -> bool:
    try:
        name, fields = (process / "stat").read_text().partition("(")[2].rsplit(")", 1)
    except OSError:
        return False
    return name == program and int(fields.split()[2]) == group


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
