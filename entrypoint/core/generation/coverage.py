"""Names of servers that their certificates lack: a server runs for its covered names, or is gated if it has none.

For CertMgr's certificates only: the names in the user's own certificates are the user's choice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from entrypoint.core.conf.includes import Place
from entrypoint.core.conf.servers import Server
from entrypoint.core.generation.pairs import built_in, cared_for, identity
from entrypoint.core.names import covers
from entrypoint.core.settings import Settings
from entrypoint.core.x509.credential import Credential

_HINT = "add them to the TLS Credentials, or take them out of"
_MOST = 10


def missing(names: Iterable[str], pairs: Iterable[str], usable: Mapping[str, Credential]) -> tuple[str, ...]:
    """The names of a server that none of its ``pairs`` covers; empty while no pair has a credential."""
    known = [usable[each] for each in pairs if each in usable]
    on_them = {name for each in known for name in each.leaf.names}
    if not known or any(each.is_users for each in known):
        return ()
    # Most are there as they are: a thousand servers are looked at in every cycle.
    return tuple(name for name in names if name not in on_them and not any(covers(each, name) for each in on_them))


class Coverage(NamedTuple):
    """The names that the certificates cover.

    ``site_names`` are the covered names of the built-in site, all of them while it has no certificate; ``uncovered``
    are the user's servers without any covered name, each with the reason; ``warnings`` are about servers that lack some
    of their names: the place, and what visitors of these names will see.
    """

    site_names: tuple[str, ...] = ()
    uncovered: Mapping[Place, str] = {}
    warnings: tuple[tuple[str, str], ...] = ()


def coverage(settings: Settings, servers: Sequence[Server], usable: Mapping[str, Credential]) -> Coverage:
    """The names of the built-in site and of the user's servers that the credentials cover."""
    names = settings.server_names
    lacks = missing(names, (pair.identity for pair in built_in(settings)), usable)
    site_names = tuple(name for name in names if name not in lacks) or names
    lacking = {each.place: missing(each.hosts, map(identity, cared_for(each)), usable) for each in servers}
    uncovered = {
        server.place: f"its certificate has none of its names ({listed(server.hosts)}): {_HINT} server_name"
        for server in servers
        if server.hosts and len(lacking[server.place]) == len(server.hosts)
    }
    partly = (each for each in servers if lacking[each.place] and each.place not in uncovered)
    site = _of_site([name for name in names if name not in site_names])
    return Coverage(site_names, uncovered, (*site, *(_of_partly(each, lacking[each.place]) for each in partly)))


def _of_site(lacks: Collection[str]) -> Iterator[tuple[str, str]]:
    if lacks:
        what = f"the certificate lacks {listed(lacks)}: not served by HTTPS until it has that"
        yield "SERVER_NAME", f"{what}; {_HINT} SERVER_NAME"


def _of_partly(server: Server, lacks: Collection[str]) -> tuple[str, str]:
    what = f"the certificate lacks {listed(lacks)}: visitors who ask for that are warned by their browsers"
    return server.where, f"{what}; {_HINT} server_name"


def listed(names: Collection[str]) -> str:
    """The names as text, ten at most."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(list(names)[:_MOST]) + more
