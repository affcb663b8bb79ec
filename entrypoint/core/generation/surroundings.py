"""The facts about the user's configuration that the built-in servers depend on."""

from __future__ import annotations

from dataclasses import dataclass

from entrypoint.core.conf.configuration import Configuration
from entrypoint.core.conf.status_port import foreign_ports
from entrypoint.core.generation import inheritance


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


def not_inherited(user: Surroundings) -> dict[str, str]:
    """The directives that keep certfront's servers from inheriting the settings of the user's ``http`` block."""
    off = "ssl_verify_client off;" if "ssl_verify_client" in user.http else ""
    trusts = not {"ssl_client_certificate", "ssl_trusted_certificate"}.isdisjoint(user.http)
    return {
        "no_client_certificates": off,
        "site_client_certificates": "" if trusts else off,
        "deaf": inheritance.server(user.http),
        "deaf_challenge": inheritance.location(user.http, said=("allow", "auth_basic", "deny")),
        "deaf_zones": inheritance.zones(user.http),
    }
