"""The user's key, password and root files: told when they may have changed, and compared by content.

Folders are watched: Kubernetes swaps a ``..data`` symlink, editors and secrets agents rename; and beside them those
files that are mounted by themselves, as their folder on the host is not here. Watching may fail (network file systems),
so the caller compares contents on its own timer as well.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from entrypoint.system import files

log = logging.getLogger("certfront.watch")

_DEBOUNCE, _STEP = 1000, 500  # milliseconds; few wake-ups
# Seconds without a change that make a quiet moment, between looks for one, and the most that is waited for it.
_QUIET, _LOOK, _LONGEST = 1.0, 0.25, 10.0
# Seconds before a watch that failed begins again, twice as many after each failure, unless it lasted long before.
_FIRST_PAUSE, _LAST_PAUSE, _LONG = 0.5, 60.0, 10.0
_NOT_UTF8 = "Unable to decode path"  # how watchfiles ends where the name of a changed file is none
_ON_A_TIMER = "its files are compared on a timer only"


class Spot(NamedTuple):
    """A folder, or a file that is mounted by itself, under a path; told from another one that takes its place."""

    path: Path
    device: int
    inode: int
    readable: bool


def contents(paths: Iterable[Path]) -> str:
    """A hash over what the files hold; a file that cannot be read counts with its reason."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            data = files.read(path)
        except OSError as error:
            data = repr(error.errno).encode()
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def being_written(paths: Iterable[Path], now: float) -> bool:
    """Whether one of the files was changed within the last second before ``now``: it may be half of what it will be."""
    return any(0 <= now - changed < _QUIET for path in paths if (changed := _changed_at(path)) is not None)


def _changed_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def spots(folders: Iterable[Path], files: Iterable[Path] = ()) -> tuple[Spot, ...]:
    """Those of the folders that are folders, closed ones too, and the files. What is made anew is another one."""
    wanted = [(path, stat.S_ISDIR) for path in folders] + [(path, stat.S_ISREG) for path in files]
    found = set()
    for path, fits in wanted:
        with contextlib.suppress(OSError):
            status = path.stat()
            if fits(status.st_mode):
                found.add(Spot(path, status.st_dev, status.st_ino, os.access(path, os.R_OK)))
    return tuple(sorted(found))


class Watch:
    """Calls ``changed``, from a thread of its own, after whatever happens at one of the spots.

    While ``busy`` says so (watchfiles does not tell one change of a file from several) that waits, though not for ever.
    A spot that cannot be watched leaves the others alone, and a watch that fails begins again.
    """

    def __init__(
        self, spots: Iterable[Spot], changed: Callable[[], object], busy: Callable[[], bool] = lambda: False
    ) -> None:
        self.spots = tuple(spots)
        self._changed, self._busy = changed, busy
        self._stop = threading.Event()
        self._said: set[str] = set()
        if closed := [spot.path for spot in self.spots if not spot.readable]:
            log.warning("cannot watch %s: closed to uid %d; %s", _list(closed), os.geteuid(), _ON_A_TIMER)
        if any(spot.readable for spot in self.spots):
            threading.Thread(target=self._run, daemon=True, name="watch").start()

    def stop(self) -> None:
        """End it; without waiting for the thread."""
        self._stop.set()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            began = time.monotonic()
            reason = self._follow()
            lasted = time.monotonic() - began > _LONG
            pause = _FIRST_PAUSE if lasted or _NOT_UTF8 in reason else min(2 * pause, _LAST_PAUSE)
            self._stop.wait(pause)

    def _follow(self) -> str:
        """Watch until it is stopped, or fails; returns why. Something may have changed unseen by then."""
        try:
            with contextlib.ExitStack() as stack:
                self._tell(*self._paths(stack))
        except Exception as error:  # noqa: BLE001 - whatever it is, no change may go unseen from now on
            self._say(str(error))
            self._wait_for_quiet()
            self._changed()
            return str(error)
        return ""

    def _tell(self, *paths: str) -> None:
        import watchfiles

        for _ in watchfiles.watch(
            *paths,
            stop_event=self._stop,
            debounce=_DEBOUNCE,
            step=_STEP,
            recursive=False,
            watch_filter=None,
            raise_interrupt=False,
        ):
            self._wait_for_quiet()
            self._changed()

    def _paths(self, stack: contextlib.ExitStack) -> list[str]:
        """Those that are still there; watchfiles takes no path that is not UTF-8, but a number leads there as well."""
        found = [spot.path for spot in self.spots if spot.readable and spot.path.exists()]
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return [str(path) if _is_utf8(path) else _numbered(path, stack) for path in found]

    def _say(self, reason: str) -> None:
        """Once for each reason. A name that is not UTF-8 is none: it changed, and that is told."""
        if _NOT_UTF8 in reason or reason in self._said:
            return
        self._said.add(reason)
        paths = _list(spot.path for spot in self.spots if spot.readable)
        log.warning("cannot watch %s (%s): it is tried again, and until then %s", paths, reason, _ON_A_TIMER)

    def _wait_for_quiet(self) -> None:
        for _ in range(int(_LONGEST / _LOOK)):
            if not self._busy() or self._stop.wait(_LOOK):
                return


def _list(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))


def _numbered(path: Path, stack: contextlib.ExitStack) -> str:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return f"/proc/self/fd/{descriptor}"


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
