"""The state and the run folder: made, root's alone where root runs, and locked against a second certfront."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from entrypoint.core.model import Outcome, Refused
from entrypoint.core.settings import Settings
from entrypoint.edges import ownership
from entrypoint.edges.generations import STAGING, UNTRUSTED
from entrypoint.system import disk

log = logging.getLogger("certfront.boot")

_STATE, _RUN = "CERTFRONT_STATE_DIR", "CERTFRONT_RUN_DIR"
_NGINX_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# All that certfront itself reads or writes there. What else lies there is left alone.
_IN_STATE = ("current", "verified", "agent.lock")
_NOT_USED = "not used; their certificates are checked anew, all else is built from the settings and your files"
_IN_RUN = ("nginx", "status", "passwords", "keys", "conf.d", "*.sock", "*.pid", "*.log", "supervisord.conf", ".reserve")


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Both folders, ready for use, and locked as long as the context lasts. Raises `Refused`."""
    top = {_RUN: settings.run_dir, _STATE: settings.state_dir}
    below = {
        _RUN: [settings.run_dir / "nginx" / name for name in _NGINX_FOLDERS],
        _STATE: [settings.state_dir / "generations"],
    }
    for variable, folder in top.items():
        _make(variable, folder, below[variable][0])
        _claim(variable, folder)
    with ExitStack() as stack:
        _lock(stack, settings.state_dir)
        _take_over(settings)
        _clear_place(settings.state_dir / "generations")
        for variable, folders in below.items():
            for folder in folders:
                _make(variable, folder, folder)
        if settings.run_dir.stat().st_uid == os.geteuid():  # the image leaves it open to any user, until one runs
            settings.run_dir.chmod(0o755)
        yield


def _make(variable: str, folder: Path, named: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            Outcome.CONFIG_REJECTED,
            f"{variable}: cannot make {named}: {error.strerror} (as uid {os.geteuid()})",
            f"give a folder that uid {os.geteuid()} may write, or mount a volume or tmpfs there",
        ) from None


def _lock(stack: ExitStack, state_dir: Path) -> None:
    path = state_dir / "lock"
    try:
        if os.geteuid() == 0 and ownership.is_foreign(path):
            _replace_lock(path)
        stack.enter_context(disk.lock(path))
        if not disk.is_read_only(state_dir):
            disk.require_links(state_dir, f"{STAGING}-probe")
    except disk.Locked:
        hint = "stop it first, or give each its own volume"
        raise Refused(Outcome.CONFIG_REJECTED, f"{_STATE}: another certfront uses {state_dir}", hint) from None
    except disk.Unsupported as error:
        hint = (
            "give it a file system that has them: a volume of the engine's own, or a folder on a disk of this machine"
        )
        raise Refused(Outcome.CONFIG_REJECTED, f"{_STATE}: {state_dir}: {error.strerror}", hint) from None
    except OSError as error:
        chown = f"chown -R {os.geteuid()}:{os.getegid()} {state_dir}"
        raise Refused(
            Outcome.CONFIG_REJECTED,
            f"{_STATE}: {path}: {error.strerror} (as uid {os.geteuid()})",
            f"give the folder and all that is in it to that user ({chown}, as root), or use a new volume",
        ) from None


def _replace_lock(path: Path) -> None:
    """Another user's lock says no more than that somebody holds it now. Raises `Locked`."""
    if path.is_file() and not path.is_symlink():
        with disk.lock(path):
            pass
    ownership.discard(path)


def _claim(variable: str, folder: Path) -> None:
    if os.geteuid():
        return
    if above := ownership.kept_apart(folder):
        log.warning("%s: another user than root may write %s, and so exchange what root's NGINX reads", variable, above)
    with _named(variable, folder):
        ownership.claim(folder)


@contextmanager
def _named(variable: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EROFS and not ownership.is_foreign(folder):
            return
        uid = folder.lstat().st_uid
        raise Refused(
            Outcome.CONFIG_REJECTED,
            f"{variable}: {folder} belongs to uid {uid}, and root cannot take it over: {error.strerror or error}",
            f"chown -R 0:0 {folder}, mount it writable, use a new volume, or run as that user: --user {uid}:0",
        ) from None


def _clear_place(folder: Path) -> None:
    """What lies where the folder of generations should be is kept under another name."""
    if os.path.lexists(folder) and not folder.is_dir():
        aside = folder.with_name(f"{folder.name}.damaged")
        log.warning("%s: %s is no folder: it is called %s now", _STATE, folder, aside)
        disk.remove(aside)
        folder.rename(aside)


def _take_over(settings: Settings) -> None:
    """What another user than root may have written is neither read nor followed from here on."""
    if os.geteuid():
        return
    with _named(_RUN, settings.run_dir):
        _discarded(_RUN, settings.run_dir, _IN_RUN)
    with _named(_STATE, settings.state_dir):
        _discarded(_STATE, settings.state_dir, (*_IN_STATE, f"{STAGING}*"))
        _take_over_generations(settings.state_dir)


def _discarded(variable: str, folder: Path, patterns: tuple[str, ...]) -> None:
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern)) if ownership.is_foreign(path)]
    for path in found:
        ownership.discard(path)
    if found:
        names = ", ".join(path.name for path in found)
        # The workers' own folders are among them, after each start.
        log.debug("%s: removed from %s, as other users than root could write it: %s", variable, folder, names)


def _take_over_generations(state_dir: Path) -> None:
    folder, untrusted = state_dir / "generations", state_dir / UNTRUSTED
    if os.path.lexists(untrusted) and not ownership.is_own_folder(untrusted):
        ownership.discard(untrusted)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or (folder.is_symlink() and not ownership.is_own_link(folder)):
        _discarded(_STATE, state_dir, (folder.name,))
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
    log.warning("%s: other users than root could write to %s/{%s}: %s", _STATE, folder, names, _NOT_USED)
