"""The user's own servers on STATUS_PORT, and the warnings about them."""

from __future__ import annotations

from collections.abc import Iterator

from entrypoint.core.conf.configuration import Configuration
from entrypoint.core.conf.includes import Fault
from entrypoint.core.conf.listen import EVERYWHERE, Listener
from entrypoint.core.conf.servers import Server

_WAY_OUT = "set STATUS_PORT to a port that nothing else uses"
_AWAY = "certfront's status and probes are not there (`certfront health` works all the same)"


def foreign_ports(configuration: Configuration) -> Iterator[int]:
    """The ports with TLS or another protocol than HTTP, where no plain HTTP server can listen."""
    for server in configuration.servers:
        for listener in server.listeners:
            if not listener.unix and not listener.udp and (server.context != "http" or listener.tls):
                yield listener.port


def collisions(configuration: Configuration, port: int) -> Iterator[Fault]:
    """A warning about each of the user's servers on STATUS_PORT, with its place."""
    away = port in foreign_ports(configuration)
    for server, listener in _there(configuration, port):
        where = listener.setting or server.block
        yield Fault(where.file, where.directive.line, f"{_said(listener, port, away=away)}: {_WAY_OUT}")


def _said(listener: Listener, port: int, *, away: bool) -> str:
    here = f"listens on port {port}, which is STATUS_PORT"
    if away:
        return f"{here}: {_AWAY}"
    if listener.default_server or listener.address not in EVERYWHERE:
        return f"{here}, and is the one that answers: {_AWAY}"
    return f"{here}: requests for its names reach it, all others certfront's status"


def _there(configuration: Configuration, port: int) -> Iterator[tuple[Server, Listener]]:
    """The servers on the port, each once, with the most specific of its listeners."""
    for server in configuration.servers:
        found = [each for each in server.listeners if each.port == port and not each.unix and not each.udp]
        if found:
            yield server, max(found, key=lambda each: (each.default_server, each.address not in EVERYWHERE))
