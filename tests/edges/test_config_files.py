"""What a pattern matches beside files: it is left out and named, and nothing waits for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.core.model import Refused
from entrypoint.edges.config_files import ConfigFiles
from tests.support import rig

_SERVER = "server { listen 8080; server_name %s; }\n"


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "is a folder, not a file"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "is a link that leads to no file"),
    "a loop": (lambda path: path.symlink_to(path.name), "is a link that leads to no file"),
    "a link through a file": (lambda path: path.symlink_to("a.conf/x"), "is a link that leads to no file"),
    "a link to a folder": (lambda path: path.symlink_to("."), "is a folder, not a file"),
    "a FIFO": (os.mkfifo, "is a FIFO, not a file"),
    "a device": (lambda path: path.symlink_to("/dev/tty"), "is a device, not a file"),
    "a socket": (_socket, "is a socket, not a file"),
}


def _user(folder: Path, text: str) -> ConfigFiles:
    (folder / "d").mkdir()
    (folder / "nginx.conf").write_text(text)
    return rig.config_files(rig.settings(folder, NGINX_CONF=str(folder / "nginx.conf")))


@pytest.mark.parametrize("kind", ODD)
def test_an_entry_of_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Between two files it alone is left out, and named; once it is a file, it is read."""
    user = _user(tmp_path, "http { include d/*.conf; }")
    (tmp_path / "d" / "a.conf").write_text(_SERVER % "a")
    (tmp_path / "d" / "c.conf").write_text(_SERVER % "c")
    make, reason = ODD[kind]
    odd = tmp_path / "d" / "b.conf"
    monkeypatch.chdir(tmp_path / "d")  # a socket's path may be too long
    make(Path("b.conf"))
    found = user.read()
    assert found is not None
    assert [server.names for server in found.configuration.servers] == [("a",), ("c",)]
    assert rig.gate(found).users_part == {str(odd): reason}
    odd.rmdir() if odd.is_dir() and not odd.is_symlink() else odd.unlink()
    odd.write_text(_SERVER % "b")
    again = user.read()
    assert again is not None
    assert [server.names for server in again.configuration.servers] == [("a",), ("b",), ("c",)]
    assert not rig.gate(again).users_part


@pytest.mark.parametrize("kind", ["a folder", "a dangling link", "a FIFO"])
def test_inside_a_server(tmp_path: Path, kind: str) -> None:
    """In a server's own pattern, too, what is no file is left out; the server runs."""
    user = _user(tmp_path, "http { server { listen 8080; include d/*; } }")
    ODD[kind][0](tmp_path / "d" / "b.conf")
    found = user.read()
    assert found is not None
    assert list(rig.gate(found).users_part) == [str(tmp_path / "d" / "b.conf")]


def test_an_empty_device(tmp_path: Path) -> None:
    """A link to /dev/null is an empty file, as for NGINX."""
    user = _user(tmp_path, "http { include d/*; }")
    (tmp_path / "d" / "default.conf").symlink_to("/dev/null")
    found = user.read()
    assert found is not None
    assert not rig.gate(found).users_part


@pytest.mark.parametrize("kind", ["a folder", "a dangling link", "a FIFO"])
def test_named_by_itself(tmp_path: Path, kind: str) -> None:
    """What an include names alone is needed: the server that names it goes, not the other."""
    user = _user(tmp_path, "http {\nserver { listen 8080; }\nserver { include d/b.conf; }\n}")
    ODD[kind][0](tmp_path / "d" / "b.conf")
    found = user.read()
    assert found is not None
    assert list(rig.gate(found).users_part) == [f"{tmp_path}/nginx.conf:3"]


@pytest.mark.parametrize("kind", ["a folder", "a dangling link", "a FIFO"])
def test_the_root(tmp_path: Path, kind: str) -> None:
    """As the root it is refused by name, and not waited for."""
    user = _user(tmp_path, "")
    (tmp_path / "nginx.conf").unlink()
    ODD[kind][0](tmp_path / "nginx.conf")
    with pytest.raises(Refused, match=r"NGINX_CONF: .*/nginx\.conf is a "):
        user.read()


@pytest.mark.parametrize(
    "end",
    [
        "}",
        "}\n",
        "\n}",
        'add_header X "#1"; }',
        "add_header X a#b;}",
        "# } a comment\n}",
        "#\n}",
        "server { }}",
        "\t }",
    ],
)
def test_filled_templates(tmp_path: Path, end: str) -> None:
    """Those of a read-only root are read at the end of `http`, whatever the line of its brace holds."""
    user = _user(tmp_path, f"events {{ }}\nhttp {{ gzip on; {end}")
    more = tmp_path / "run" / "conf.d"
    more.mkdir(parents=True)
    (more / "a.conf").write_text("server { listen 81; }")
    found = user.read().configuration
    assert not found.faults
    assert [server.listeners[0].port for server in found.servers][-1] == 81
    assert str(more / "a.conf") in found.files
