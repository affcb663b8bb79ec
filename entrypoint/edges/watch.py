"""The user's key, password and root files: told when they may have changed, and compared by content.

Folders are watched, not files: Kubernetes swaps a ``..data`` symlink, editors and secrets agents rename. Watching may
fail (network file systems), so the caller compares contents on its own timer as well.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

log = logging.getLogger("certfront.watch")

_DEBOUNCE, _STEP = 1000, 250  # milliseconds: one event for files that are written one after the other; few wake-ups


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


class Watch:
    """Calls ``changed``, from a thread of its own, whenever something happens in one of the folders."""

    def __init__(self, folders: Iterable[Path], changed: Callable[[], object]) -> None:
        self.folders = tuple(sorted({path for path in folders if os.path.isdir(path)}))  # noqa: PTH112 - closed ones too
        self._changed = changed
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
                *self.folders,
                stop_event=self._stop,
                debounce=_DEBOUNCE,
                step=_STEP,
                recursive=False,
                watch_filter=None,
                raise_interrupt=False,
            ):
                self._changed()
        except OSError as error:
            folders = ", ".join(map(str, self.folders))
            log.warning("cannot watch %s (%s): its files are compared on a timer only", folders, error)
