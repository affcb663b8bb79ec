"""What handshakes have shown of the generation that runs: who is proved, and who cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from entrypoint.core.conf.configuration import Source
from entrypoint.core.conf.includes import Place
from entrypoint.core.generation.pairs import Door, PairSpec

At = tuple[str, Door]  # a pair by its identity, at a door


class Unproved(NamedTuple):
    """Why no handshake shows a pair at a door; ``warn`` unless that is as it should be."""

    why: str
    warn: bool = True


@dataclass(frozen=True)
class Shown:
    """``proved`` are pairs at the doors that present them; ``unproved`` says why no handshake can show it there.

    ``failed`` has the pairs that must be presented and are not: it is empty for what runs.
    """

    proved: frozenset[At] = frozenset()
    unproved: Mapping[At, Unproved] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    def with_more(self, asked: Shown, running: Iterable[PairSpec]) -> Shown:
        """After some were asked again: what was shown of the others holds, as far as they still run."""
        doors = {(pair.identity, door) for pair in running for door in pair.doors}
        kept = doors - asked.proved - asked.unproved.keys()
        unproved = {at: said for at, said in self.unproved.items() if at in kept}
        return Shown((self.proved & kept) | asked.proved, {**unproved, **asked.unproved})

    def warnings(self, running: Iterable[PairSpec]) -> Iterator[tuple[str, str]]:
        """The servers whose pair is not proved there: where each is, and why."""
        for pair in running:
            yield from ((where, _said(pair, why)) for where, why in pair.closed)
            for door in pair.doors:
                found = self.unproved.get((pair.identity, door))
                if found and found.warn:
                    yield door.where, _said(pair, found.why)

    def detail(self, pair: PairSpec) -> str:
        """Why a pair that runs is not proved anywhere; empty where it is."""
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
    """What the user has edited between two configurations, and whom it may concern.

    A door that was open before must stay open; behind an edit of its own server it may be closed as the user wishes.
    """

    def __init__(self, before: Source | None, after: Source | None) -> None:
        self._sources = [source for source in (before, after) if source]
        texts = [source.texts if source else {} for source in (before, after)]
        files = () if before is after else (*texts[0], *texts[1])
        self._files = {file for file in files if texts[0].get(file) != texts[1].get(file)}
        self._all = any(_general(source, self._files) for source in self._sources)

    def concerns(self, place: Place | None) -> bool:
        """Whether a server at that place, or what holds for it, was edited."""
        if not self._files or place is None:
            return False
        included = (source.configuration.blocks.get(file, ()) for source in self._sources for file in self._files)
        return self._all or place[0] in self._files or any(place in blocks for blocks in included)


def _general(source: Source, files: Collection[str]) -> bool:
    """Whether one of the files is the root, or sets something for all servers of a kind."""
    levels = source.configuration.levels
    groups = (group for context in ("http", "stream", "mail") for group in levels[context].values())
    return source.root in files or any(each.file in files and not each.is_block for group in groups for each in group)
