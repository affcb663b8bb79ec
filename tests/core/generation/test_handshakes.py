"""What handshakes have shown, and whom an edit of the user's concerns."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from entrypoint.core.conf.configuration import Source, read
from entrypoint.core.conf.includes import Place
from entrypoint.core.conf.syntax import attempt
from entrypoint.core.generation.handshakes import Edited, Shown, Unproved
from entrypoint.core.generation.pairs import Door, PairSpec

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


def _source(**changes: str | None) -> Source:
    found = {name: changes.get(name[1:], text) for name, text in TEXTS.items()}
    texts = {name: text for name, text in found.items() if text is not None}
    files = {name: attempt(text) for name, text in texts.items()}
    return Source("/r", texts, {}, read("/r", files, {name: [name] for name in texts}))


def _place(source: Source, name: str) -> Place:
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
