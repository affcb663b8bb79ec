"""Generations on disk: staged, published by one rename, verified or refused, pruned.

``STATE_DIR/generations/N`` is never written once it has its number. Two relative symlinks name one each:
``current`` is what NGINX reads, ``verified`` the last one that was proved to be served.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrypoint.core.shown import shown

KEPT = 5
_REFUSED, _REMARKS = "refused", "warnings.json"
STAGING = ".staging"
UNTRUSTED = "untrusted"  # what another user than root may have written, beside the folder of generations
_MANY = 200  # files; from here on one sync of the file system takes less than one of each file
_libc = ctypes.CDLL(None, use_errno=True)


class Locked(Exception):
    """Another certfront uses the same state folder."""


@dataclass(frozen=True)
class Generation:
    """One complete configuration on disk."""

    number: int
    path: Path
    manifest: Mapping[str, Any]

    @property
    def config(self) -> Path:
        """What NGINX is started or tested with."""
        return self.path / "nginx.conf"


class Generations:
    """The generations of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.folder = state_dir / "generations"
        self.untrusted = state_dir / UNTRUSTED
        self._loaded: dict[str, Generation] = {}
        self._refused: set[int] = set()

    def prepare(self) -> None:
        """Make the folders, and sweep what a killed run left half-staged."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.folder.stat().st_uid == os.geteuid():
            self.folder.chmod(0o700)  # copies of the user's files may be open to nobody who may not read those
        for path in [*self.folder.glob(f"{STAGING}*"), *self.state_dir.glob(f"{STAGING}*")]:
            path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)

    @property
    def config(self) -> Path:
        """The path that NGINX runs with; it stays the same through every generation."""
        return self.state_dir / "current" / "nginx.conf"

    def current(self) -> Generation | None:
        """The generation that NGINX reads."""
        return self._linked("current")

    def verified(self) -> Generation | None:
        """The last generation that was proved to be served."""
        return self._linked("verified")

    def _linked(self, link: str) -> Generation | None:
        try:
            return self._load((self.state_dir / link).readlink().name)
        except (OSError, ValueError):
            return None

    def _load(self, name: str) -> Generation | None:
        """A generation by its number, read once: it never changes."""
        if name not in self._loaded:
            path = self.folder / name
            try:
                self._loaded[name] = Generation(int(name), path, json.loads((path / "manifest.json").read_text()))
            except (OSError, ValueError):
                return None
        return self._loaded[name]

    def stored(self, identity: str) -> tuple[Mapping[str, Any], bytes, bytes] | None:
        """The newest pair that was ever fit to be served: what the manifest says of it, chain and key as PEM."""
        numbered = [self._load(str(number)) for number in reversed(self._numbers())]
        for generation in [self.current(), self.verified(), *numbered]:
            entry = generation and generation.manifest.get("pairs", {}).get(identity)
            if not generation or not entry or self.is_refused(generation):
                continue
            try:
                files = [(generation.path / entry[name]).read_bytes() for name in ("chain_file", "key_file")]
            except OSError:
                continue
            return entry, files[0], files[1]
        return None

    def pair_files(self) -> tuple[str, ...]:
        """The relative paths of the chains and keys that the current generation's configuration names."""
        current = self.current()
        pairs = current.manifest.get("pairs", {}).values() if current else ()
        return tuple(pair[kind] for pair in pairs for kind in ("chain_file", "key_file"))

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdigit())

    def next_number(self) -> int:
        """The number that the next staged generation gets."""
        return max(self._numbers(), default=0) + 1

    def stage(
        self,
        number: int,
        files: Mapping[str, bytes],
        manifest: Mapping[str, Any],
        carried: Iterable[str] = (),
        *,
        sync: bool = True,
    ) -> Generation:
        """Write a generation, all of it synced to disk unless that is left to `sync`, without touching the live one.

        ``files`` by relative path; only their owner may read them. A chain or key, or a copy of the user's, that the
        current generation holds under the same name is linked, because NGINX (1.27.4 and later) keeps certificates
        whose inode did not change; so are ``carried`` ones, wanted or not. Raises OSError and leaves nothing behind
        where the disk refuses.
        """
        staging = self.folder / f"{STAGING}-{number}"
        current = self.current()
        before = str(current.path) if current else None
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(mode=0o700)
            content = dict(files) | {"manifest.json": json.dumps(manifest, indent=1, sort_keys=True).encode()}
            many = len(content) > _MANY
            folders = {"": str(staging)}
            for name, data in content.items():
                _place(_made(folders, name), name, data, before, sync=sync and not many)
            for name in {*carried} - content.keys() if before else ():
                with suppress(FileNotFoundError):  # somebody has damaged what runs: all the more is a new one needed
                    os.link(f"{before}/{name}", _made(folders, name))
            if sync:
                _sync_file_system(staging) if many else _sync_tree(staging)
            staging.rename(self.folder / str(number))
            if sync:
                _sync(self.folder)
        except OSError:
            for path in (staging, self.folder / str(number)):
                shutil.rmtree(path, ignore_errors=True)
            raise
        return Generation(number, self.folder / str(number), dict(manifest))

    def sync(self, generation: Generation) -> None:
        """Sync what was staged without. Raises OSError and leaves nothing behind where the disk refuses."""
        try:
            _sync_file_system(generation.path)
        except OSError:
            self.discard(generation)
            raise

    def publish(self, generation: Generation) -> None:
        """Make a generation current by one rename. Raises OSError with all as it was."""
        self._link("current", generation)

    def confirm(self, generation: Generation) -> None:
        """Remember a generation as proved; those that nobody needs any more wait for `prune`."""
        self._link("verified", generation)

    def _link(self, link: str, generation: Generation) -> None:
        before = self._linked(link)
        self._rename_link(link, generation)
        try:
            _sync(self.state_dir)
        except OSError:
            with suppress(OSError):  # whoever made the call takes it for not done: so it is
                self._rename_link(link, before) if before else (self.state_dir / link).unlink()
            raise

    def _rename_link(self, link: str, generation: Generation) -> None:
        staging = self.state_dir / f"{STAGING}-{link}"
        staging.unlink(missing_ok=True)
        staging.symlink_to(Path("generations") / str(generation.number))
        staging.rename(self.state_dir / link)

    def refuse(self, generation: Generation, reason: str) -> None:
        """Keep a generation for a look at it, marked with the reason why it does not run.

        One that cannot be marked goes, unless it is linked: then this object knows it, and OSError is raised.
        """
        self._refused.add(generation.number)
        try:
            (generation.path / _REFUSED).write_text(shown(reason) + "\n")
        except OSError:
            if generation.number in self._linked_numbers():
                raise
            shutil.rmtree(generation.path, ignore_errors=True)
        self.prune()

    def read(self, generation: Generation, name: str) -> bytes:
        """A file of a generation, empty where it is none."""
        try:
            return (generation.path / name).read_bytes()
        except OSError:
            return b""

    def discard(self, generation: Generation) -> None:
        """Forget a generation that was only a try."""
        shutil.rmtree(generation.path, ignore_errors=True)
        self._loaded.pop(str(generation.number), None)

    def is_refused(self, generation: Generation) -> bool:
        """Whether a generation does not run, though it may be current: the way back from it may have failed."""
        return generation.number in self._refused or (generation.path / _REFUSED).exists()

    def _linked_numbers(self) -> list[int]:
        return [generation.number for generation in (self.current(), self.verified()) if generation]

    def remark(self, generation: Generation, warnings: Sequence[tuple[str, str]]) -> None:
        """Keep what NGINX warned of when it tested a generation: places and messages."""
        with suppress(OSError):  # nothing to refuse a generation for
            if warnings:
                (generation.path / _REMARKS).write_text(json.dumps(warnings))

    def remarks(self, generation: Generation) -> tuple[tuple[str, str], ...]:
        """What `remark` kept."""
        try:
            return tuple((str(place), str(why)) for place, why in json.loads((generation.path / _REMARKS).read_text()))
        except (OSError, ValueError, TypeError):
            return ()

    def prune(self) -> None:
        """Keep the last five good generations, the last refused one, and whatever a link names."""
        refused = [number for number in self._numbers() if (self.folder / str(number) / _REFUSED).exists()]
        good = [number for number in self._numbers() if number not in refused]
        for number in {*refused, *good} - {*refused[-1:], *good[-KEPT:], *self._linked_numbers()}:
            shutil.rmtree(self.folder / str(number), ignore_errors=True)
            self._loaded.pop(str(number), None)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock for as long as the context lasts. Raises `Locked`; the kernel frees it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Locked(str(path)) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _made(folders: dict[str, str], name: str) -> str:
    """Where a file goes, below ``folders`` that are there by relative path; what is missing of them is made."""
    folder, _, base = name.rpartition("/")
    if folder not in folders:
        folders[folder] = _made(folders, folder)
        os.mkdir(folders[folder], 0o700)  # noqa: PTH102 - a thousand of them
    return f"{folders[folder]}/{base}"


def _lasts(name: str) -> bool:
    return name.startswith(("certs/", "source/", "source."))


def _place(target: str, name: str, data: bytes, before: str | None, *, sync: bool) -> None:
    if _lasts(name) and before and _same(f"{before}/{name}", data):
        os.link(f"{before}/{name}", target)
        return
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(descriptor)


def _same(path: str, data: bytes) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a thousand of them
            return file.readall() == data
    except OSError:
        return False


def _sync_file_system(folder: Path) -> None:
    """syncfs(2), which also syncs what others have written there: with thousands of files far less than one by one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def _sync_tree(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        _sync(Path(folder))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
