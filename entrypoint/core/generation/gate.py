"""The gate: which of the user's servers, other blocks and files do not run, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from entrypoint.core.conf.configuration import Configuration, Source
from entrypoint.core.conf.includes import Place, Setting
from entrypoint.core.conf.listen import Listener
from entrypoint.core.conf.servers import Server
from entrypoint.core.generation.pairs import REACHED, cared_for, identity

# Why something is not to run: by the identity of a pair that is not usable, or by the place of a server.
Reasons = Mapping[str | Place, str]


@dataclass(frozen=True)
class Gates:
    """What NGINX refused: servers and other blocks by their place, and whole files, each with the reason.

    ``settings`` are left out by themselves: what they are in runs without them.
    """

    servers: Mapping[Place, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[Place, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Gates:
        """What `as_json` gave."""
        places = (
            {(file, start): reason for file, start, reason in value.get(kind, ())} for kind in ("servers", "settings")
        )
        servers, settings = places
        return cls(servers, dict(value.get("files", {})), settings)

    def as_json(self) -> dict[str, Any]:
        """For a manifest."""
        servers, settings = ([[*place, why] for place, why in each.items()] for each in (self.servers, self.settings))
        return {"servers": servers, "files": dict(self.files), "settings": settings}

    def __bool__(self) -> bool:
        return bool(self.servers or self.files or self.settings)


def blocked_servers(source: Source, blocked: Reasons, gates: Gates) -> dict[Place, str]:
    """The servers that do not run, with the reason: a fault in them, NGINX's refusal, no pair that is usable, ..."""
    found: dict[Place, str] = {}
    for server in source.configuration.servers:
        if reason := _why_not(server, blocked, gates):
            found.setdefault(server.place, reason)
    return found | dict(_left_bare(source.configuration, found))


def _left_bare(configuration: Configuration, gone: Mapping[Place, str]) -> Iterator[tuple[Place, str]]:
    """Servers without a pair, which present the one of their socket's default server, where that is gone."""
    for server in configuration.servers:
        bare = server.place not in gone and not (server.pairs or server.rejects_handshake)
        for listener in server.listeners if bare else ():
            first = configuration.defaults[server.context, listener.socket].place
            if listener.tls and first in gone:
                yield server.place, gone[first]


def _why_not(server: Server, blocked: Reasons, gates: Gates) -> str:
    if server.place in gates.servers:
        return gates.servers[server.place]
    if server.faults:
        return str(server.faults[0])
    if server.place in blocked:
        return blocked[server.place]
    identities = [identity(pair) for pair in cared_for(server)]
    reasons = [blocked[each] for each in identities if each in blocked]
    return "; ".join(dict.fromkeys(reasons)) or "-" if identities and len(reasons) == len(identities) else ""


def lost_listeners(server: Server, gone: Mapping[Place, str], gates: Gates) -> tuple[Listener, ...]:
    """The listeners of a server that do not run: where only a pair is missing, plain HTTP goes on, and never waits."""
    if server.place not in gone:
        return ()
    refused = server.place in gates.servers or server.faults or server.context != "http"
    return tuple(listener for listener in server.listeners if refused or listener.tls)


def open_sockets(source: Source, gone: Mapping[Place, str], gates: Gates) -> dict[tuple[str, int], str]:
    """Addresses and ports at which servers that run take connections of TCP, each with the place of the first of them.

    ``gone`` are the servers that do not run (see `blocked_servers`).
    """
    found: dict[tuple[str, int], str] = {}
    for server in source.configuration.servers:
        lost = lost_listeners(server, gone, gates)
        for listener in server.listeners if server.block.file not in gates.files else ():
            if listener.socket[0] == "tcp" and listener not in lost:
                address = REACHED.get(listener.address, listener.address)
                found.setdefault((address, listener.port), f"{server.block.file}:{server.block.directive.line}")
    return found


def refused_blocks(configuration: Configuration, gates: Gates) -> Iterator[Setting]:
    """The other blocks that NGINX refused, an ``upstream`` for one; then it names the servers that need it, too."""
    for name in ("http", "stream", "mail"):
        for setting in (each for group in configuration.levels[name].values() for each in group):
            if setting.place in gates.servers and setting.name != "server":
                yield setting


def commented_out(source: Source, blocked: Reasons, gates: Gates) -> Iterator[tuple[str, str]]:
    """What does not run, for people: where it is written, and why."""
    lines = {server.place: server.block.directive.line for server in source.configuration.servers}
    for place, reason in blocked_servers(source, blocked, gates).items():
        yield f"{place[0]}:{lines[place]}", reason
    for block in refused_blocks(source.configuration, gates):
        yield f"{block.file}:{block.directive.line}", gates.servers[block.place]
    for file, fault in source.broken.items():
        yield file, str(fault)
    yield from source.configuration.left_out.items()
    yield from gates.files.items()
