"""What NGINX opens keys with: for the owner only, replaced by one rename, forgotten when nobody needs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from entrypoint.core.generation.manifest import Manifest
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Refused
from entrypoint.core.x509 import pem
from entrypoint.edges import key_files, nginx
from tests.support import pki, rig

SECRET = "corréct horse".encode()
ISSUED = pki.issue(rig.NAME, None, names=[rig.NAME])


def _plan(folder: Path, **changes: str) -> Plan:
    """A plan with one pair, whose key is encrypted."""
    return rig.plan(rig.settings(folder, **changes), rig.usable(ISSUED, key_pem=pki.key_pem(ISSUED.key, SECRET)))


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
    assert key_files.passwords(path) == tuple(expected)


def test_no_file(tmp_path: Path) -> None:
    """A missing file, or a folder in its place, holds no password."""
    assert key_files.passwords(tmp_path / "none") == ()
    assert key_files.passwords(tmp_path) == ()


def test_write(tmp_path: Path) -> None:
    """Each password is written once, for the owner only, whatever the umask; nothing temporary stays."""
    plan = _plan(tmp_path)
    path = Path(plan.password_file)
    before = os.umask(0)
    try:
        key_files.provide(plan, [b"one", b"two", b"one"])
    finally:
        os.umask(before)
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_replace(tmp_path: Path) -> None:
    """A file that is open keeps its content, and a leftover of a killed run is no obstacle."""
    plan = _plan(tmp_path)
    path = Path(plan.password_file)
    key_files.provide(plan, [b"one"])
    path.with_name(f".{path.name}.new").write_bytes(b"half")
    with path.open("rb") as file:
        key_files.provide(plan, [b"two"])
        assert file.read() == b"one\n"
    assert path.read_bytes() == b"two\n"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_to_be_found(tmp_path: Path) -> None:
    """Where no passwords are offered, those of the user's file count, then those of what ran before, each once."""
    plan = _plan(tmp_path)
    path = Path(plan.password_file)
    (tmp_path / "ssl_pw.txt").write_bytes(b"new\nboth\n")
    key_files.provide(plan, ())
    path.rename(path.with_name("earlier.txt"))
    path.with_name("earlier.txt").write_bytes(b"both\nold\n")
    key_files.provide_missing(plan)
    assert path.read_bytes() == b"new\nboth\nold\n"


def test_what_is_there_stays(tmp_path: Path) -> None:
    """A start leaves the password file that opened the keys before, whatever the user's file holds now."""
    plan = _plan(tmp_path)
    key_files.provide(plan, [b"one"])
    (tmp_path / "ssl_pw.txt").write_bytes(b"two\n")
    key_files.provide_missing(plan)
    assert Path(plan.password_file).read_bytes() == b"one\n"


def test_keys_in_clear(tmp_path: Path) -> None:
    """With KEY_UNLOCK=memory the key is decrypted once, for the owner only; one that nothing opens is left out."""
    plan = _plan(tmp_path, KEY_UNLOCK="memory")
    (path,) = map(Path, plan.unlocked)
    key_files.provide(plan, [b"other"])
    assert not path.exists()
    key_files.provide(plan, [b"other", SECRET])
    key = path.read_bytes()
    assert b"-----BEGIN PRIVATE KEY-----" in key
    assert not pem.is_encrypted(key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.write_bytes(b"as it is")
    key_files.provide(plan, [SECRET])
    assert path.read_bytes() == b"as it is"
    assert plan.password_file == ""


def test_keep_only(tmp_path: Path) -> None:
    """Files that no generation in use names are forgotten; other files are not touched."""

    def left() -> set[str]:
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}

    for kind, end in (("passwords", "txt"), ("keys", "pem")):
        (tmp_path / kind).mkdir()
        for name in (f"a.{end}", f"b.{end}", f"c.{end}", f".c.{end}.new", "other"):
            (tmp_path / kind / name).write_bytes(b"x")
    one = Manifest(password_file=f"{tmp_path}/passwords/b.txt", unlocked=(f"{tmp_path}/keys/a.pem",))
    other = Manifest(password_file=f"{tmp_path}/passwords/gone.txt", unlocked=(f"{tmp_path}/keys/b.pem",))
    key_files.keep_only(tmp_path, [one, other, Manifest()])
    others = {"passwords/other", "keys/other"}
    assert left() == {"passwords/b.txt", "keys/a.pem", "keys/b.pem"} | others
    key_files.keep_only(tmp_path, [])
    assert left() == others
    key_files.keep_only(tmp_path / "none", [])


def test_nginx_reads_it(tmp_path: Path) -> None:
    """NGINX opens an encrypted key with the file as written, the right password being any of its lines."""
    plan = _plan(tmp_path)
    rig.run_folders(plan.settings.run_dir)
    config = rig.write(tmp_path / "generation", plan.files(1))
    key_files.provide(plan, [b"other", SECRET])
    nginx.test(rig.NEW, config)
    key_files.provide(plan, [b"other"])
    with pytest.raises(Refused):
        nginx.test(rig.NEW, config)
