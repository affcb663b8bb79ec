"""The pairs that servers need: those of the built-in site, and those in the user's configuration."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from entrypoint.core.conf.configuration import Configuration, UserConfig
from entrypoint.core.conf.includes import Place
from entrypoint.core.conf.listen import Socket
from entrypoint.core.conf.paths import folder, full_name
from entrypoint.core.conf.servers import Pair, Server
from entrypoint.core.names import concrete, ip_text
from entrypoint.core.settings import Settings
from entrypoint.core.shown import shown

# Who answers for a name on a socket of a context.
Owners = Mapping[tuple[str, Socket, str], Place]
REACHED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where NGINX listens on all, loopback reaches it


@dataclass(frozen=True)
class Door:
    """A place where NGINX must present a certificate: an address, a port (0: a UNIX socket) and an SNI name.

    ``place`` is its server's, ``where`` that place as text. ``any_name`` says that the server has no concrete name: the
    names in its certificate may lead to it as well.
    """

    address: str
    port: int
    name: str
    proxy_protocol: bool = False
    any_name: bool = field(default=False, compare=False)
    place: Place | None = field(default=None, compare=False)
    where: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.address} port {self.port}" if self.port else self.address


@dataclass(frozen=True)
class PairSpec:
    """A pair that a server needs. Paths are absolute.

    ``names`` must be covered by a chain of CertMgr's. ``certificate_file`` is the path of the user's own certificate,
    which may not exist; then CertMgr is asked for ``lookup``, empty where there is no name to ask for. ``closed`` are
    the servers that no handshake can reach: place as text, and reason.
    """

    identity: str
    title: str
    names: tuple[str, ...]
    lookup: str
    key_file: str
    password_file: str
    certificate_file: str = ""
    doors: tuple[Door, ...] = ()
    closed: tuple[tuple[str, str], ...] = field(default=(), compare=False)


def wanted(settings: Settings, user: UserConfig, without: Collection[Place] = ()) -> tuple[PairSpec, ...]:
    """The pairs of the built-in site and of the user's servers, ``without`` the servers at some places."""
    return (*built_in(settings), *of_servers(user.configuration, settings, without))


def built_in(settings: Settings) -> tuple[PairSpec, ...]:
    """The pairs of the built-in site: one for each key file, none without a name."""
    if not settings.server_names:
        return ()
    door = Door("127.0.0.1", settings.https_port, settings.site_name, where="SERVER_NAME")
    names, password_file = settings.server_names, str(settings.key_password_file)
    return tuple(
        PairSpec(f"site-{number}", names[0], names, settings.lookup, str(path), password_file, doors=(door,))
        for number, path in enumerate(settings.key_files, 1)
    )


def why_pending(pair: PairSpec, settings: Settings, *, key: bool, certificate: bool) -> str:
    """Why no credential is stored for a pair; ``key`` and ``certificate``: whether its files exist."""
    if not key:
        return f"the key file {pair.key_file} does not exist"
    if certificate:
        return f"{pair.certificate_file} has not been looked at yet"
    if not settings.certmgr_hosts:
        return "CERTMGR_HOST is not set"
    return f"waiting for the first certificate for {pair.lookup} from {settings.certmgr_hosts[0]}"


def identity(pair: Pair) -> str:
    """The identity of a user's pair: its two file names, whichever servers name them."""
    return f"{pair.certificate_file} {pair.key_file}"


def of_servers(
    configuration: Configuration, settings: Settings, without: Collection[Place] = ()
) -> tuple[PairSpec, ...]:
    """The pairs of the user's TLS servers that certfront manages; one for all servers that name the same files.

    ``without`` are the places of servers that do not run.
    """
    servers = [server for server in configuration.servers if server.place not in without]
    owners = _owners(servers)
    found: dict[str, PairSpec] = {}
    for server in servers:
        for pair in cared_for(server):
            spec = _spec(server, pair, folder(configuration.files[0]), settings, owners)
            known = found.get(spec.identity)
            found[spec.identity] = _merged(known, spec) if known else spec
    return tuple(found.values())


def cared_for(server: Server) -> tuple[Pair, ...]:
    """The pairs of a server that certfront manages, in NGINX's order; the others are NGINX's alone."""
    if server.off or not server.tls:
        return ()
    return tuple(pair for pair in server.pairs if not pair.for_nginx_only)


def _owners(servers: Iterable[Server]) -> Owners:
    """The server for each name on a socket: of several with the same name, NGINX takes the first."""
    found: dict[tuple[str, Socket, str], Place] = {}
    for server in servers:
        for listener in server.listeners:
            for host in server.hosts:
                found.setdefault((server.context, listener.socket, host), server.place)
    return found


def _spec(server: Server, pair: Pair, prefix: str, settings: Settings, owners: Owners) -> PairSpec:
    lookup = server.lookup or _lookup(server.hosts, settings)
    title = concrete(server.hosts) or next(iter(server.hosts), "") or lookup
    password = server.password_file
    door = _door(server, lookup, owners)
    return PairSpec(
        identity=identity(pair),
        title=title or shown(posixpath.basename(pair.certificate_file), lines=False),
        names=server.hosts or ((lookup,) if lookup else ()),
        lookup=lookup,
        key_file=pair.key_file,
        password_file=full_name(password.value, prefix) if password else str(settings.key_password_file),
        certificate_file=pair.certificate_file,
        doors=(door,) if door else (),
        closed=() if door else ((server.where, _why_closed(server)),),
    )


def _lookup(hosts: tuple[str, ...], settings: Settings) -> str:
    """The first concrete name; else ``CERTMGR_LOOKUP``, or for a wildcard ``www`` in its domain; empty without any.

    SNI carries no addresses (RFC 6066, section 3).
    """
    names = [host for host in hosts if ip_text(host) is None]
    return concrete(names) or settings.certmgr_lookup or "".join(_inside(name) for name in names[:1])


def _inside(wildcard: str) -> str:
    return f"www.{wildcard[2:]}"


def _merged(known: PairSpec, other: PairSpec) -> PairSpec:
    return replace(
        known,
        names=tuple(dict.fromkeys((*known.names, *other.names))),
        lookup=known.lookup or other.lookup,
        doors=(*known.doors, *other.doors),
        closed=(*known.closed, *other.closed),
    )


def _door(server: Server, lookup: str, owners: Owners) -> Door | None:
    """The door of a server: one listener is enough, as all load the same pair, and QUIC is left out."""
    for listener in server.listeners:
        for name in _own_names(server, lookup) if listener.tls and not listener.udp else ():
            if owners.get((server.context, listener.socket, name), server.place) == server.place:
                return Door(
                    REACHED.get(listener.address, listener.address),
                    listener.port,
                    name,
                    listener.proxy_protocol,
                    any_name=not server.hosts,
                    place=server.place,
                    where=server.where,
                )
    return None


def _why_closed(server: Server) -> str:
    if not any(listener.tls for listener in server.listeners):
        return "STARTTLS begins in the clear"
    if all(listener.udp for listener in server.listeners if listener.tls):
        return "it listens for TLS over QUIC alone"
    return "on its sockets other servers answer for its names"


def _own_names(server: Server, lookup: str) -> Iterator[str]:
    """Names for which NGINX picks this server, unless another server has them."""
    yield from (host for host in server.hosts if not host.startswith("*"))
    for host in server.hosts:
        if host.startswith("*"):
            yield from (_inside(host), f"certfront.{host[2:]}")
    if not server.hosts:
        yield lookup or "localhost"
