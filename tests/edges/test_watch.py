"""Watched files: real changes by editors, by secrets agents and by Kubernetes are noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from entrypoint.edges import watch
from tests.support.waiting import until

SOON = 0.1  # seconds


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are told soon after one another, and a watch that ended begins again at once."""
    monkeypatch.setattr(watch, "_DEBOUNCE", round(SOON * 1000))
    monkeypatch.setattr(watch, "_STEP", round(SOON * 500))
    monkeypatch.setattr(watch, "_FIRST_PAUSE", SOON)


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
    watch.Watch(watch.spots([tmp_path]), told.set)
    _until_told(tmp_path, told)
    change(tmp_path)
    assert told.wait(30)
    assert watch.contents([tmp_path / "key.pem"]) != before


def _until_told(folder: Path, told: threading.Event) -> None:
    """Watching begins some time after it is made: touch another file until the first event comes."""

    def touched() -> bool:
        (folder / "other").touch()
        return told.wait(2 * SOON)

    until(touched, "the watch has begun")
    while told.wait(5 * SOON):  # the last touches may come late
        told.clear()


def test_nothing_to_watch(tmp_path: Path) -> None:
    """Without a folder that exists, no thread is started."""
    before = threading.active_count()
    watch.Watch(watch.spots([tmp_path / "none", Path(__file__)]), lambda: None)
    watch.Watch([], lambda: None)
    assert threading.active_count() == before


def test_a_quiet_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is told when nobody is busy any more, and at the end of all patience."""
    monkeypatch.setattr(watch, "_LOOK", 0.01)
    told = threading.Event()
    looks = iter([True, True, True])
    watching = watch.Watch(watch.spots([tmp_path]), told.set, lambda: next(looks, False))
    _until_told(tmp_path, told)
    assert list(looks) == []
    watching.stop()
    monkeypatch.setattr(watch, "_LONGEST", 0.1)
    watching = watch.Watch(watch.spots([tmp_path]), told.set, lambda: True)
    _until_told(tmp_path, told)
    watching.stop()


def test_a_folder_made_anew(tmp_path: Path) -> None:
    """It is another one, which has to be watched anew; what is no folder is none."""
    folder, other = tmp_path / "conf.d", tmp_path / "file"
    folder.mkdir()
    other.touch()
    before = watch.spots([folder, folder, other, tmp_path / "none"])
    assert [each.path for each in before] == [folder]
    assert watch.spots([folder]) == before
    folder.rename(tmp_path / "old")
    folder.mkdir()
    assert watch.spots([folder]) != before


def test_being_written(tmp_path: Path) -> None:
    """A file that changed within the last second may change again; one from the future, or a missing one, waits not."""
    path = tmp_path / "nginx.conf"
    assert not watch.being_written([path], 1_000)
    path.touch()
    os.utime(path, (1_000, 1_000))
    found = {now: watch.being_written([tmp_path / "none", path], now) for now in (999.9, 1_000, 1_000.9, 1_001)}
    assert found == {999.9: False, 1_000: True, 1_000.9: True, 1_001: False}


LATIN = "gr\udcf6\udcdfe"


@pytest.mark.parametrize("name", [f"{LATIN}.pem", "plain.pem"])
@pytest.mark.parametrize("folder", [LATIN, "plain"])
def test_names_that_are_not_utf8(tmp_path: Path, folder: str, name: str) -> None:
    """Of a file or of its folder: each of several changes is told, and those of others as well."""
    (tmp_path / folder).mkdir()
    told = threading.Event()
    watching = watch.Watch(watch.spots([tmp_path / folder]), told.set)
    _until_told(tmp_path / folder, told)
    for text in ("1", "2", "3"):
        told.clear()
        (tmp_path / folder / name).write_text(text)
        assert told.wait(30)
        _until_told(tmp_path / folder, told)  # what ended the watch is over, and it has begun again
    watching.stop()


def test_a_watch_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It begins again after whatever went wrong, which is said once, and files are compared meanwhile."""
    real, failures = watchfiles.watch, iter([OSError(24, "too many"), RuntimeError("odd"), RuntimeError("odd")])

    def failing(*paths: str, **options: Any) -> Any:
        for error in failures:
            raise error
        return real(*paths, **options)

    monkeypatch.setattr(watchfiles, "watch", failing)
    told: list[int] = []
    watching = watch.Watch(watch.spots([tmp_path]), lambda: told.append(1))
    until(lambda: len(told) == 3, "all failures")
    event = threading.Event()
    watching._changed = event.set
    _until_told(tmp_path, event)
    watching.stop()
    assert [record.message.count("tried again") for record in caplog.records] == [1, 1]


def test_a_folder_that_goes(tmp_path: Path) -> None:
    """One of two: the other one is watched on."""
    gone, stays = tmp_path / "gone", tmp_path / "stays"
    gone.mkdir()
    stays.mkdir()
    spots, told = watch.spots([gone, stays]), threading.Event()
    gone.rmdir()
    watching = watch.Watch(spots, told.set)
    _until_told(stays, told)
    watching.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_closed_folder(tmp_path: Path) -> None:
    """For whoever may not read it: it is said, the other one is watched, and once it is open it is another spot."""
    closed, stays = tmp_path / "closed", tmp_path / "stays"
    closed.mkdir(mode=0)
    stays.mkdir(mode=0o777)
    for path in (tmp_path, *tmp_path.parents):
        if path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)
        else:
            break
    stays.chmod(0o777)
    script = f"""
import logging, os, pathlib, threading, watchfiles
from entrypoint.edges import watch
os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
logging.basicConfig()
closed, stays = pathlib.Path({str(closed)!r}), pathlib.Path({str(stays)!r})
told = threading.Event()
watch.Watch(watch.spots([closed, stays]), told.set)
for number in range(40):
    (stays / "file").write_text(str(number))
    if told.wait(0.7):
        print("told")
        break
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
    )
    assert done.stdout == "told\n", done.stderr
    assert f"cannot watch {closed}: closed to uid 65534" in done.stderr
    before = watch.spots([closed])
    assert before
    assert watch.Spot(*before[0][:3], readable=False) != before[0]
