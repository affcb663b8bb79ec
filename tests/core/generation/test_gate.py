"""The gate, for any configuration: without what is blocked, exactly the others are left, as they were."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core.conf.configuration import UserConfig, user_config
from entrypoint.core.conf.syntax import Directive, parse
from entrypoint.core.generation.rewrite import Copier, PairFiles
from entrypoint.core.model import Outcome, Problem
from tests.core.conf.configurations import APART, BARE_WORDS, DOUBLE_QUOTED, ROOT, SINGLE_QUOTED, load
from tests.core.generation.test_rewrite import source
from tests.support import rig

_PAIR = ("ssl_certificate", "ssl_certificate_key")
_LISTENS = (("80",), ("443 ssl",), ("443 ssl", "80"), ("80", "[::]:443 ssl", "443 ssl"), ("8443 ssl proxy_protocol",))


class Server(NamedTuple):
    """A server as somebody may write it: its listeners, the numbers of its pairs, other words, and what is between."""

    listens: tuple[str, ...]
    pairs: tuple[int, ...]
    words: tuple[str, ...]
    apart: tuple[str, ...]

    def text(self, number: int) -> str:
        """The server in NGINX's language; it bears its number in its name."""
        lines = [f"server_name {number}.acme.io;", *(f"listen {listen};" for listen in self.listens)]
        lines += [f"add_header X {word};" for word in self.words]
        lines += [line for pair in self.pairs for line in (f"{_PAIR[0]} {pair}.crt;", f"{_PAIR[1]} {pair}.key;")]
        gaps = [self.apart[place % len(self.apart)] for place in range(len(lines) + 1)]
        return "server {" + "".join(gap + line for gap, line in zip(gaps, lines, strict=False)) + gaps[-1] + "}"


_WORDS = st.lists(BARE_WORDS | DOUBLE_QUOTED | SINGLE_QUOTED, max_size=2).map(tuple)
_GAPS = st.lists(APART, min_size=1, max_size=4).map(tuple)
_NUMBERS = st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True).map(tuple)
_SERVERS = st.builds(Server, st.sampled_from(_LISTENS), _NUMBERS, _WORDS, _GAPS)
_CONFIGURATIONS = st.lists(st.tuples(_SERVERS, st.sampled_from(["nginx.conf", "a.conf", "b.conf"]), APART), max_size=6)
_BLOCKED = st.sets(st.integers(0, 3))


def _files(servers: Sequence[tuple[Server, str, str]]) -> dict[str, str]:
    inside = dict.fromkeys(("nginx.conf", "a.conf", "b.conf"), "")
    for number, (server, file, gap) in enumerate(servers):
        inside[file] += server.text(number) + gap
    return {**inside, "nginx.conf": f"events {{}} http {{ include [ab].conf;\n{inside['nginx.conf']}}}"}


def _identity(number: int) -> str:
    return f"/etc/nginx/{number}.crt /etc/nginx/{number}.key"


def _copy(files: Mapping[str, str], blocked: Iterable[int]) -> tuple[UserConfig, dict[str, str]]:
    """The source, and the text of each copy by the path of the user's file."""
    parsed, matches = load(files)
    source = user_config(ROOT, {path: files[path.rpartition("/")[2]] for path in parsed}, matches)
    pairs = {
        _identity(n): PairFiles(_identity(n), f"certs/{n}.pem", f"certs/{n}-key.pem")
        for n in range(4)
        if n not in blocked
    }
    copier = Copier(rig.gate(source, {_identity(number): "why" for number in blocked}), pairs)
    texts = copier.copy(http="", main="", keep_user=True).texts
    return source, {file: texts[copier.path(file)] for file in source.texts}


def _servers(text: str) -> list[Directive]:
    directives = parse(text).directives
    http = next((each for each in directives if each.name == "http"), None)
    return [each for each in (http.block or () if http else directives) if each.name == "server"]


def _tree(directive: Directive) -> tuple[Any, ...]:
    block = None if directive.block is None else [_tree(each) for each in directive.block]
    return directive.name, [word.value for word in directive.args], block


def _expected(server: Directive, blocked: set[int]) -> list[tuple[Any, ...]]:
    """What is left of a server: all, all but some pairs, only what is not TLS, or nothing."""
    inside = [_tree(each) for each in server.block or ()]
    numbers = {int(args[0].partition(".")[0]) for name, args, _ in inside if name == _PAIR[0]}
    tls = any("ssl" in args for name, args, _ in inside if name == "listen")
    if tls and numbers <= blocked:
        inside = [each for each in inside if not (each[0] == "listen" and "ssl" in each[1])]
        if not any(each[0] == "listen" for each in inside):
            return []
    return [("server", [], [each for line in inside for each in _pair_line(line, blocked)])]


def _pair_line(line: tuple[Any, ...], blocked: set[int]) -> list[tuple[Any, ...]]:
    if line[0] not in _PAIR:
        return [line]
    number = int(line[1][0].partition(".")[0])
    end = ".pem" if line[0] == _PAIR[0] else "-key.pem"
    return [] if number in blocked else [(line[0], [f"certs/{number}{end}"], None)]


@given(_CONFIGURATIONS, _BLOCKED)
def test_exactly_the_others_are_left(servers: list[tuple[Server, str, str]], blocked: set[int]) -> None:
    """Whatever pairs are blocked, none or all of them: each server is left as it was, but for what needs these."""
    source, copies = _copy(_files(servers), blocked)
    for file, text in source.texts.items():
        expected = [tree for server in _servers(text) for tree in _expected(server, blocked)]
        assert [_tree(server) for server in _servers(copies[file])] == expected


@given(_CONFIGURATIONS)
def test_nothing_blocked(servers: list[tuple[Server, str, str]]) -> None:
    """With every pair usable, all but the pairs' own words is as it was, down to the white space."""
    source, copies = _copy(_files(servers), ())
    for file in source.texts.keys() - {ROOT}:
        exchanged = re.sub(r" (\d)\.crt;", r' "certs/\1.pem";', source.texts[file])
        assert copies[file] == re.sub(r" (\d)\.key;", r' "certs/\1-key.pem";', exchanged)


_LEFT = "server { listen 443 ssl; ssl_certificate 0.crt; ssl_certificate_key 0.key; }"
_BESIDE = "server { listen 80; listen 8443 ssl; ssl_certificate 1.crt; ssl_certificate_key 1.key; }"
_FAULTY = "server { listen 81; include none.conf; }"
_USER = source(f"http {{ {_LEFT}\n{_BESIDE}\n{_FAULTY} upstream u {{ }} }}")
_SERVERS_OF = _USER.configuration.servers


def test_what_waits_is_not_refused() -> None:
    """A pair that is not usable gates its server's TLS, but neither its plain HTTP nor its sockets' being wanted."""
    gate = rig.gate(_USER, {_identity(1): "no key"})
    left, beside, faulty = _SERVERS_OF
    assert gate.servers == {beside.place: "no key", faulty.place: str(faulty.faults[0])}
    assert [[listener.port for listener in gate.lost(server)] for server in (left, beside, faulty)] == [
        [],
        [8443],
        [81],
    ]
    assert sorted(port for _, _, port in gate.sockets) == [80, 443, 8443]
    assert sorted(port for _, port in gate.open_sockets) == [80, 443]
    assert gate.gated_pairs == {}
    assert gate.refused.servers.keys() == {faulty.place}
    assert gate.users_part.keys() == {beside.where, faulty.where}


def test_what_is_refused() -> None:
    """Its pair is gated though it is usable, with the reason; other blocks and files are named besides."""
    left, beside, _ = _SERVERS_OF
    block = next(setting for setting in _USER.configuration.levels["http"]["upstream"])
    gate = rig.gate(_USER, servers={beside.place: "no", block.place: "bad"}, files={"/etc/nginx/x.conf": "odd"})
    assert gate.gated_pairs == {_identity(1): Problem(Outcome.CONFIG_REJECTED, "no", "mend it there")}
    assert gate.blocks == (block,)
    assert gate.users_part[block.where] == "bad"
    assert gate.file("/etc/nginx/x.conf") == "odd"
    assert 8443 not in {port for _, _, port in gate.sockets}
    assert gate.tls
    assert not rig.gate(_USER, {_identity(0): "-", _identity(1): "-"}).tls
    assert left.place not in gate.servers
