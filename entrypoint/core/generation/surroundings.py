"""The user's configuration around the built-in servers: what they depend on, and the user's servers on STATUS_PORT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from entrypoint.core.conf.configuration import Configuration
from entrypoint.core.conf.includes import Fault
from entrypoint.core.conf.listen import EVERYWHERE, Listener

_WAY_OUT = "set STATUS_PORT to a port that nothing else uses"
_AWAY = "certfront's status and probes are not there (`certfront health` works all the same)"


@dataclass(frozen=True)
class Surroundings:
    """The user's configuration around the built-in servers.

    Directives are those that it sets itself, ports those of its HTTP servers, and ``taken`` the ports that have a
    ``default_server``. ``quic`` has the parameters of its QUIC listeners, each with its port. ``foreign`` ports have
    TLS or another protocol than HTTP, so that no plain HTTP server of certfront's can listen there.
    """

    main: frozenset[str] = frozenset()
    http: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()
    taken: frozenset[int] = frozenset()
    quic: frozenset[tuple[int, str]] = frozenset()
    foreign: frozenset[int] = frozenset()


def around(configuration: Configuration) -> Surroundings:
    """The surroundings in a configuration."""
    servers = [server for server in configuration.servers if server.context == "http"]
    sockets = [listener for server in servers for listener in server.listeners]
    listeners = [socket for socket in sockets if not socket.udp]
    return Surroundings(
        main=frozenset(configuration.levels["main"]),
        http=frozenset(configuration.levels["http"]),
        ports=frozenset(listener.port for listener in listeners),
        taken=frozenset(listener.port for listener in listeners if listener.default_server),
        quic=frozenset((socket.port, word) for socket in sockets if socket.udp for word in socket.parameters),
        foreign=frozenset(foreign_ports(configuration)),
    )


def foreign_ports(configuration: Configuration) -> Iterator[int]:
    """The ports with TLS or another protocol than HTTP, where no plain HTTP server can listen."""
    for server in configuration.servers:
        for listener in server.listeners:
            if not listener.unix and not listener.udp and (server.context != "http" or listener.tls):
                yield listener.port


def collisions(configuration: Configuration, port: int) -> Iterator[Fault]:
    """A warning about each of the user's servers on STATUS_PORT, with the place of its most specific listener there."""
    away = port in foreign_ports(configuration)
    for server in configuration.servers:
        if there := [each for each in server.listeners if each.port == port and not each.udp]:
            listener = max(there, key=lambda each: (each.default_server, each.address not in EVERYWHERE))
            where = listener.setting or server.block
            yield Fault(where.file, where.directive.line, f"{_said(listener, port, away=away)}: {_WAY_OUT}")


def _said(listener: Listener, port: int, *, away: bool) -> str:
    here = f"listens on port {port}, which is STATUS_PORT"
    if away:
        return f"{here}: {_AWAY}"
    if listener.default_server or listener.address not in EVERYWHERE:
        return f"{here}, and is the one that answers: {_AWAY}"
    return f"{here}: requests for its names reach it, all others certfront's status"
