"""The state folder and the run folder: made, claimed where root runs, and locked against a second certfront."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from entrypoint.core.model import Outcome, Refused
from entrypoint.core.settings import Settings
from entrypoint.edges import host, ownership
from entrypoint.edges.generations import STAGING, UNTRUSTED
from entrypoint.system import disk

log = logging.getLogger("certfront.boot")

# All that certfront itself reads or writes there. What else lies there is left alone.
_IN_STATE = ("current", "verified", "agent.lock", f"{STAGING}*")
_IN_RUN = ("nginx", "status", "passwords", "keys", "conf.d", "*.sock", "*.pid", "*.log", "supervisord.conf", ".reserve")
_NOT_USED = "not used; their certificates are checked anew, all else is built from the settings and your files"


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Both folders, ready for use, and locked for the duration of the context. Raises `Refused`."""
    run = _Place("CERTFRONT_RUN_DIR", settings.run_dir, _IN_RUN, tuple(f"nginx/{kind}" for kind in host.KINDS))
    state = _Place("CERTFRONT_STATE_DIR", settings.state_dir, _IN_STATE, ("generations",))
    for place in (run, state):
        place.make(place.path, place.folders[0])
        place.claim()
    with ExitStack() as stack:
        _lock(stack, state)
        if os.geteuid() == 0:
            with run.taken_over():
                run.discard(run.own)
            with state.taken_over():
                state.discard(state.own)
                _take_over_generations(state)
        _clear_place(state)
        for place in (run, state):
            for folder in place.folders:
                place.make(place.path / folder, folder)
        if run.path.stat().st_uid == os.geteuid():  # the image leaves it open to any user, until one runs
            run.path.chmod(0o755)
        yield


class _Place(NamedTuple):
    """One of the two folders, with its variable, the patterns of its ``own`` entries, and ``folders`` to make in it."""

    variable: str
    path: Path
    own: tuple[str, ...]
    folders: tuple[str, ...]

    def refused(self, detail: str, hint: str) -> Refused:
        return Refused(Outcome.CONFIG_REJECTED, f"{self.variable}: {detail}", hint)

    def make(self, folder: Path, named: str) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            uid = os.geteuid()
            hint = f"give a folder that uid {uid} may write, or mount a volume or tmpfs there"
            raise self.refused(f"cannot make {self.path / named}: {error.strerror} (as uid {uid})", hint) from None

    def claim(self) -> None:
        """Make the folder root's alone, if root runs."""
        if os.geteuid():
            return
        if above := ownership.kept_apart(self.path):
            reason = f"another user than root may write {above}, and so exchange what root's NGINX reads"
            log.warning("%s: %s", self.variable, reason)
        with self.taken_over():
            ownership.claim(self.path)

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Turn an OSError into `Refused`, unless the folder is root's and read-only."""
        try:
            yield
        except OSError as error:
            if error.errno == errno.EROFS and not ownership.is_foreign(self.path):
                return
            uid, path = self.path.lstat().st_uid, self.path
            raise self.refused(
                f"{path} belongs to uid {uid}, and root cannot take it over: {error.strerror or error}",
                f"chown -R 0:0 {path}, mount it writable, use a new volume, or run as that user: --user {uid}:0",
            ) from None

    def discard(self, patterns: tuple[str, ...]) -> None:
        """Remove the entries that another user than root could have written."""
        found = [each for pattern in patterns for each in sorted(self.path.glob(pattern)) if ownership.is_foreign(each)]
        for path in found:
            ownership.discard(path)
        if found:
            names = ", ".join(path.name for path in found)
            reason = f"removed from {self.path}, as other users than root could write it"
            log.debug("%s: %s: %s", self.variable, reason, names)  # after each start, the workers' own folders too


def _lock(stack: ExitStack, state: _Place) -> None:
    path = state.path / "lock"
    try:
        if os.geteuid() == 0 and ownership.is_foreign(path):
            _replace_lock(path)
        stack.enter_context(disk.lock(path))
        if not disk.is_read_only(state.path):
            disk.require_links(state.path, f"{STAGING}-probe")
    except disk.Locked:
        hint = "stop it first, or give each its own volume"
        raise state.refused(f"another certfront uses {state.path}", hint) from None
    except disk.Unsupported as error:
        has = "a file system that has them: a volume of the engine's own, or a folder on a disk of this machine"
        raise state.refused(f"{state.path}: {error.strerror}", f"give it {has}") from None
    except OSError as error:
        chown = f"chown -R {os.geteuid()}:{os.getegid()} {state.path}"
        hint = f"give the folder and all that is in it to that user ({chown}, as root), or use a new volume"
        raise state.refused(f"{path}: {error.strerror} (as uid {os.geteuid()})", hint) from None


def _replace_lock(path: Path) -> None:
    """Remove another user's lock file, unless a process holds the lock. Raises `Locked`."""
    if path.is_file() and not path.is_symlink():
        with disk.lock(path):
            pass
    ownership.discard(path)


def _clear_place(state: _Place) -> None:
    """Rename a file that is in the place of the folder of generations."""
    folder = state.path / "generations"
    if os.path.lexists(folder) and not folder.is_dir():
        aside = folder.with_name(f"{folder.name}.damaged")
        log.warning("%s: %s is no folder: it is called %s now", state.variable, folder, aside)
        disk.remove(aside)
        folder.rename(aside)


def _take_over_generations(state: _Place) -> None:
    folder, untrusted = state.path / "generations", state.path / UNTRUSTED
    if os.path.lexists(untrusted) and not ownership.is_own_folder(untrusted):
        ownership.discard(untrusted)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or (folder.is_symlink() and not ownership.is_own_link(folder)):
        state.discard((folder.name,))
        return
    ownership.claim(folder)
    foreign = [path for path in sorted(folder.iterdir()) if ownership.is_foreign(path)]
    if not foreign:
        return
    if os.path.lexists(untrusted):
        ownership.discard(untrusted)
    for path in foreign:
        whole = path.name.isdigit() and path.is_dir() and not path.is_symlink()
        ownership.set_aside(path, untrusted) if whole else ownership.discard(path)
    names = ", ".join(repr(path.name[:20]) for path in foreign[:10])
    log.warning("%s: other users than root could write to %s/{%s}: %s", state.variable, folder, names, _NOT_USED)
