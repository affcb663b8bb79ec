"""The files in the run folder that NGINX opens a plan's keys with: a password file, or decrypted keys.

A generation outlives the user's password file: when that file changes, the served pair must still load. So each
generation names a password file of its own. With KEY_UNLOCK=memory, for many servers or a slow key derivation, keys are
decrypted once into a tmpfs, which NGINX would otherwise do for each server at every test, start and reload. Only their
owner can read these files, and they never leave the run folder.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from entrypoint.core.generation.manifest import Manifest
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome, Refused
from entrypoint.core.x509.decryption import in_clear
from entrypoint.core.x509.pem import split_passwords
from entrypoint.system import files, reserve

_IN_MEMORY = ("tmpfs", "ramfs")


def require_memory(folder: Path) -> None:
    """Refuse a run folder on a disk. Raises `Refused` (config-rejected)."""
    kind = _file_system(folder)
    if kind not in _IN_MEMORY:
        raise Refused(
            Outcome.CONFIG_REJECTED,
            f"KEY_UNLOCK=memory: {folder} is no tmpfs ({kind}), and a decrypted key must never reach a disk",
            f"mount one: --tmpfs {folder}:size=64m; or leave KEY_UNLOCK=nginx",
        )


def _file_system(folder: Path) -> str:
    command = ["stat", "--file-system", "--format=%T", "--", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() or "unknown"


def provide(plan: Plan, offered: Iterable[bytes]) -> None:
    """Write the files that the plan's configuration names. ``offered`` are passwords; without any, all known ones."""
    run_dir = plan.settings.run_dir
    for path, content in _needed(plan, list(dict.fromkeys(offered)) or found(plan)):
        reserve.writing(run_dir, partial(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True))
        reserve.replace(run_dir, path, content)


def _needed(plan: Plan, known: list[bytes]) -> Iterator[tuple[Path, bytes]]:
    """The missing files; a key that no password opens is left out, and NGINX names it."""
    if plan.password_file:
        yield Path(plan.password_file), b"".join(password + b"\n" for password in known)
    for path, key_pem in plan.unlocked.items():
        if not Path(path).exists() and (key := in_clear(key_pem, known)):
            yield Path(path), key


def provide_missing(plan: Plan) -> None:
    """As `provide`, for a run folder that may be fresh: existing files stay, as they opened the keys before."""
    if plan.unlocked or (plan.password_file and not Path(plan.password_file).exists()):
        provide(plan, ())


def keep_only(run_dir: Path, manifests: Iterable[Manifest]) -> None:
    """Remove the files that none of these manifests names, and those that a killed process left unfinished."""
    kept = {path for each in manifests for path in (each.password_file, *each.unlocked)}
    for pattern in ("passwords/*.txt", "passwords/*.new", "keys/*.pem", "keys/*.new"):
        for path in run_dir.glob(pattern):
            if str(path) not in kept:
                path.unlink(missing_ok=True)


def found(plan: Plan) -> list[bytes]:
    """The passwords in the user's files and in the copies of earlier generations."""
    users = (Path(pair.password_file) for pair in plan.gate.wanted)
    paths = dict.fromkeys((*users, *sorted(plan.settings.run_dir.glob("passwords/*.txt"))))
    return list(dict.fromkeys(password for path in paths for password in passwords(path)))


def passwords(path: Path) -> tuple[bytes, ...]:
    """The passwords in a file; none where it cannot be read."""
    try:
        return split_passwords(files.read(path))
    except OSError:
        return ()
