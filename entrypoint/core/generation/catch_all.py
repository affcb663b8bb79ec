"""Stand-ins: servers that keep the socket options of gated servers, and refuse all requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.edit import one_line
from entrypoint.core.conf.includes import Place, Setting
from entrypoint.core.conf.listen import Listener, Socket
from entrypoint.core.conf.servers import Server
from entrypoint.core.generation.gate import Gate

_REFUSAL = {"http": "503", "stream": '""'}


@dataclass(frozen=True)
class StandIn:
    """A server block in place of a ``listen`` of the user's; ``neighbours`` are the running servers on the socket."""

    text: str
    listen: Setting
    neighbours: tuple[Server, ...]


def stand_ins(gate: Gate) -> Mapping[str, tuple[StandIn, ...]]:
    """The stand-ins by context: for lost listeners whose options the staying servers depend on."""
    listeners = [(server, gate.lost(server)) for server in gate.user.configuration.servers]
    lost = [(server, listener) for server, gone in listeners for listener in gone]
    staying = [(server, each) for server, gone in listeners for each in server.listeners if each not in gone]
    found: dict[str, tuple[StandIn, ...]] = {}
    for number, (server, setting) in enumerate(unsaid(staying, lost), 1):
        sockets = {listener.socket for listener in server.listeners if listener.setting == setting}
        same = (other for other, each in staying if other.context == server.context and each.socket in sockets)
        if server.context in _REFUSAL:  # in `mail` no two servers share a socket
            text = _text(gate.user, server, setting, f"certfront-{number}.invalid")
            stand_in = StandIn(text, setting, tuple({other.place: other for other in same}.values()))
            found[server.context] = (*found.get(server.context, ()), stand_in)
    return found


def at_line(those: Iterable[StandIn], line: int) -> StandIn | None:
    """The stand-in at a line of the concatenated texts; lines count from 1."""
    for each in those:
        line -= each.text.count("\n")
        if line <= 0:
            return each
    return None


def _text(user: UserConfig, server: Server, setting: Setting, name: str) -> str:
    tls = any(listener.tls for listener in server.listeners if listener.setting == setting)
    verifies = "ssl_verify_client" in user.configuration.levels[server.context]
    lines = [
        f"listen {user.texts[setting.file][setting.words[0].start : setting.words[-1].end]};",
        f"server_name {name};",
        *(["ssl_reject_handshake on;"] if tls else []),
        *(["ssl_verify_client off;"] if verifies else []),
        f"return {_REFUSAL[server.context]};",
    ]
    place = one_line(server.where)
    return "\n    ".join([f"# In place of {place}, which is commented out.\nserver {{", *lines]) + "\n}\n"


def unsaid(
    staying: Iterable[tuple[Server, Listener]], lost: Iterable[tuple[Server, Listener]]
) -> tuple[tuple[Server, Setting], ...]:
    """The lost ``listen`` lines with options that no staying server sets for the same socket, by context.

    TLS, HTTP/2, the PROXY protocol, socket options and ``default_server`` are set by one server and hold for all on the
    socket: without them the others would serve plain text, or no longer IPv4.
    """
    said: dict[tuple[str, Socket], frozenset[str]] = {}
    for server, listener in staying:
        key = server.context, listener.socket
        said[key] = said.get(key, frozenset()) | listener.said
    found: dict[Place, tuple[Server, Setting]] = {}
    for server, listener in lost:
        key = server.context, listener.socket
        if key in said and listener.setting and not listener.said <= said[key]:
            said[key] |= listener.said
            found.setdefault(listener.setting.place, (server, listener.setting))
    return tuple(found.values())
