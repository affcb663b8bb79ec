"""Traits of configurations met in public projects, in our own words: read, copied, gated, and run by the real NGINX.

Each folder in ``traits`` holds one configuration. ``/etc/nginx/`` in it stands for the folder that it is copied to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.paths import DATA_BLOCKS, full_name, path_word
from entrypoint.core.conf.servers import Server
from entrypoint.core.conf.syntax import Directive, Word, parse
from entrypoint.core.generation.pairs import cared_for, of_servers
from entrypoint.core.generation.pairs import identity as known_as
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.rewrite import Copier, PairFiles
from entrypoint.edges import packaged
from tests.core.conf.configurations import Said, ask_nginx
from tests.support import pki, rig

_FOLDER = Path(__file__).parent / "traits"
_CA = pki.root()
_LEAF = pki.issue(rig.NAME, _CA, names=[rig.NAME], key=pki.ec_key(44))
_USABLE = rig.usable(_LEAF, _CA, source="file")  # whose names are the user's choice: they are not what this is about
_PAIR = {"ssl_certificate": "certs/chain.pem", "ssl_certificate_key": "certs/key.pem"}
_CLIENT = ("proxy_ssl_certificate", "proxy_ssl_certificate_key", "ssl_client_certificate")


@dataclass(frozen=True)
class Trait:
    """A configuration: its servers, those that are left when no pair is usable, and whether this NGINX knows it all."""

    folder: str
    servers: tuple[str, ...]
    left: tuple[str, ...]
    known: bool = True


_REDIRECT = "http _ | 8080"
_TRAITS = (
    Trait(
        "snippets",
        (
            _REDIRECT,
            "http app.acme.io | 8443 tls, [::]:8443 tls | tls/all/fullchain.pem tls/all/privkey.pem",
            "http wiki.acme.io docs.acme.io | 8443 tls, [::]:8443 tls | tls/all/fullchain.pem tls/all/privkey.pem",
        ),
        (_REDIRECT,),
    ),
    Trait(
        "maps",
        ("http maps.acme.io | 8443 tls | maps.crt maps.key", "http $hostname | 8080"),
        ("http $hostname | 8080",),
    ),
    Trait(
        "conditions",
        ("http shop.acme.io | 8080", "http shop.acme.io | 8443 tls | shop.crt shop.key"),
        ("http shop.acme.io | 8080",),
    ),
    Trait(
        "one-line",
        (
            "http a.acme.io | 8080",
            "http b.acme.io | 8443 tls | b.crt b.key",
            "http c.acme.io | 8080",
            "http d.acme.io | 8443 tls | d.crt d.key",
        ),
        ("http a.acme.io | 8080", "http c.acme.io | 8080"),
    ),
    Trait(
        "old-style",
        (
            "http acme.io | 8443 tls http2, [::]:8443 tls http2 | tls/acme.crt tls/acme.key",
            "http www.acme.io | 8443 tls http2, [::]:8443 tls http2 | tls/www.crt tls/www.key",
            "http .acme.io | 8080, 127.0.0.1:8081",
        ),
        ("http .acme.io | 8080, 127.0.0.1:8081",),
    ),
    Trait(
        "stream",
        (
            "stream - | 8445",
            "stream - | 9993 tls | imap.crt imap.key",
            "stream - | 5353 udp",
            "http web.acme.io | 127.0.0.1:8444 tls proxy_protocol | web.crt web.key",
            "http other.acme.io | 127.0.0.1:8444 tls proxy_protocol | other.crt other.key",
        ),
        ("stream - | 8445", "stream - | 5353 udp"),
    ),
    Trait("upstream", ("http app.acme.io | 8080, 8443 tls | app.crt app.key",), ("http app.acme.io | 8080",)),
    Trait(
        "variables",
        (
            r"http ~^(?<sub>.+)\.acme\.io$ | 8443 tls | (NGINX's own)",
            "http fixed.acme.io | 8443 tls | fixed.crt fixed.key",
        ),
        (r"http ~^(?<sub>.+)\.acme\.io$ | 8443 tls | (NGINX's own)",),
    ),
    Trait(
        "globs",
        (
            "http - | 8080",
            "http blog.acme.io | 8443 tls | blog.crt blog.key",
            "http shop.acme.io | 8443 tls | shop.crt shop.key",
            "http shop.acme.io | 8082",
        ),
        ("http - | 8080", "http shop.acme.io | 8082"),
    ),
    Trait(
        "layout",
        ("http tabs.acme.io other.acme.io | 8443 tls | tabs.crt tabs.key", "http - | 8080"),
        ("http - | 8080",),
    ),
    Trait(
        "both-kinds",
        (
            "http one.acme.io | 8443 tls | all.pem all.pem",
            "http two.acme.io *.two.acme.io | 8443 tls | rsa.crt rsa.key, ecdsa.crt ecdsa.key",
            "http plain.acme.io | 8080 | all.pem all.pem",
        ),
        ("http plain.acme.io | 8080",),
    ),
    Trait(
        "quotes",
        (
            "http quoted.acme.io www.acme.*  | 8443 tls | my keys/it's.crt my keys/a key.key",
            r"http ~^(www\.)?acme\.(?:io|de){1}$ | 127.0.0.1:8080",
        ),
        (r"http ~^(www\.)?acme\.(?:io|de){1}$ | 127.0.0.1:8080",),
    ),
    Trait(
        "refused",
        ("http - | 8443 tls", "http in.acme.io | 8443 tls | in.crt in.key", "http in.acme.io | 8080"),
        ("http - | 8443 tls", "http in.acme.io | 8080"),
    ),
    Trait(
        "outside",
        (
            "stream - | 9443 tls | all.crt all.key",
            "http in.acme.io | 8443 tls | all.crt all.key",
            "http own.acme.io | 8443 tls | own.crt own.key",
        ),
        (),
    ),
    Trait(
        "lua",
        ("http lua.acme.io | 8443 tls | lua.crt lua.key", "http - | 8080"),
        ("http - | 8080",),
        known=False,
    ),
    Trait(
        "mail",
        (
            "mail imap.acme.io | 1993 tls | mail.crt mail.key",
            "mail smtp.acme.io | 1587 | mail.crt mail.key",
            "mail - | 1143",
            "http - | 8080",
        ),
        ("mail - | 1143", "http - | 8080"),
        known=False,
    ),
)
Write = Callable[[str], str]


def _as_it_is(text: str) -> str:
    return text


def _crlf(text: str) -> str:
    """As written on another system, and without a line end at the end."""
    return text.rstrip("\n").replace("\n", "\r\n")


_ALL = pytest.mark.parametrize("trait", _TRAITS, ids=lambda trait: trait.folder)
_KNOWN = pytest.mark.parametrize("trait", [each for each in _TRAITS if each.known], ids=lambda trait: trait.folder)
_WRITTEN = pytest.mark.parametrize("write", [_as_it_is, _crlf], ids=["lf", "crlf"])


class Laid:
    """A trait's files in a folder, read as the agent reads them."""

    def __init__(self, trait: Trait, folder: Path, write: Write) -> None:
        self.etc, self.generation = folder / "etc", folder / "generation"
        for path in (_FOLDER / trait.folder).rglob("*"):
            if path.is_file():
                target = self.etc / path.relative_to(_FOLDER / trait.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = path.read_text().replace("/etc/nginx/", f"{self.etc}/")
                target.write_bytes(write(text).encode())
        root = str(self.etc / "nginx.conf")
        self.settings = rig.settings(folder, SERVER_NAME=None, NGINX_CONF=root)
        rig.run_folders(self.settings.run_dir)
        self.source = self.read(Path(root))

    def read(self, root: Path) -> UserConfig:
        found = rig.config_files(rig.settings(root.parent, NGINX_CONF=str(root))).read()
        assert found
        return found

    def plan(self, *, usable: bool) -> Plan:
        pairs = of_servers(self.source.configuration, self.settings)
        by_identity = {pair.identity: _USABLE for pair in pairs} if usable else {}
        return Plan(self.settings, rig.facts(), packaged.packaged(), by_identity, {}, self.source)

    @property
    def own(self) -> tuple[str, ...]:
        """The files of a generation that are certfront's."""
        names = ("site.conf", "status.conf", "stand-ins-http.conf", "stand-ins-stream.conf")
        return tuple(str(self.generation / name) for name in names)

    def put(self, plan: Plan) -> None:
        """Write a plan's files."""
        rig.write(self.generation, plan.files(1))

    def asked(self, plan: Plan) -> Said:
        """What the real NGINX says of a plan."""
        self.put(plan)
        return ask_nginx(self.generation, plan.texts(1)["nginx.conf"])

    def exchanged(self, directive: Directive, word: Word, *, data: bool) -> str:
        """What a copy has for a word of the source."""
        if word is not path_word(directive, data=data):
            return word.value
        full = full_name(word.value, f"{self.etc}/")
        if directive.name in _PAIR and "$" not in full:
            return _PAIR[directive.name]
        return f"source{full}" if directive.name == "include" else full

    def issue(self, *names: str) -> None:
        """The files that these directives name, as the source expects them."""
        for words in self.source.configuration.paths.values():
            for path in words:
                if path.directive.name in names and "$" not in path.word.value:
                    file = Path(full_name(path.word.value, f"{self.etc}/"))
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(_USABLE.chain_pem + _USABLE.key_pem)


def _line(server: Server, prefix: str) -> str:
    """A server in one line: context, names, where it listens and how, its pairs."""
    sockets = []
    for listener in server.listeners:
        host = f"[{listener.address}]:" if ":" in listener.address else f"{listener.address}:"
        said = {"tls": listener.tls, "udp": listener.udp, "proxy_protocol": listener.proxy_protocol}
        said |= {"http2": "http2" in listener.shared}
        words = [name for name, value in said.items() if value]
        sockets.append(" ".join([f"{host.removeprefix('0.0.0.0:')}{listener.port}", *words]))
    pairs = [
        "(NGINX's own)" if pair.for_nginx_only else f"{pair.certificate_file} {pair.key_file}" for pair in server.pairs
    ]
    parts = [f"{server.context} {' '.join(server.names) or '-'}", ", ".join(sockets), ", ".join(pairs)]
    return " | ".join(part for part in parts if part).replace(prefix, "")


class Exchange(Protocol):
    """What to take for a word of a directive; ``data``: it lies in a ``map`` or the like."""

    def __call__(self, directive: Directive, word: Word, *, data: bool) -> str: ...


def _as_written(directive: Directive, word: Word, *, data: bool) -> str:  # noqa: ARG001
    return word.value


def _tree(directives: Iterable[Directive], exchange: Exchange, *, data: bool = False) -> list[Any]:
    """Names, words and blocks."""
    return [
        (
            directive.name,
            [exchange(directive, word, data=data) for word in directive.args],
            directive.block and _tree(directive.block, exchange, data=data or directive.name in DATA_BLOCKS),
        )
        for directive in directives
    ]


@_ALL
@_WRITTEN
def test_read(trait: Trait, write: Write, tmp_path: Path) -> None:
    """TLS servers, names, listeners and pairs are those that a person would name."""
    laid = Laid(trait, tmp_path, write)
    assert not laid.source.configuration.faults
    assert tuple(_line(server, f"{laid.etc}/") for server in laid.source.configuration.servers) == trait.servers


@_ALL
@_WRITTEN
def test_nothing_gated(trait: Trait, write: Write, tmp_path: Path) -> None:
    """With all pairs usable, every file's copy has the tree of its source but for paths and pairs."""
    laid = Laid(trait, tmp_path, write)
    wanted = of_servers(laid.source.configuration, laid.settings)
    pairs = {each.identity: PairFiles(each.identity, "certs/chain.pem", "certs/key.pem") for each in wanted}
    copier = Copier(rig.gate(laid.source), pairs)
    texts = copier.copy(http="", main="", keep_user=True).texts
    for file in laid.source.configuration.files:
        expected = _tree(parse(laid.source.texts[file]).directives, laid.exchanged)
        assert _tree(parse(texts[copier.path(file)]).directives, _as_written) == expected


@pytest.mark.process
@_KNOWN
@_WRITTEN
def test_nginx_runs_it(trait: Trait, write: Write, tmp_path: Path) -> None:
    """The real NGINX takes the source once all pairs are there, and then the copy of it too."""
    laid = Laid(trait, tmp_path, write)
    laid.issue(*_PAIR, *_CLIENT)
    said = ask_nginx(laid.etc, laid.source.texts[laid.source.root])
    assert said.taken, said.output
    said = laid.asked(laid.plan(usable=True))
    assert said.taken, said.output


@pytest.mark.process
@_KNOWN
@_WRITTEN
def test_nginx_runs_the_rest(trait: Trait, write: Write, tmp_path: Path) -> None:
    """With no pair usable, the real NGINX takes what is left, though not one certificate exists."""
    laid = Laid(trait, tmp_path, write)
    laid.issue(*_CLIENT)
    said = laid.asked(laid.plan(usable=False))
    assert said.taken, said.output


@_ALL
@_WRITTEN
def test_all_gated(trait: Trait, write: Write, tmp_path: Path) -> None:
    """With no pair usable, exactly the servers that need one are gone, and all others are as they were."""
    laid = Laid(trait, tmp_path, write)
    laid.put(laid.plan(usable=False))
    left = laid.read(laid.generation / "nginx.conf")
    servers = [server for server in left.configuration.servers if server.block.file not in laid.own]
    assert tuple(_line(server, f"{laid.generation}/") for server in servers) == trait.left


@pytest.mark.process
@_ALL
def test_one_pair_gated(trait: Trait, tmp_path: Path) -> None:
    """Without any one of the pairs, the servers that name another are all there, and the real NGINX takes them."""
    laid = Laid(trait, tmp_path, _as_it_is)
    laid.issue(*_CLIENT)
    whole = laid.plan(usable=True)
    for identity in whole.usable:
        usable = {other: pair for other, pair in whole.usable.items() if other != identity}
        plan = replace(whole, usable=usable)
        gone = {server.place for server in _needing(laid.source, identity) if not _another(server, usable)}
        laid.put(plan)
        left = laid.read(laid.generation / "nginx.conf").configuration.servers
        names = [server.names for server in left if server.tls and server.block.file not in laid.own]
        assert names == [
            server.names for server in laid.source.configuration.servers if server.tls and server.place not in gone
        ]
        if trait.known:
            said = laid.asked(plan)
            assert said.taken, said.output


def _needing(source: UserConfig, identity: str) -> list[Server]:
    return [
        server for server in source.configuration.servers if identity in {known_as(pair) for pair in cared_for(server)}
    ]


def _another(server: Server, usable: Mapping[str, object]) -> bool:
    return any(known_as(pair) in usable for pair in server.pairs)
