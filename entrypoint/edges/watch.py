"""The user's key, password and root files: told when they may have changed, and compared by content.

Folders are watched, not files: Kubernetes swaps a ``..data`` symlink, editors and secrets agents rename. Watching may
fail (network file systems), so the caller compares contents on its own timer as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("certfront.watch")

_DEBOUNCE, _STEP = 1000, 500  # milliseconds; few wake-ups
# Seconds without a change that make a quiet moment, between looks for one, and the most that is waited for it.
_QUIET, _LOOK, _LONGEST = 1.0, 0.25, 10.0


class Folder(NamedTuple):
    """A folder under a path, told from another one that takes its place."""

    path: Path
    device: int
    inode: int


def contents(paths: Iterable[Path]) -> str:
    """A hash over what the files hold; a file that cannot be read counts with its reason."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            data = path.read_bytes()
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


def folders(paths: Iterable[Path]) -> tuple[Folder, ...]:
    """Those of the paths that are folders, closed ones too. One that is made anew is another folder."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                found.add(Folder(path, status.st_dev, status.st_ino))
    return tuple(sorted(found))


class Watch:
    """Calls ``changed``, from a thread of its own, after whatever happens in one of the folders.

    While ``busy`` says so (watchfiles does not tell one change of a file from several) that waits, though not for ever.
    """

    def __init__(
        self, folders: Iterable[Folder], changed: Callable[[], object], busy: Callable[[], bool] = lambda: False
    ) -> None:
        self.folders = tuple(folders)
        self._changed, self._busy = changed, busy
        self._stop = threading.Event()
        if self.folders:
            threading.Thread(target=self._run, daemon=True, name="watch").start()

    def stop(self) -> None:
        """End it; without waiting for the thread."""
        self._stop.set()

    def _run(self) -> None:
        import watchfiles

        try:
            for _ in watchfiles.watch(
                *(folder.path for folder in self.folders),
                stop_event=self._stop,
                debounce=_DEBOUNCE,
                step=_STEP,
                recursive=False,
                watch_filter=None,
                raise_interrupt=False,
            ):
                self._wait_for_quiet()
                self._changed()
        except OSError as error:
            folders = ", ".join(str(folder.path) for folder in self.folders)
            log.warning("cannot watch %s (%s): its files are compared on a timer only", folders, error)

    def _wait_for_quiet(self) -> None:
        for _ in range(int(_LONGEST / _LOOK)):
            if not self._busy() or self._stop.wait(_LOOK):
                return
