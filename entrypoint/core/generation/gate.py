"""The gate: which parts of a configuration do not run, which listeners go with them, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.includes import Place, Setting
from entrypoint.core.conf.listen import Listener, Socket
from entrypoint.core.conf.servers import Server
from entrypoint.core.generation.coverage import Coverage
from entrypoint.core.generation.pairs import REACHED, PairSpec, built_in, cared_for, identity, wanted
from entrypoint.core.model import Outcome, Problem
from entrypoint.core.settings import Settings


@dataclass(frozen=True)
class Refusals:
    """The parts that NGINX refused: servers and other blocks by place, and whole files, each with the reason.

    ``settings`` are single refused directives: the block around them runs without them.
    """

    servers: Mapping[Place, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[Place, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Refusals:
        """The refusals in a manifest."""
        kinds = (value.get(kind, ()) for kind in ("servers", "settings"))
        servers, settings = ({(file, start): reason for file, start, reason in each} for each in kinds)
        return cls(servers, dict(value.get("files", {})), settings)

    def as_json(self) -> dict[str, Any]:
        """The refusals as JSON, for a manifest."""
        servers, settings = ([[*place, why] for place, why in each.items()] for each in (self.servers, self.settings))
        return {"servers": servers, "files": dict(self.files), "settings": settings}

    def __bool__(self) -> bool:
        return bool(self.servers or self.files or self.settings)


@dataclass(frozen=True)
class Gate:
    """The one answer that plan, rewrite, proof and status share.

    ``wanted`` are the pairs that servers need. ``pending`` are those of them without a credential, by identity, each
    with the reason; ``coverage`` has the names that the credentials lack.
    """

    settings: Settings
    user: UserConfig
    refusals: Refusals = field(default_factory=Refusals)
    wanted: tuple[PairSpec, ...] = field(default=(), repr=False)
    pending: Mapping[str, str] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)

    @cached_property
    def refused(self) -> Gate:
        """The gate as if every pair had a credential: only faults and NGINX's refusals are left."""
        return replace(self, pending={}, coverage=Coverage())

    @cached_property
    def servers(self) -> Mapping[Place, str]:
        """The user's gated servers by place, each with the reason: a fault, a refusal, no credential, ..."""
        found: dict[Place, str] = {}
        for server in self.user.configuration.servers:
            if reason := self._why_not(server):
                found.setdefault(server.place, reason)
        return found | dict(self._left_bare(found))

    def _why_not(self, server: Server) -> str:
        if server.place in self.refusals.servers:
            return self.refusals.servers[server.place]
        if server.faults:
            return str(server.faults[0])
        if server.place in self.coverage.uncovered:
            return self.coverage.uncovered[server.place]
        identities = [identity(pair) for pair in cared_for(server)]
        reasons = [self.pending[each] for each in identities if each in self.pending]
        return "; ".join(dict.fromkeys(reasons)) or "-" if identities and len(reasons) == len(identities) else ""

    def _left_bare(self, gone: Mapping[Place, str]) -> Iterator[tuple[Place, str]]:
        """Servers without a pair that would present that of their socket's default server, if that server is gated."""
        for server in self.user.configuration.servers:
            bare = server.place not in gone and not (server.pairs or server.rejects_handshake)
            for listener in server.listeners if bare else ():
                first = self.user.configuration.defaults[server.context, listener.socket].place
                if listener.tls and first in gone:
                    yield server.place, gone[first]

    def lost(self, server: Server) -> tuple[Listener, ...]:
        """The listeners that go with a server: if only a credential is missing, plain HTTP runs on."""
        if server.place not in self.servers:
            return ()
        refused = server.place in self.refusals.servers or server.faults or server.context != "http"
        return tuple(listener for listener in server.listeners if refused or listener.tls)

    @cached_property
    def blocks(self) -> tuple[Setting, ...]:
        """The refused blocks besides servers, such as an ``upstream``; NGINX names the servers that need it next."""
        levels = (self.user.configuration.levels[name].values() for name in ("http", "stream", "mail"))
        settings = (each for level in levels for group in level for each in group)
        return tuple(each for each in settings if each.place in self.refusals.servers and each.name != "server")

    def file(self, file: str) -> str:
        """Why a whole file is gated; empty where it is not."""
        return self.refusals.files.get(file) or str(self.user.broken.get(file, ""))

    @cached_property
    def tls(self) -> bool:
        """Whether any server with a pair runs, in the built-in site or the user's configuration."""
        site = any(pair.identity not in self.pending for pair in built_in(self.settings))
        servers = self.user.configuration.servers
        return site or any(cared_for(server) and server.place not in self.servers for server in servers)

    @cached_property
    def running(self) -> tuple[PairSpec, ...]:
        """The pairs that running servers present, each with the doors of these servers only."""
        names = self.coverage.site_names
        same = not self.servers and names == self.settings.server_names
        settings = replace(self.settings, server_names=names)
        found = self.wanted if same else wanted(settings, self.user, self.servers)
        return tuple(pair for pair in found if pair.identity not in self.pending)

    @cached_property
    def gated_pairs(self) -> Mapping[str, Problem]:
        """The pairs of servers that are refused or lack names: no server presents their credentials."""
        whole = replace(self, pending={}) if self.pending else self
        gone, uncovered = whole.servers, self.coverage.uncovered
        found: dict[str, Problem] = {}
        running: set[str] = set()
        for server in self.user.configuration.servers:
            for pair in cared_for(server):
                if server.place not in gone:
                    running.add(identity(pair))
                else:
                    lacks = uncovered.get(server.place) == gone[server.place]
                    outcome = Outcome.WRONG_NAME if lacks else Outcome.CONFIG_REJECTED
                    found[identity(pair)] = Problem(outcome, gone[server.place], "mend it there")
        return {each: problem for each, problem in found.items() if each not in running}

    @cached_property
    def sockets(self) -> frozenset[Socket]:
        """The sockets of the user's servers, without those of refused servers."""
        servers = self.user.configuration.servers
        running = (server for server in servers if server.place not in self.refused.servers)
        return frozenset(listener.socket for server in running for listener in server.listeners)

    @cached_property
    def open_sockets(self) -> Mapping[tuple[str, int], str]:
        """The addresses and ports where running servers accept TCP connections, with the first server's place."""
        found: dict[tuple[str, int], str] = {}
        for server in self.user.configuration.servers:
            lost = self.lost(server)
            for listener in server.listeners if server.block.file not in self.refusals.files else ():
                if listener.socket[0] == "tcp" and listener not in lost:
                    address = REACHED.get(listener.address, listener.address)
                    found.setdefault((address, listener.port), server.where)
        return found

    @cached_property
    def users_part(self) -> Mapping[str, str]:
        """The gated parts of the user's configuration: place and reason, as text."""
        configuration = self.user.configuration
        where = {server.place: server.where for server in configuration.servers}
        return {
            **{where[place]: reason for place, reason in self.servers.items()},
            **{each.where: self.refusals.servers[each.place] for each in self.blocks},
            **{file: str(fault) for file, fault in self.user.broken.items()},
            **configuration.left_out,
            **self.refusals.files,
        }

    @property
    def commented_out(self) -> dict[str, str]:
        """All gated parts with their reasons: pairs of the built-in site, and places in the user's files."""
        site = [pair.identity for pair in built_in(self.settings) if pair.identity in self.pending]
        return {**{each: self.pending[each] for each in site}, **self.users_part}
