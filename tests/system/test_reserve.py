"""The reserve: room that is given up to a write which finds none, and taken again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.system import reserve


def _held(folder: Path) -> int:
    return (folder / ".reserve").stat().st_size


def _full_until(folder: Path, held: int, error: int = errno.ENOSPC) -> Callable[[], str]:
    """A write that finds no room as long as more than so much is held back."""

    def write() -> str:
        if _held(folder) > held:
            raise OSError(error, os.strerror(error))
        return "written"

    return write


def test_it_holds_real_room(tmp_path: Path) -> None:
    """Two megabytes are really taken, by nobody but us to be read; taking them again changes nothing."""
    for _ in range(2):
        reserve.take(tmp_path)
        found = (tmp_path / ".reserve").stat()
        assert found.st_size == 2 << 20
        assert found.st_blocks * 512 >= found.st_size
        assert found.st_mode & 0o777 == 0o600


@pytest.mark.parametrize("held", [(2 << 20) - 1, 1 << 20, 0])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_write_without_room(tmp_path: Path, held: int, error: int) -> None:
    """It gets as much as it needs, and the reserve is whole again afterwards."""
    reserve.take(tmp_path)
    assert reserve.writing(tmp_path, _full_until(tmp_path, held, error)) == "written"
    assert _held(tmp_path) == 2 << 20


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_what_it_cannot_help(tmp_path: Path, error: int) -> None:
    """The write's own error comes back, and the reserve stays, or is taken again."""
    reserve.take(tmp_path)
    with pytest.raises(OSError, match=os.strerror(error)):
        reserve.writing(tmp_path, _full_until(tmp_path, -1, error))
    assert _held(tmp_path) == 2 << 20


def test_replace(tmp_path: Path) -> None:
    """A file is replaced as a whole, with its mode whatever the umask; a leftover of a killed run is no obstacle."""
    path = tmp_path / "file"
    before = os.umask(0o077)
    try:
        reserve.replace(tmp_path, path, b"one", mode=0o644)
        (tmp_path / ".file.new").write_bytes(b"half")
        with path.open("rb") as file:
            reserve.replace(tmp_path, path, b"two", mode=0o644)
            assert file.read() == b"one"
    finally:
        os.umask(before)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_replace_that_fails(tmp_path: Path) -> None:
    """What cannot take its place leaves nothing behind."""
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        reserve.replace(tmp_path, tmp_path / "file", b"one")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_without_a_folder(tmp_path: Path) -> None:
    """Nothing can be held where there is no folder; a write says itself what it lacks."""
    reserve.take(tmp_path / "none")
    assert not reserve.give_up(tmp_path / "none")
    assert not reserve.is_full(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        reserve.writing(tmp_path / "none", (tmp_path / "none" / "file").read_text)


def test_no_link_is_followed(tmp_path: Path) -> None:
    """A link in its place leads nowhere: what it names keeps its bytes."""
    target = tmp_path / "target"
    target.write_bytes(b"x" * 100)
    (tmp_path / ".reserve").symlink_to(target)
    reserve.take(tmp_path)
    assert not reserve.give_up(tmp_path)
    assert target.stat().st_size == 100
