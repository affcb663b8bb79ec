"""What belongs to root alone, told apart from what others own or could have written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.edges import ownership

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to take over")

OTHER = 65534


def _other(path: Path) -> None:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "the folder is another user's": _other,
    "others may write the folder": lambda folder: folder.chmod(0o757),
    "the group may write the folder": lambda folder: folder.chmod(0o775),
    "a file is another user's": lambda folder: _other(folder / "below" / "file"),
    "others may write a file": lambda folder: (folder / "below" / "file").chmod(0o666),
    "a folder below is another user's": lambda folder: _other(folder / "below"),
    "a link below": lambda folder: (folder / "below" / "link").symlink_to("/etc"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "folder"
    (found / "below").mkdir(parents=True)
    (found / "below" / "file").write_text("text")
    return found


def test_root_s_own(folder: Path) -> None:
    """A folder of root's, a link of root's, and what is not there, are not foreign."""
    assert not ownership.is_foreign(folder)
    (folder.parent / "link").symlink_to("folder")
    assert not ownership.is_foreign(folder.parent / "link")
    assert not ownership.is_foreign(folder.parent / "nothing")


@pytest.mark.parametrize("why", list(FOREIGN))
def test_foreign(folder: Path, why: str) -> None:
    """Whatever another user has, or could have, a hand in is foreign."""
    FOREIGN[why](folder)
    assert ownership.is_foreign(folder)


@pytest.mark.parametrize("how", ["another user's", "a second name of root's"])
def test_foreign_links(folder: Path, how: str) -> None:
    """A link counts by itself, wherever it leads; one of root's that has a second name may have been put there."""
    link = folder.parent / "link"
    link.symlink_to("folder")
    if how == "another user's":
        _other(link)
    else:
        os.link(link, folder.parent / "another", follow_symlinks=False)
    assert ownership.is_foreign(link)
    assert not ownership.is_own_link(link)


@pytest.mark.parametrize(("mode", "left"), [(0o1777, 0o755), (0o775, 0o755), (0o700, 0o700), (0o2770, 0o750)])
def test_claim(folder: Path, mode: int, left: int) -> None:
    """A claimed folder is root's, and nobody else can write it; it is opened to nobody who could not read it before."""
    _other(folder)
    folder.chmod(mode)
    ownership.claim(folder)
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o7777) == (0, left)
    ownership.claim(folder.parent / "nothing")


def test_claim_follows_no_foreign_link(folder: Path) -> None:
    """A link of root's leads to a folder that is claimed; one of another user's to none."""
    folder.chmod(0o777)
    link = folder.parent / "link"
    link.symlink_to("folder")
    ownership.claim(link)
    assert folder.stat().st_mode & 0o777 == 0o755
    folder.chmod(0o777)
    _other(link)
    with pytest.raises(OSError, match="link"):
        ownership.claim(link)
    assert folder.stat().st_mode & 0o777 == 0o777


def test_discard(folder: Path) -> None:
    """Whatever it is goes; what a link leads to stays."""
    (folder / "below" / "link").symlink_to(folder.parent)
    os.mkfifo(folder.parent / "fifo")
    (folder.parent / "link").symlink_to("folder")
    for name in ("fifo", "link"):
        ownership.discard(folder.parent / name)
    assert (folder / "below" / "file").read_text() == "text"
    _other(folder)
    ownership.discard(folder)
    assert list(folder.parent.iterdir()) == []


def test_above(folder: Path) -> None:
    """A folder above in which another user can exchange what is below is named; a sticky one of root's is none."""
    assert ownership.kept_apart(folder / "below") == ""
    folder.chmod(0o1777)
    assert ownership.kept_apart(folder / "below") == ""
    folder.chmod(0o777)
    assert ownership.kept_apart(folder / "below") == str(folder)
    folder.chmod(0o755)
    _other(folder)
    assert ownership.kept_apart(folder / "below") == str(folder)
