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


def start(paths: Iterable[Path], changed: Callable[[], object]) -> None:
    """Call ``changed`` from a thread of its own whenever something happens in a folder of ``paths``."""
    folders = sorted({path.parent for path in paths if os.path.isdir(path.parent)})  # noqa: PTH112 - closed ones too
    if folders:
        threading.Thread(target=_watch, args=(folders, changed), daemon=True, name="watch").start()


def _watch(folders: list[Path], changed: Callable[[], object]) -> None:
    import watchfiles

    try:
        for _ in watchfiles.watch(
            *folders, debounce=_DEBOUNCE, step=_STEP, recursive=False, watch_filter=None, raise_interrupt=False
        ):
            changed()
    except OSError as error:
        log.warning("cannot watch %s (%s): its files are compared on a timer only", ", ".join(map(str, folders)), error)
