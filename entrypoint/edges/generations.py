"""Generations on disk: staged, published by one rename, confirmed or refused, pruned.

``STATE_DIR/generations/N`` is never written to once it has its number. Two relative symbolic links lead to one each:
``current`` to the generation that NGINX reads, ``verified`` to the last one that was proved.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from entrypoint.core.generation.manifest import SOURCE, Manifest, members
from entrypoint.core.shown import shown
from entrypoint.core.x509 import credential
from entrypoint.core.x509.credential import Credential
from entrypoint.system import disk

Files = Mapping[str, bytes]  # by relative path
KEPT = 5
_REFUSED, _REMARKS, _SUMS = "refused", "warnings.json", "sums.json"
STAGING = ".staging"
UNTRUSTED = "untrusted"  # what another user than root may have written, beside the folder of generations
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_MANY = 200  # files; from here on one sync of the file system takes less than one of each file


@dataclass(frozen=True)
class Generation:
    """One complete configuration on disk."""

    number: int
    path: Path
    manifest: Manifest

    @property
    def config(self) -> Path:
        """The path of the root file, for NGINX's ``-c``."""
        return self.path / "nginx.conf"

    def is_whole(self) -> bool:
        """Whether all staged files are unchanged; without checksums (older versions), whether there is a root file."""
        if not (self.path / _SUMS).exists():
            return not disk.holds(str(self.config), b"") and self.config.is_file()
        return bool(self._sums) and all(self.content(name) is not None for name in self._sums)

    def content(self, name: str) -> bytes | None:
        """The content of a file; None where it is missing or changed."""
        try:
            data = disk.content(self.path / name)
        except OSError:
            return None
        return data if self._sums.get(name, _sum(data)) == _sum(data) else None

    @cached_property
    def _sums(self) -> Mapping[str, str]:
        try:
            found = members(disk.content(self.path / _SUMS))
        except (OSError, ValueError):
            return {}
        return {name: each for name, each in found.items() if isinstance(each, str)}


class Generations:
    """The generations of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.folder = state_dir / "generations"
        self.untrusted = state_dir / UNTRUSTED
        self._loaded: dict[str, Generation] = {}
        self._refused: set[int] = set()

    def prepare(self) -> None:
        """Make the folders, and remove half-staged generations and files in the place of folders or links."""
        if disk.is_read_only(self.state_dir):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.folder.stat().st_uid == os.geteuid():
            self.folder.chmod(0o700)  # copies of the user's files may be open to nobody who may not read those
        odd = [path for path in self._links if os.path.lexists(path) and not path.is_symlink()]
        odd += [path for path in (self.state_dir / "agent.lock",) if path.is_dir()]
        for path in [*odd, *self.folder.glob(f"{STAGING}*"), *self.state_dir.glob(f"{STAGING}*")]:
            disk.remove(path)

    @property
    def _links(self) -> tuple[Path, Path]:
        return self.state_dir / "current", self.state_dir / "verified"

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """The warning about a read-only state folder, for the status."""
        reason = "it is mounted read-only: what runs goes on, but nothing new can be stored"
        return (("CERTFRONT_STATE_DIR", f"{self.state_dir}: {reason}"),) if disk.is_read_only(self.state_dir) else ()

    @property
    def config(self) -> Path:
        """The path that NGINX runs with, the same for all generations."""
        return self.state_dir / "current" / "nginx.conf"

    def current(self) -> Generation | None:
        """The generation that the link ``current`` names."""
        return self._linked("current")

    def verified(self) -> Generation | None:
        """The last generation that was proved."""
        return self._linked("verified")

    def source(self) -> bytes:
        """The user's configuration of the current generation, see `UserConfig.as_json`; empty where it is unknown."""
        current = self.current()
        return (current.content(SOURCE) if current and current.manifest.source else None) or b""

    def _linked(self, link: str) -> Generation | None:
        """The generation that a link names, if the link has our form: NGINX would follow any other link as well."""
        try:
            folder, _, name = str((self.state_dir / link).readlink()).rpartition("/")
        except OSError:
            return None
        return self._load(name) if folder == self.folder.name else None

    def _load(self, name: str) -> Generation | None:
        """The generation with a number, cached, as it never changes."""
        if name not in self._loaded and _NUMBER.fullmatch(name):
            path = self.folder / name
            try:
                found = Manifest.read(disk.content(path / "manifest.json"))
            except (OSError, ValueError):
                return None
            self._loaded[name] = Generation(int(name), path, found)
        return self._loaded.get(name)

    def stored(self, identity: str) -> Credential | None:
        """The newest credential of a pair that was ever fit to be served, with the facts in its manifest."""
        for generation in self._newest():
            entry = generation and generation.manifest.pairs.get(identity)
            if not generation or not entry or self.is_refused(generation):
                continue
            chain, key = generation.content(entry.chain_file), generation.content(entry.key_file)
            if chain and key:
                return credential.stored(entry.facts, chain, key)
        return None

    def _newest(self) -> Iterator[Generation | None]:
        yield self.current()
        yield self.verified()
        yield from (self._load(str(number)) for number in reversed(self._numbers()))

    def pair_files(self) -> tuple[str, ...]:
        """The relative paths of the chains and keys in the current generation."""
        current = self.current()
        pairs = current.manifest.pairs.values() if current else ()
        return tuple(name for pair in pairs for name in (pair.chain_file, pair.key_file))

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.glob("[0-9]*") if _NUMBER.fullmatch(path.name))

    def next_number(self) -> int:
        """The number of the next generation."""
        return max(self._numbers(), default=0) + 1

    def stage(
        self, number: int, files: Files, manifest: Manifest, carried: Iterable[str] = (), *, sync: bool = True
    ) -> Generation:
        """Write a generation, synced to disk unless that is left to `sync`, without touching the live one.

        Only their owner may read the files. Chains, keys and copies of the user's files that the
        current generation holds under the same name become hard links, because NGINX (1.27.4 and later) keeps
        certificates whose inode did not change; so do the ``carried`` files. Raises OSError and leaves nothing behind
        where the disk refuses.
        """
        staging = self.folder / f"{STAGING}-{number}"
        content = dict(files) | {"manifest.json": manifest.text()}
        content[_SUMS] = json.dumps({name: _sum(data) for name, data in content.items()}).encode()
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(mode=0o700)
            self._fill(str(staging), content, carried, sync=sync)
            staging.rename(self.folder / str(number))
            if sync:
                disk.sync(self.folder)
        except OSError:
            for path in (staging, self.folder / str(number)):
                shutil.rmtree(path, ignore_errors=True)
            raise
        return Generation(number, self.folder / str(number), manifest)

    def _fill(self, staging: str, content: Files, carried: Iterable[str], *, sync: bool) -> None:
        current = self.current()
        before = str(current.path) if current else None
        many = len(content) > _MANY
        folders = {"": staging}
        for name, data in content.items():
            known = f"{before}/{name}" if before and _lasts(name) else ""
            disk.place(disk.made(folders, name), data, known, sync=sync and not many)
        for name in {*carried} - content.keys() if before else ():
            with suppress(OSError):  # somebody has damaged what runs: all the more is a new one needed
                disk.link(f"{before}/{name}", disk.made(folders, name), sync=sync and not many)
        if sync:
            disk.sync_file_system(Path(staging)) if many else disk.sync_tree(Path(staging))

    def sync(self, generation: Generation) -> None:
        """Sync a generation that was staged without it. Raises OSError and leaves nothing behind on failure."""
        try:
            disk.sync_file_system(generation.path)
        except OSError:
            self.discard(generation)
            raise

    def publish(self, generation: Generation) -> None:
        """Make a generation current by one rename. Raises OSError with everything as it was."""
        self._link("current", generation)

    def confirm(self, generation: Generation) -> None:
        """Remember a generation as proved; superfluous ones are left to `prune`."""
        self._link("verified", generation)

    def _link(self, link: str, generation: Generation) -> None:
        before = self._linked(link)
        if before and before.number == generation.number:
            return
        self._rename_link(link, generation)
        try:
            disk.sync(self.state_dir)
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
        """Mark a generation with the reason why it does not run, and keep it for inspection.

        One that cannot be marked is removed, unless a link names it: then this object remembers it, and OSError is
        raised.
        """
        self._refused.add(generation.number)
        try:
            (generation.path / _REFUSED).write_text(shown(reason) + "\n")
        except OSError:
            if generation.number in self._linked_numbers():
                raise
            shutil.rmtree(generation.path, ignore_errors=True)
        self.prune()

    def discard(self, generation: Generation) -> None:
        """Remove a generation that was only a try."""
        shutil.rmtree(generation.path, ignore_errors=True)
        self._loaded.pop(str(generation.number), None)

    def is_refused(self, generation: Generation) -> bool:
        """Whether a generation is marked as refused; it may be current all the same, if the way back failed."""
        return generation.number in self._refused or (generation.path / _REFUSED).exists()

    def _linked_numbers(self) -> list[int]:
        return [generation.number for generation in (self.current(), self.verified()) if generation]

    def remark(self, generation: Generation, warnings: Sequence[tuple[str, str]]) -> None:
        """Store NGINX's warnings about a generation: places and messages."""
        with suppress(OSError):  # nothing to refuse a generation for
            if warnings:
                (generation.path / _REMARKS).write_text(json.dumps(warnings))

    def remarks(self, generation: Generation) -> tuple[tuple[str, str], ...]:
        """The warnings that `remark` stored."""
        try:
            return tuple((str(place), str(why)) for place, why in json.loads(disk.content(generation.path / _REMARKS)))
        except (OSError, ValueError, TypeError, RecursionError):
            return ()

    def prune(self) -> None:
        """Remove all generations but the last five good ones, the last refused one, and the linked ones."""
        refused = [number for number in self._numbers() if (self.folder / str(number) / _REFUSED).exists()]
        good = [number for number in self._numbers() if number not in refused]
        for number in {*refused, *good} - {*refused[-1:], *good[-KEPT:], *self._linked_numbers()}:
            shutil.rmtree(self.folder / str(number), ignore_errors=True)
            self._loaded.pop(str(number), None)


def _lasts(name: str) -> bool:
    return name.startswith(("certs/", "source/", "source."))


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
