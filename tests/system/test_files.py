"""Files of somebody else's: what is none is refused at once, whoever reads it, and never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.core.model import Outcome, Refused
from entrypoint.edges import key_files, keys, roots, watch
from entrypoint.environment import from_environment
from entrypoint.system import files
from tests.support import rig

Make = Callable[[Path], object]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH)  # a socket's own address has room for 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fsencode(f"/proc/self/fd/{folder}/{path.name}"))
    os.close(folder)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _random(path: Path) -> None:
    path.symlink_to("/dev/urandom")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole, which takes no space


def _loop(path: Path) -> None:
    path.symlink_to(path)


ODD: dict[str, tuple[Make, str]] = {
    "folder": (Path.mkdir, "Is a directory"),
    "pipe": (_pipe, "a named pipe"),
    "socket": (_socket, "a socket"),
    "zero": (_endless, "a device"),
    "random": (_random, "a device"),
    "huge": (_huge, "larger than"),
    "loop": (_loop, "symbolic links"),
}


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    make, words = ODD[request.param]
    path = tmp_path / "gr\udcf6\udcdfe"
    make(path)
    return path, words


def test_it_is_refused(odd: tuple[Path, str]) -> None:
    """With a sentence that says what it is."""
    path, words = odd
    with pytest.raises(OSError, match=words):
        files.read(path)


def test_a_key(odd: tuple[Path, str]) -> None:
    """key-unreadable, for the key and for its password file."""
    path, _ = odd
    with pytest.raises(Refused) as refused:
        keys.load(path, path)
    assert refused.value.problem.outcome is Outcome.KEY_UNREADABLE
    with pytest.raises(Refused) as refused:
        keys._content(path, "the password file")
    assert refused.value.problem.outcome is Outcome.KEY_UNREADABLE
    assert key_files.passwords(path) == ()


def test_roots(odd: tuple[Path, str]) -> None:
    """untrusted, as nothing can be verified with them."""
    path, words = odd
    with pytest.raises(Refused, match=words) as refused:
        roots.load(str(path))
    assert refused.value.problem.outcome is Outcome.UNTRUSTED


def test_comparing(odd: tuple[Path, str]) -> None:
    """What is compared for changes ends as well, and what takes its place is a change."""
    path, _ = odd
    before = watch.contents([path])
    assert watch.contents([path]) == before
    path.rename(path.with_name("old"))
    assert watch.contents([path]) != before


def test_a_configuration(odd: tuple[Path, str], tmp_path: Path) -> None:
    """Included, it is a fault of the place that names it; as the root file, the reason why nothing is known."""
    path, words = odd
    root = tmp_path / "nginx.conf"
    root.write_bytes(b"events { }\nhttp {\n    include gr\xf6\xdfe;\n}\n")
    found = rig.config_files(from_environment({"NGINX_CONF": str(root)})).read()
    assert found
    (fault,) = found.configuration.faults
    assert (fault.file, fault.line) == (str(root), 3)
    root.unlink()
    path.rename(root)
    if not words.startswith("symbolic"):
        with pytest.raises(Refused, match=rf"NGINX_CONF: {root} is .*(not a file|larger)"):
            rig.config_files(from_environment({"NGINX_CONF": str(root)})).read()


@pytest.mark.parametrize("size", [0, 1, files.LARGEST])
def test_files_of_any_sensible_size(tmp_path: Path, size: int) -> None:
    """Up to the limit, all of it."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    assert len(files.read(path)) == size
    path.write_bytes(b"x" * (files.LARGEST + 1))
    with pytest.raises(OSError, match="larger"):
        files.read(path)


def test_a_link_to_a_file(tmp_path: Path) -> None:
    """Kubernetes' links are followed."""
    (tmp_path / "data").write_bytes(b"1")
    (tmp_path / "key.pem").symlink_to("data")
    assert files.read(tmp_path / "key.pem") == b"1"
