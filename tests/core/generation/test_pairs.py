"""Which certificates are wanted, and where NGINX must present each: at a door that leads to its server."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrypoint.core.conf.configuration import Configuration, read
from entrypoint.core.conf.syntax import parse
from entrypoint.core.generation.pairs import of_servers
from tests.support import rig

PAIR = "ssl_certificate {pair}.pem; ssl_certificate_key {pair}.key;"
SERVER = f"server {{{{ listen {{listen}}; server_name {{names}}; {PAIR} }}}}"


def _read(*servers: tuple[str, str]) -> Configuration:
    """Servers by what they listen on and how they are called; the pair of each is called by its number."""
    texts = (SERVER.format(listen=listen, names=names, pair=n) for n, (listen, names) in enumerate(servers))
    root = "/etc/nginx/nginx.conf"
    return read(root, {root: parse(f"http {{ {' '.join(texts)} }}")}, {})


def _doors(configuration: Configuration, tmp_path: Path, *gone: int) -> list[list[tuple[int, str]]]:
    without = [configuration.servers[number].place for number in gone]
    wanted = of_servers(configuration, rig.settings(tmp_path), without)
    return [[(door.port, door.name) for door in pair.doors] for pair in wanted]


def test_the_first_server_that_bears_a_name(tmp_path: Path) -> None:
    """Another one on the same socket is asked for by a name of its own; without one, it has no door."""
    configuration = _read(
        ("443 ssl", "a.io"), ("443 ssl", "A.io b.io"), ("443 ssl", "b.io a.io"), ("444 ssl", "a.io")
    )  # fmt: skip
    assert _doors(configuration, tmp_path) == [[(443, "a.io")], [(443, "b.io")], [], [(444, "a.io")]]


def test_without_servers_that_do_not_run(tmp_path: Path) -> None:
    """Their pairs are not wanted, and their names are free."""
    configuration = _read(("443 ssl", "a.io"), ("443 ssl", "a.io"), ("443 ssl", "c.io"))
    assert _doors(configuration, tmp_path, 0, 2) == [[(443, "a.io")]]


def test_a_wildcard_beside_names(tmp_path: Path) -> None:
    """A name within the wildcard leads to it, unless another server bears just that one."""
    assert _doors(_read(("443 ssl", "*.a.io")), tmp_path) == [[(443, "www.a.io")]]
    beside = _read(("443 ssl", "*.a.io"), ("443 ssl", "www.a.io"), ("443 ssl", "*.b.io b.io"))
    assert _doors(beside, tmp_path) == [[(443, "certfront.a.io")], [(443, "www.a.io")], [(443, "b.io")]]


def test_where_nobody_can_ask(tmp_path: Path) -> None:
    """QUIC alone is no door, and a server without a name is reached as the default one."""
    configuration = _read(("443 quic", "a.io"), ("443 ssl", "_"))
    assert _doors(configuration, tmp_path) == [[], [(443, "localhost")]]


@pytest.mark.parametrize(
    ("names", "lookup", "asked", "title", "covers"),
    [
        ("_", "www.a.io", "www.a.io", "www.a.io", ("www.a.io",)),
        ('""', "www.a.io", "www.a.io", "www.a.io", ("www.a.io",)),
        ("~^www", "www.a.io", "www.a.io", "www.a.io", ("www.a.io",)),
        ("www.a.*", "www.a.io", "www.a.io", "www.a.io", ("www.a.io",)),
        ("$hostname", "www.a.io", "www.a.io", "www.a.io", ("www.a.io",)),
        ("192.0.2.1", "www.a.io", "www.a.io", "192.0.2.1", ("192.0.2.1",)),
        ("*.b.io", "www.a.io", "www.a.io", "*.b.io", ("*.b.io",)),
        ("*.b.io", "", "www.b.io", "*.b.io", ("*.b.io",)),
        ("192.0.2.1 *.b.io", "", "www.b.io", "192.0.2.1", ("192.0.2.1", "*.b.io")),
        ("192.0.2.1 b.io", "", "b.io", "192.0.2.1", ("192.0.2.1", "b.io")),
        ("_ b.io", "www.a.io", "b.io", "b.io", ("b.io",)),
        ("b.io _", "www.a.io", "b.io", "b.io", ("b.io",)),
        ("_", "", "", "0.pem", ()),
        ("192.0.2.1", "", "", "192.0.2.1", ("192.0.2.1",)),
        ("_; # certfront: lookup=n.io\nserver_name ~x", "www.a.io", "n.io", "n.io", ("n.io",)),
        ("b.io; # certfront: lookup=n.io\nserver_name ~x", "www.a.io", "n.io", "b.io", ("b.io",)),
    ],
)
def test_whom_certmgr_is_asked_for(
    names: str, lookup: str, asked: str, title: str, covers: tuple[str, ...], tmp_path: Path
) -> None:
    """The first name that can be asked for; without a concrete one CERTMGR_LOOKUP; a comment overrides both."""
    chosen = rig.settings(tmp_path, CERTMGR_LOOKUP=lookup or None)
    (pair,) = of_servers(_read(("443 ssl", names)), chosen)
    assert (pair.lookup, pair.title, pair.names) == (asked, title, covers)


def test_why_there_is_no_door(tmp_path: Path) -> None:
    """QUIC alone, STARTTLS, and names that other servers bear: each server is named by its place, with the reason."""
    pairs = [PAIR.format(pair=n) for n in range(4)]
    http = f"server {{ listen 443 ssl; server_name a.io; {pairs[0]} }}\n server {{ listen 443 quic; {pairs[1]} }}\n"
    http += f"server {{ listen 443 ssl; server_name a.io; {pairs[2]} }}"
    mail = f"mail {{ server {{ listen 25; starttls on; {pairs[3]} }} }}"
    configuration = read("/r", {"/r": parse(f"http {{ {http} }}\n{mail}")}, {})
    assert [pair.closed for pair in of_servers(configuration, rig.settings(tmp_path))] == [
        (),
        (("/r:2", "it listens for TLS over QUIC alone"),),
        (("/r:3", "on its sockets other servers answer for its names"),),
        (("/r:4", "STARTTLS begins in the clear"),),
    ]
