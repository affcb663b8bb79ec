"""The user's files and folders, watched for changes and compared by content.

Folders are watched, because Kubernetes swaps a ``..data`` link and editors and secrets agents rename; files that are
mounted by themselves are watched too, because their folder is the host's. Watching may fail (network file systems), so
the caller compares contents on its own timer as well.
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
    """A watched folder, or a file that is mounted by itself, with its inode: a replacement is another spot."""

    path: Path
    device: int
    inode: int
    readable: bool


def contents(paths: Iterable[Path]) -> str:
    """A hash of the files' contents; for an unreadable file its error number counts."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            data = files.read(path)
        except OSError as error:
            data = repr(error.errno).encode()
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def being_written(paths: Iterable[Path], now: float) -> bool:
    """Whether a file was modified within the last second before ``now``, and so may still be incomplete."""
    return any(0 <= now - changed < _QUIET for path in paths if (changed := _changed_at(path)) is not None)


def _changed_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def spots(folders: Iterable[Path], files: Iterable[Path] = ()) -> tuple[Spot, ...]:
    """The existing folders among ``folders``, unreadable ones too, and the existing ``files``."""
    wanted = [(path, stat.S_ISDIR) for path in folders] + [(path, stat.S_ISREG) for path in files]
    found = set()
    for path, fits in wanted:
        with contextlib.suppress(OSError):
            status = path.stat()
            if fits(status.st_mode):
                found.add(Spot(path, status.st_dev, status.st_ino, os.access(path, os.R_OK)))
    return tuple(sorted(found))


class Watch:
    """A thread that calls ``changed`` after each change at one of the spots.

    The call waits while ``busy`` returns true, as watchfiles does not tell one change of a file from several, but not
    for ever. A spot that cannot be watched does not affect the others, and a watch that fails is started again.
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
        """Stop the watch, without waiting for its thread."""
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
        """Watch until stopped or failed; returns the reason. Changes may have been missed by then."""
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

        # Not `awatch`: it runs in anyio, whose asyncio back end takes 1.9 MB of memory.
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
        """The existing spots as paths; watchfiles takes UTF-8 only, so other names go by a path in /proc/self/fd."""
        found = [spot.path for spot in self.spots if spot.readable and spot.path.exists()]
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return [str(path) if _is_utf8(path) else _numbered(path, stack) for path in found]

    def _say(self, reason: str) -> None:
        """Log each reason once; a changed file whose name is not UTF-8 is no failure."""
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
