"""The results of handshakes with the running generation: proved pairs, and pairs that cannot be proved."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.includes import Place
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.manifest import Manifest
from entrypoint.core.generation.pairs import Door, PairSpec
from entrypoint.core.generation.plan import Plan
from entrypoint.core.x509.certificate import offered_by_default

QUICK = 1.0  # seconds for one answer of a door that was never open; where they take that long, two are enough
# One answer proves nothing: where the old workers cannot be seen, they give some for up to 0.2 s.
_MATCHES = 5
_ANSWERS = 4  # of one kind in a row, none of them the wanted chain: then no handshake shows it
_THOROUGH = 20  # pairs; when so many have shown that the old workers are gone, one match is enough for the others
_NAMES = 3  # of a certificate, for a server that names none

At = tuple[str, Door]  # a pair by its identity, at a door
ChainDer = tuple[bytes, ...]


class Unproved(NamedTuple):
    """Why no handshake can show a pair at a door; ``warn`` unless that is intended."""

    why: str
    warn: bool = True


Answer = Unproved | str | None  # None: proved; a text: failed


@dataclass(frozen=True)
class Shown:
    """The results by pair and door: ``proved``, or ``unproved`` with the reason.

    ``failed`` are pairs that should be presented and are not: empty for a generation that stays live.
    """

    proved: frozenset[At] = frozenset()
    unproved: Mapping[At, Unproved] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def by(cls, answers: Iterable[tuple[At, Answer]]) -> Shown:
        """The results by pair and door, from the answers there."""
        found = tuple(answers)
        return cls(
            frozenset(at for at, answer in found if answer is None),
            {at: answer for at, answer in found if isinstance(answer, Unproved)},
            {identity: answer for (identity, _), answer in found if isinstance(answer, str)},
        )

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


@dataclass(frozen=True)
class Proof:
    """The results for the running generation: its pairs, the user's configuration, the refusals, the proved doors.

    ``running`` is None until the first proof.
    """

    running: tuple[PairSpec, ...] | None = None
    user: UserConfig | None = None
    refusals: Refusals = field(default_factory=Refusals)
    shown: Shown = field(default_factory=Shown)

    def is_renewal(self, plan: Plan) -> bool:
        """Whether the plan runs the same servers, so that only chains are new."""
        same = plan.user is self.user and plan.refusals == self.refusals
        return same and plan.gate.running == self.running

    def questions(self, plan: Plan, without: Collection[str]) -> list[Question]:
        """The handshakes that prove a plan ``without`` some pairs, several in a row for the first pairs."""
        edited = Edited(self.user, plan.user)
        pairs = [pair for pair in plan.gate.running if pair.identity not in without]
        open_before = {at for at in self.shown.proved if not edited.concerns(at[1].place)}
        return [
            Question(plan, pair.identity, door, (pair.identity, door) in open_before, enough)
            for enough, some in ((_MATCHES, pairs[:_THOROUGH]), (1, pairs[_THOROUGH:]))
            for pair in some
            for door in pair.doors
        ]

    def of(self, plan: Plan, asked: Shown) -> Proof:
        """The results for a plan that runs now, updated by those of the due handshakes."""
        return Proof(plan.gate.running, plan.user, plan.refusals, self.shown.with_more(asked, plan.gate.running))


class Question:
    """A pair at a door, and the possible answers.

    Another chain of the plan shows that another server of the user's answers for that name; without a completed
    handshake no proof is possible: both are results, and the user's business. At a door that was ``open_before`` they
    are failures; so is an unknown chain, at any door. ``enough`` answers in a row are a proof.
    """

    def __init__(self, plan: Plan, identity: str, door: Door, open_before: bool, enough: int) -> None:
        self._plan, self.at, self.door, self.enough = plan, (identity, door), door, enough
        credential = plan.usable[identity]
        self.expected, self.leaf = credential.ders, credential.leaf
        # What a key of another kind opened says nothing of one that no handshake of ours can show.
        self.open_before = open_before and offered_by_default(self.expected[0])

    @cached_property
    def names(self) -> list[str]:
        """The SNI names for the door; for a server without names, those in its certificate."""
        if not self.door.any_name:
            return [self.door.name]
        more = [name.replace("*", "certfront") for name in self.leaf.names]
        return list(dict.fromkeys([self.door.name, *more[:_NAMES]]))

    def is_clear(self, others: int, spent: float, patience: float) -> bool:
        """Whether so many other answers in a row, in so many seconds, exclude the expected chain.

        ``patience`` is in seconds, for a door that was open before.
        """
        if self.open_before:
            return spent > patience
        return others >= len(self.names) * (_ANSWERS if spent < 2 * QUICK else 1)

    def verdict(self, seen: ChainDer | str) -> Answer:
        """The meaning of another chain, or of a failed handshake with its reason."""
        fingerprint = seen if isinstance(seen, str) else hashlib.sha256(seen[0]).hexdigest()
        failure = f"a handshake with NGINX saw {fingerprint} instead of the certificate {self.leaf.fingerprint_sha256}"
        if self.open_before:
            return failure
        if isinstance(seen, str):
            return Unproved(seen)
        return self._other(seen) or failure

    def _other(self, seen: ChainDer) -> Unproved | None:
        """The reason for another chain; None for an unknown one."""
        usable, running = self._plan.usable, self._plan.gate.running
        if any(seen == usable[pair.identity].ders for pair in running if self.door in pair.doors):
            kind = self.leaf.key_type
            return Unproved(f"NGINX presents its other one there, even where {kind} is asked for", warn=False)
        if any(seen == credential.ders for credential in usable.values()):
            return Unproved(f"another server answers for {self.door.name} at {self.door}")
        servers = self._plan.user.configuration.servers
        if any(server.off or any(pair.for_nginx_only for pair in server.pairs) for server in servers):
            return Unproved(f"a server that certfront leaves alone answers for {self.door.name} at {self.door}")
        return None


def unchanged(manifest: Manifest, before: Manifest | None) -> set[str]:
    """The pairs with the same chain in both generations that were proved with the one before."""
    old = before.pairs if before else {}
    return {
        identity
        for identity, pair in manifest.pairs.items()
        if identity in old and old[identity].presented and old[identity].chain_file == pair.chain_file
    }


class Edited:
    """The files that differ between two configurations, and the servers that this may concern.

    An open door must stay open, unless its own server was edited: then the user may have closed it.
    """

    def __init__(self, before: UserConfig | None, after: UserConfig) -> None:
        self._both = [after, *([before] if before else [])]
        texts = [before.texts if before else {}, after.texts]
        files = () if before is after else (*texts[0], *texts[1])
        self._files = {file for file in files if texts[0].get(file) != texts[1].get(file)}
        self._all = any(_general(user, self._files) for user in self._both)

    def concerns(self, place: Place | None) -> bool:
        """Whether the server at a place, or a setting that it inherits, was edited."""
        if not self._files or place is None:
            return False
        included = (user.configuration.blocks.get(file, ()) for user in self._both for file in self._files)
        return self._all or place[0] in self._files or any(place in blocks for blocks in included)


def _general(user: UserConfig, files: Collection[str]) -> bool:
    """Whether one of the files is the root, or has settings that several servers inherit."""
    levels = user.configuration.levels
    groups = (group for context in ("http", "stream", "mail") for group in levels[context].values())
    return user.root in files or any(each.file in files and not each.is_block for group in groups for each in group)
