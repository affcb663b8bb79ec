"""The results of handshakes with the running generation: proved pairs, and pairs that cannot be proved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from entrypoint.core.conf.configuration import Source
from entrypoint.core.conf.includes import Place
from entrypoint.core.generation.pairs import Door, PairSpec

At = tuple[str, Door]  # a pair by its identity, at a door


class Unproved(NamedTuple):
    """Why no handshake can show a pair at a door; ``warn`` unless that is intended."""

    why: str
    warn: bool = True


@dataclass(frozen=True)
class Shown:
    """The results by pair and door: ``proved``, or ``unproved`` with the reason.

    ``failed`` are pairs that should be presented and are not: empty for a generation that stays live.
    """

    proved: frozenset[At] = frozenset()
    unproved: Mapping[At, Unproved] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    def with_more(self, asked: Shown, running: Iterable[PairSpec]) -> Shown:
        """These results, updated by new ones, for the pairs and doors that still run."""
        doors = {(pair.identity, door) for pair in running for door in pair.doors}
        kept = doors - asked.proved - asked.unproved.keys()
        unproved = {at: said for at, said in self.unproved.items() if at in kept}
        return Shown((self.proved & kept) | asked.proved, {**unproved, **asked.unproved})

    def warnings(self, running: Iterable[PairSpec]) -> Iterator[tuple[str, str]]:
        """A warning for each server whose pair is not proved: its place, and the reason."""
        for pair in running:
            yield from ((where, _said(pair, why)) for where, why in pair.closed)
            for door in pair.doors:
                found = self.unproved.get((pair.identity, door))
                if found and found.warn:
                    yield door.where, _said(pair, found.why)

    def detail(self, pair: PairSpec) -> str:
        """Why a running pair is proved at none of its doors; empty where it is."""
        if any((pair.identity, door) in self.proved for door in pair.doors):
            return ""
        found = [
            self.unproved[pair.identity, door].why for door in pair.doors if (pair.identity, door) in self.unproved
        ]
        reasons = dict.fromkeys([*found, *(why for _, why in pair.closed)])
        return f"served, but no handshake proves it: {'; '.join(reasons)}" if reasons else ""


def _said(pair: PairSpec, why: str) -> str:
    return f"{pair.title} is served, but no handshake proves it: {why}"


class Edited:
    """The files that differ between two configurations, and the servers that this may concern.

    An open door must stay open, unless its own server was edited: then the user may have closed it.
    """

    def __init__(self, before: Source | None, after: Source | None) -> None:
        self._sources = [source for source in (before, after) if source]
        texts = [source.texts if source else {} for source in (before, after)]
        files = () if before is after else (*texts[0], *texts[1])
        self._files = {file for file in files if texts[0].get(file) != texts[1].get(file)}
        self._all = any(_general(source, self._files) for source in self._sources)

    def concerns(self, place: Place | None) -> bool:
        """Whether the server at a place, or a setting that it inherits, was edited."""
        if not self._files or place is None:
            return False
        included = (source.configuration.blocks.get(file, ()) for source in self._sources for file in self._files)
        return self._all or place[0] in self._files or any(place in blocks for blocks in included)


def _general(source: Source, files: Collection[str]) -> bool:
    """Whether one of the files is the root, or has settings that several servers inherit."""
    levels = source.configuration.levels
    groups = (group for context in ("http", "stream", "mail") for group in levels[context].values())
    return source.root in files or any(each.file in files and not each.is_block for group in groups for each in group)
