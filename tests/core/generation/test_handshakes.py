"""What handshakes have shown, and whom an edit of the user's concerns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from entrypoint.core.conf.configuration import UserConfig, user_config
from entrypoint.core.conf.includes import Place
from entrypoint.core.generation.handshakes import (
    Edited,
    Proof,
    Question,
    Shown,
    Unproved,
    unchanged,
)
from entrypoint.core.generation.manifest import Manifest, StoredPair
from entrypoint.core.generation.pairs import Door, PairSpec, wanted
from entrypoint.core.generation.plan import Plan
from tests.core.generation.test_rewrite import source
from tests.support import pki, rig

CA = pki.root()
KEYS = pki.ec_key(41), pki.rsa_key(41), pki.ec_key(42)

DOOR, OTHER = Door("127.0.0.1", 443, "a.io", where="/a:1"), Door("127.0.0.1", 443, "b.io", where="/b:1")


def _pair(identity: str, *doors: Door, closed: tuple[tuple[str, str], ...] = ()) -> PairSpec:
    return PairSpec(identity, f"{identity}.io", (), "", "", "", doors=doors, closed=closed)


def test_more() -> None:
    """What was asked again replaces what was shown, what was not stays, and what does not run any more goes."""
    before = Shown(frozenset({("a", DOOR), ("gone", DOOR)}), {("b", OTHER): Unproved("closed")})
    again = Shown(frozenset({("b", OTHER)}), {("a", DOOR): Unproved("closed")})
    running = [_pair("a", DOOR), _pair("b", OTHER)]
    assert before.with_more(Shown(), running) == Shown(frozenset({("a", DOOR)}), {("b", OTHER): Unproved("closed")})
    assert before.with_more(again, running) == again
    assert before.with_more(Shown(), []) == Shown()


def test_sentences() -> None:
    """Each server that is not proved is named; a pair's own detail is empty as soon as one door proves it."""
    twice = _pair("a", DOOR, OTHER)
    shown = Shown(frozenset({("a", DOOR)}), {("a", OTHER): Unproved("it was refused")})
    assert list(shown.warnings([twice])) == [("/b:1", "a.io is served, but no handshake proves it: it was refused")]
    assert shown.detail(twice) == ""
    assert "it was refused" in Shown(frozenset(), shown.unproved).detail(_pair("a", OTHER))
    closed = _pair("c", closed=(("/c:1", "QUIC"),))
    assert list(shown.warnings([closed])) == [("/c:1", "c.io is served, but no handshake proves it: QUIC")]
    assert "QUIC" in shown.detail(closed)


def test_what_is_as_it_should_be() -> None:
    """It is said in the detail, and warns of nothing."""
    shown = Shown(frozenset(), {("a", DOOR): Unproved("NGINX chooses", warn=False)})
    assert list(shown.warnings([_pair("a", DOOR)])) == []
    assert "NGINX chooses" in shown.detail(_pair("a", DOOR))


TEXTS = {
    "/r": "http { include /a; include /b; include /basics; server { listen 443 ssl; server_name r; } }",
    "/a": "server { listen 443 ssl; server_name a; include /part; }",
    "/b": "server { listen 443 ssl; server_name b; }",
    "/basics": "ssl_protocols TLSv1.2;",
    "/part": "return 204;",
}


def _source(**changes: str | None) -> UserConfig:
    found = {name: changes.get(name[1:], text) for name, text in TEXTS.items()}
    texts = {name: text for name, text in found.items() if text is not None}
    return user_config("/r", texts, {name: [name] for name in texts})


def _place(source: UserConfig, name: str) -> Place:
    return next(server.place for server in source.configuration.servers if name in server.names)


@pytest.mark.parametrize(
    ("changes", "concerned"),
    [
        ({}, set()),
        ({"b": TEXTS["/b"] + " "}, {"b"}),
        ({"b": None}, {"b"}),
        ({"part": "return 404;"}, {"a"}),
        ({"a": TEXTS["/a"].replace("204", "404") + "#"}, {"a"}),
        ({"basics": "ssl_protocols TLSv1.3;"}, {"a", "b", "r"}),
        ({"r": TEXTS["/r"] + "# more"}, {"a", "b", "r"}),
    ],
)
def test_edited(changes: Mapping[str, str | None], concerned: set[str]) -> None:
    """An edit concerns the servers in its file, those that include it, or all where it says something for all."""
    before, after = _source(), _source(**changes)
    edited = Edited(before, after)
    assert {name for name in ("a", "b", "r") if edited.concerns(_place(before, name))} == concerned
    assert not Edited(before, before).concerns(_place(before, "a"))


@pytest.mark.parametrize(
    ("then", "proved"),
    [
        (StoredPair("a", "k", presented=True), {"x"}),
        (StoredPair("a", "k", presented=False), set()),
        (StoredPair("b", "k", presented=True), set()),
        (None, set()),
    ],
)
def test_what_was_proved_before(then: StoredPair | None, proved: set[str]) -> None:
    """A chain is not asked for again only if a server presented the same one: one that was refused proved nothing."""
    manifest = Manifest(pairs={"x": StoredPair("a", "k")})
    assert unchanged(manifest, Manifest(pairs={"x": then} if then else {})) == proved
    assert unchanged(manifest, None) == set()


EC, RSA, ANOTHER = (pki.issue(rig.NAME, CA, names=[rig.NAME, "*.acme.io"], key=key) for key in KEYS)
SERVER = "server {{ listen 127.0.0.1:44{0}; ssl_certificate {0}.crt; ssl_certificate_key {0}.key; {1} }}"


def _plan(folder: Path, servers: int = 2, more: str = "") -> Plan:
    """Servers that listen for TLS at different ports, the first one with a name; each has the same ECDSA pair."""
    names = [f"server_name {rig.NAME};", *[""] * (servers - 1)]
    inside = "".join(SERVER.format(number, name).replace("; ssl", " ssl; ssl", 1) for number, name in enumerate(names))
    user = source(f"http {{ {inside} {more} }}")
    plan = rig.plan(rig.settings(folder, SERVER_NAME=None))
    usable = {pair.identity: rig.usable(EC) for pair in wanted(plan.settings, user)}
    return replace(plan, user=user, usable=usable)


def test_questions(tmp_path: Path) -> None:
    """Every pair at each of its doors, the first twenty thoroughly; those that are proved already may be left out."""
    plan = _plan(tmp_path, 22)
    questions = Proof().questions(plan, ())
    assert [question.at[0] for question in questions] == [pair.identity for pair in plan.gate.running]
    assert [question.enough for question in questions] == [5] * 20 + [1] * 2
    assert not any(question.open_before for question in questions)
    (only,) = Proof().questions(plan, [question.at[0] for question in questions[1:]])
    assert only.at == questions[0].at


def test_proof(tmp_path: Path) -> None:
    """What was proved must stay open, unless its server was edited; new chains of the same servers are a renewal."""
    plan = _plan(tmp_path)
    assert not Proof().is_renewal(plan)
    first, second = (question.at for question in Proof().questions(plan, ()))
    proof = Proof().of(plan, Shown.by([(first, None), (second, Unproved("closed"))]))
    assert proof.is_renewal(plan)
    assert [question.open_before for question in proof.questions(plan, ())] == [True, False]
    edited = _plan(tmp_path, 2, "server { listen 80; }")
    assert not proof.is_renewal(edited)
    assert not any(question.open_before for question in proof.questions(edited, ()))
    assert not proof.is_renewal(replace(plan, usable={}))


def _question(plan: Plan, number: int = 0, *, open_before: bool = False) -> Question:
    at = Proof().questions(plan, ())[number].at
    return Question(plan, at[0], at[1], open_before, 5)


def test_names(tmp_path: Path) -> None:
    """A server is asked for by its name; one that has none by its certificate's names as well."""
    plan = _plan(tmp_path)
    assert _question(plan).names == [rig.NAME]
    assert _question(plan, 1).names == ["localhost", rig.NAME, "certfront.acme.io"]


def test_clear(tmp_path: Path) -> None:
    """A door that was open gets time; at others some answers are enough, and two where each takes long."""
    was, never = _question(_plan(tmp_path), open_before=True), _question(_plan(tmp_path))
    assert [was.is_clear(100, spent, patience=10) for spent in (9, 11)] == [False, True]
    assert [never.is_clear(others, 0.1, patience=10) for others in (3, 4)] == [False, True]
    assert [never.is_clear(1, spent, patience=10) for spent in (1.9, 2.0)] == [False, True]
    nameless = _question(_plan(tmp_path), 1)
    assert [nameless.is_clear(others, 0.1, patience=10) for others in (11, 12)] == [False, True]


def test_verdict(tmp_path: Path) -> None:
    """No handshake, or another chain of the user's, is said; a chain that nobody knows is a failure."""
    plan = _plan(tmp_path)
    first, second = plan.usable
    question = _question(replace(plan, usable={first: rig.usable(EC), second: rig.usable(RSA)}))
    assert question.verdict("it was refused") == Unproved("it was refused")
    other = question.verdict(rig.usable(RSA).ders)
    assert isinstance(other, Unproved)
    assert other.why.startswith(f"another server answers for {rig.NAME} at 127.0.0.1 port 440")
    unknown = question.verdict(rig.usable(ANOTHER).ders)
    assert isinstance(unknown, str)
    assert rig.usable(EC).leaf.fingerprint_sha256 in unknown
    assert rig.usable(ANOTHER).leaf.fingerprint_sha256 in unknown
    was = _question(plan, open_before=True)
    assert isinstance(was.verdict("it was refused"), str)
    off = _plan(tmp_path, 2, "server { listen 9 ssl; ssl_certificate x; ssl_certificate_key y; # certfront: off\n }")
    left = _question(off).verdict(rig.usable(ANOTHER).ders)
    assert isinstance(left, Unproved)
    assert "certfront leaves alone" in left.why


def test_the_other_kind(tmp_path: Path) -> None:
    """Two kinds at one door: NGINX chooses, which is as it should be."""
    pairs = "ssl_certificate r.crt; ssl_certificate_key r.key; ssl_certificate e.crt; ssl_certificate_key e.key;"
    user = source(f"http {{ server {{ listen 443 ssl; {pairs} }} }}")
    plan = replace(_plan(tmp_path), user=user)
    usable = dict(zip((pair.identity for pair in wanted(plan.settings, user)), map(rig.usable, (RSA, EC)), strict=True))
    found = _question(replace(plan, usable=usable)).verdict(rig.usable(EC).ders)
    assert isinstance(found, Unproved)
    assert not found.warn


def test_a_key_that_no_client_offers(tmp_path: Path) -> None:
    """What our handshakes cannot ask for need not come back, whatever was at its door before."""
    plan = _plan(tmp_path)
    odd = rig.usable(pki.issue(rig.NAME, CA, names=[rig.NAME], key=ec.generate_private_key(ec.SECP256K1())))
    plan = replace(plan, usable=dict.fromkeys(plan.usable, odd))
    assert not _question(plan, open_before=True).open_before
