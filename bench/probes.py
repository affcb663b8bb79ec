"""What can be asked from outside: processor time and memory of processes, and the first answers of a port."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from entrypoint.demo.stage import NAME
from tests.support.clients import client_context

_PAUSE = 0.001  # seconds between two looks
_PATIENCE = 30.0  # seconds for what comes in less than one
_MB = 1000 * 1000  # bytes: the stricter reading of a budget
_CONTEXT = client_context()


class Missing(Exception):
    """What is to be measured did not happen."""


def until(what: str, condition: Callable[[], object]) -> float:
    """Look often until a condition holds; returns the time then, in seconds. Raises `Missing`."""
    deadline = time.time() + _PATIENCE
    while not condition():
        if time.time() > deadline:
            raise Missing(f"{what}: not within {_PATIENCE:g} s")
        time.sleep(_PAUSE)
    return time.time()


def cpu(pid: int) -> float:
    """Processor time, user and system, of a process with all its threads so far, in milliseconds.

    The kernel's own clock of that process (clock_getcpuclockid(3)): nanoseconds, where /proc/PID/stat has ticks.
    """
    return time.clock_gettime(~pid << 3 | 2) * 1000


def pss(pid: int) -> float:
    """Proportional set size in MB: a page that several processes map is divided among all of them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Pss: +(\d+)", rollup, re.MULTILINE))) * 1024 / _MB


def alone(pids: Iterable[int]) -> float:
    """What processes occupy together in MB if nobody else maps their files, as in a container.

    On a developer's machine other Pythons (this one is) share their libraries, which makes PSS look smaller. Pages
    of a file count once, as many as the process has that uses most of it; everything else is nobody else's.
    """
    private, files = 0, Counter[str]()
    for pid in pids:
        own = Counter[str]()
        for path, sizes in _mappings(pid):
            private += sizes["Anonymous"]
            own[path] += sizes["Rss"] - sizes["Anonymous"]
        files |= own
    return (private + files.total()) * 1024 / _MB


def _mappings(pid: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Each mapping's file and its sizes in KiB, proc_pid_smaps(5)."""
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text(), flags=re.MULTILINE)[1:]:
        head, *lines = block.splitlines()
        sizes = dict(re.findall(r"^(\w+): +(\d+) kB$", "\n".join(lines), re.MULTILINE))
        yield " ".join(head.split()[5:]), {name: int(size) for name, size in sizes.items()}


def fingerprint(port: int) -> str:
    """SHA-256 of the certificate that a port presents for the site, empty where it does not answer."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection,
            _CONTEXT.wrap_socket(connection, server_hostname=NAME) as tls,
        ):
            return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return ""


def http(port: int) -> bool:
    """Whether a port answers a plain request, whatever it says."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(9) == b"HTTP/1.1 "
    except OSError:
        return False
