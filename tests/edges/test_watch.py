"""Watched files: real changes by editors, by secrets agents and by Kubernetes are noticed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.edges import watch
from tests.faults import rig


def test_contents(tmp_path: Path) -> None:
    """The hash follows what the files hold, and in which order; dates and modes do not matter."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    before = watch.contents([one, two])
    assert watch.contents([two, one]) != before
    one.touch()
    one.chmod(0o400)
    assert watch.contents([one, two]) == before
    one.chmod(0o600)
    one.write_bytes(b"12")
    two.write_bytes(b"")
    assert watch.contents([one, two]) not in (before, watch.contents([two, one]))
    two.write_bytes(b"2")
    one.write_bytes(b"1")
    assert watch.contents([one, two]) == before


def test_contents_of_what_is_missing(tmp_path: Path) -> None:
    """A file that comes, goes, or becomes a folder changes the hash, and is no accident."""
    path = tmp_path / "key.pem"
    hashes = [watch.contents([path])]
    path.write_bytes(b"")
    hashes.append(watch.contents([path]))
    path.unlink()
    assert watch.contents([path]) == hashes[0]
    path.mkdir()
    hashes.append(watch.contents([path]))
    assert len(set(hashes)) == 3
    assert watch.contents([]) == watch.contents(iter(()))


def _write(folder: Path) -> None:
    (folder / "key.pem").write_bytes(b"new")


def _rename(folder: Path) -> None:
    (folder / ".key.new").write_bytes(b"new")
    (folder / ".key.new").rename(folder / "key.pem")


def _kubernetes(folder: Path) -> None:
    """A secret's volume: the file is a link through `..data`, which is swapped for another folder by one rename."""
    new = folder / "..2026_01_02"
    new.mkdir()
    (new / "key.pem").write_bytes(b"new")
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").rename(folder / "..data")


def _remove(folder: Path) -> None:
    (folder / "key.pem").unlink()


@pytest.mark.parametrize("change", [_write, _rename, _kubernetes, _remove])
def test_changes_are_told(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Each way of changing a file is told, and by then the content has changed."""
    if change is _kubernetes:
        old = tmp_path / "..2026_01_01"
        old.mkdir()
        (old / "key.pem").write_bytes(b"old")
        (tmp_path / "..data").symlink_to(old.name)
        (tmp_path / "key.pem").symlink_to("..data/key.pem")
    else:
        (tmp_path / "key.pem").write_bytes(b"old")
    before = watch.contents([tmp_path / "key.pem"])
    told = threading.Event()
    watch.Watch(watch.folders([tmp_path]), told.set)
    _until_told(tmp_path, told)
    change(tmp_path)
    assert told.wait(30)
    assert watch.contents([tmp_path / "key.pem"]) != before


def _until_told(folder: Path, told: threading.Event) -> None:
    """Watching begins some time after it is made: touch another file until the first event comes."""

    def touched() -> bool:
        (folder / "other").touch()
        return told.wait(0.6)

    rig.wait_for("the watch has begun", touched)
    while told.wait(1):  # the last touches may come late
        told.clear()


def test_nothing_to_watch(tmp_path: Path) -> None:
    """Without a folder that exists, no thread is started."""
    before = threading.active_count()
    watch.Watch(watch.folders([tmp_path / "none", Path(__file__)]), lambda: None)
    watch.Watch([], lambda: None)
    assert threading.active_count() == before


def test_a_quiet_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is told when nobody is busy any more, and at the end of all patience."""
    monkeypatch.setattr(watch, "_LOOK", 0.01)
    told = threading.Event()
    looks = iter([True, True, True])
    watching = watch.Watch(watch.folders([tmp_path]), told.set, lambda: next(looks, False))
    _until_told(tmp_path, told)
    assert list(looks) == []
    watching.stop()
    monkeypatch.setattr(watch, "_LONGEST", 0.1)
    watching = watch.Watch(watch.folders([tmp_path]), told.set, lambda: True)
    _until_told(tmp_path, told)
    watching.stop()


def test_a_folder_made_anew(tmp_path: Path) -> None:
    """It is another one, which has to be watched anew; what is no folder is none."""
    folder, other = tmp_path / "conf.d", tmp_path / "file"
    folder.mkdir()
    other.touch()
    before = watch.folders([folder, folder, other, tmp_path / "none"])
    assert [each.path for each in before] == [folder]
    assert watch.folders([folder]) == before
    folder.rename(tmp_path / "old")
    folder.mkdir()
    assert watch.folders([folder]) != before


def test_being_written(tmp_path: Path) -> None:
    """A file that changed within the last second may change again; one from the future, or a missing one, waits not."""
    path = tmp_path / "nginx.conf"
    assert not watch.being_written([path], 1_000)
    path.touch()
    os.utime(path, (1_000, 1_000))
    found = {now: watch.being_written([tmp_path / "none", path], now) for now in (999.9, 1_000, 1_000.9, 1_001)}
    assert found == {999.9: False, 1_000: True, 1_000.9: True, 1_001: False}
