"""NGINX's password files: for the owner only, replaced by one rename, forgotten when nobody needs them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from entrypoint.core.model import Refused
from entrypoint.edges import nginx, passwords
from tests.support import pki, rig


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one\ntwo\n", [b"one", b"two"]),
        (b"one\r\n\r\ntwo", [b"one", b"two"]),
        (b"", []),
        (b"\n\n", []),
        (b" blank kept \n", [b" blank kept "]),
        ("pässwörd\n".encode("latin-1"), ["pässwörd".encode("latin-1")]),
    ],
)
def test_lines(tmp_path: Path, content: bytes, expected: list[bytes]) -> None:
    """Passwords are lines, byte for byte, whatever their end; empty ones are none."""
    path = tmp_path / "pw.txt"
    path.write_bytes(content)
    assert passwords.lines(path) == expected


def test_no_file(tmp_path: Path) -> None:
    """A missing file, or a folder in its place, holds no password."""
    assert passwords.lines(tmp_path / "none") == []
    assert passwords.lines(tmp_path) == []


def test_write(tmp_path: Path) -> None:
    """Each password is written once, for the owner only, whatever the umask; nothing temporary stays."""
    path = tmp_path / "run" / "passwords" / "a.txt"
    before = os.umask(0)
    try:
        passwords.write(path, [b"one", b"two", b"one"])
    finally:
        os.umask(before)
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_replace(tmp_path: Path) -> None:
    """A file that is open keeps its content, and a leftover of a killed run is no obstacle."""
    path = tmp_path / "a.txt"
    passwords.write(path, [b"one"])
    path.with_suffix(".new").write_bytes(b"half")
    with path.open("rb") as file:
        passwords.write(path, [b"two"])
        assert file.read() == b"one\n"
    assert path.read_bytes() == b"two\n"
    assert list(tmp_path.iterdir()) == [path]


def test_keep_only(tmp_path: Path) -> None:
    """Files that no generation in use names are forgotten; other files are not touched."""
    for name in ("a.txt", "b.txt", "c.txt", "c.new", "other"):
        (tmp_path / name).write_bytes(b"x")
    passwords.keep_only(tmp_path, [str(tmp_path / "b.txt"), str(tmp_path / "gone.txt"), ""])
    assert {path.name for path in tmp_path.iterdir()} == {"b.txt", "other"}
    passwords.keep_only(tmp_path, [])
    assert {path.name for path in tmp_path.iterdir()} == {"other"}
    passwords.keep_only(tmp_path / "none", [])


def test_nginx_reads_it(tmp_path: Path) -> None:
    """NGINX opens an encrypted key with the file as written, the right password being any of its lines."""
    issued = pki.issue(rig.NAME, None, names=[rig.NAME])
    secret = "corréct horse".encode()
    wanted = rig.plan(rig.settings(tmp_path), rig.usable(issued, key_pem=pki.key_pem(issued.key, secret)))
    rig.run_folders(wanted.settings.run_dir)
    config = rig.write(tmp_path / "generation", wanted.files(1))
    passwords.write(Path(wanted.password_file), [b"other", secret])
    nginx.test(rig.NEW, config)
    passwords.write(Path(wanted.password_file), [b"other"])
    with pytest.raises(Refused):
        nginx.test(rig.NEW, config)
