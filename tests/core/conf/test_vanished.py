"""Which files of the user's are gone though nobody meant it."""

from __future__ import annotations

import json

import pytest

from entrypoint.core.conf.configuration import user_config
from entrypoint.core.conf.includes import Unread
from entrypoint.core.conf.vanished import Ran, unfound, vanished

SITE = "server { server_name %s; }"
RAN = Ran(
    {"/r": "http { include /d/*; }", "/d/a": SITE % "a.io b.io", "/d/b": SITE % "c.io", "/d/c": "gzip on;"},
    {"/d/*": ("/d/a", "/d/b", "/d/c", "/d/folder")},
)
CLOSED, FOLDER = Unread("is closed", is_file=True), Unread("is a folder, not a file", is_file=False)


@pytest.mark.parametrize(
    ("texts", "matches", "expected"),
    [
        (("/r",), {"/d/*": ()}, ("/d/a", "/d/b", "/d/c")),
        (("/r", "/d/a"), {"/d/*": ("/d/a",)}, ("/d/b", "/d/c")),
        (tuple(RAN.texts), RAN.matches, ()),
        (("/r",), {}, ()),
        (("/r", "/d/a", "/d/b", "/d/c"), {"/d/*": (), "/d/?": ("/d/a", "/d/b", "/d/c")}, ()),
    ],
)
def test_unfound(texts: tuple[str, ...], matches: dict[str, tuple[str, ...]], expected: tuple[str, ...]) -> None:
    """Files that a pattern found and does not find now; behind an include that was taken out nothing is missed."""
    assert unfound(RAN, texts, matches) == expected


@pytest.mark.parametrize(
    ("unread", "said"),
    [
        ({}, ""),
        ({"/d/a": FOLDER}, ""),
        ({"/d/new": CLOSED}, ""),
        ({"/d/a": CLOSED}, "/d/a (with a.io, b.io) is closed: "),
        ({"/d/c": CLOSED}, "/d/c is closed: "),
        ({"/d/a": FOLDER, "/d/b": CLOSED, "/d/new": CLOSED}, "/d/b (with c.io) is closed: "),
        ({"/d/a": CLOSED, "/d/b": CLOSED}, "/d/a (with a.io, b.io) is closed, and /d/b (with c.io) is closed: "),
    ],
)
def test_vanished(unread: dict[str, Unread], said: str) -> None:
    """A file that was read and is closed now is named with its servers; a new one, or what is no file, is not."""
    assert vanished(RAN, unread) == (f"{said}that was read before, and is not meant to be gone" if said else "")


def test_many() -> None:
    """A sentence names three files, three names of each, and says how many more there are."""
    texts = {f"/d/{number}": SITE % "a b c d" for number in range(5)}
    said = vanished(Ran(texts, {}), dict.fromkeys(texts, CLOSED))
    assert said.startswith("/d/0 (with a, b, c, ...) is closed, and /d/1")
    assert "/d/2 (with a, b, c, ...) is closed, and 2 more: " in said


def test_what_cannot_be_parsed() -> None:
    """Its names are not known."""
    assert vanished(Ran({"/d/a": "server {"}, {}), {"/d/a": CLOSED}).startswith("/d/a is closed: ")


def test_stored() -> None:
    """A configuration comes back from its JSON, as the same object where it did not change; damaged JSON does not."""
    before = user_config("/r", RAN.texts, RAN.matches, {"/d/folder": FOLDER})
    data = json.dumps(before.as_json()).encode()
    now = user_config("/r", {"/r": "events { }"}, {})
    found = now.stored(data)
    assert found
    assert found is not before
    assert (found.as_json(), found.configuration) == (before.as_json(), before.configuration)
    assert before.stored(data) is before
    assert Ran.stored(data) == RAN
    for damaged in (b"", b"\xff", b"[]", b"{}", data[:-9], data.replace(b'"matches": {', b'"matches": 1, "x": {')):
        assert now.stored(damaged) is None
        assert Ran.stored(damaged) is None
