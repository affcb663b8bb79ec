"""The gate: what runs is left as it is, and what cannot run is commented out with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core.gate import Line, gate

TEXTS = st.text(st.characters(exclude_characters="\n\r"), max_size=40)
LINES = st.lists(
    st.builds(Line, TEXTS, st.sampled_from(["", "one", "two"]), st.sampled_from(["", "pair-1", "pair-2"])), max_size=12
)
SITE = (
    Line("http {"),
    Line("    server {", "site"),
    Line("        listen 443 ssl;", "site"),
    Line("        ssl_certificate rsa.pem;", "site", "rsa"),
    Line("        ssl_certificate_key rsa.key;", "site", "rsa"),
    Line("        ssl_certificate ec.pem;", "site", "ec"),
    Line("        ssl_certificate_key ec.key;", "site", "ec"),
    Line("", "site"),
    Line("    }", "site"),
    Line("    server { listen 80; }"),
    Line("}"),
)
OTHER = (Line("server {", "other"), Line("  ssl_certificate o.pem;", "other", "o"), Line("}", "other"))


def _source(lines: tuple[Line, ...] | list[Line]) -> str:
    return "".join(line.text + "\n" for line in lines)


@given(LINES)
def test_nothing_blocked(lines: list[Line]) -> None:
    """Where nothing is blocked, the configuration comes out byte for byte."""
    assert gate(lines, {}) == _source(lines)
    assert gate(lines, {"a stranger's": "no matter"}) == _source(lines)


def test_a_server_goes_as_a_whole() -> None:
    """A server without a usable pair is commented out from its first to its last line, below each pair's reason."""
    text = gate(SITE, {"rsa": "no RSA", "ec": "no ECDSA"}).splitlines()
    assert text[0] == "http {"
    assert text[1:3] == ["# certfront: commented out: no RSA", "# certfront: commented out: no ECDSA"]
    assert text[3:11] == [f"# {line.text}" if line.text else "#" for line in SITE[1:9]]
    assert text[11:] == ["    server { listen 80; }", "}"]


def test_one_pair_of_two() -> None:
    """With one of two pairs blocked, only its lines go, each with the reason; the server runs."""
    text = gate(SITE, {"ec": "no ECDSA"}).splitlines()
    assert len(text) == len(SITE)
    for line, rendered in zip(SITE, text, strict=True):
        assert rendered == (f"# {line.text}  # certfront: no ECDSA" if line.pair == "ec" else line.text)


def test_servers_are_independent() -> None:
    """A blocked server leaves its neighbours, before and behind it, as they are."""
    lines = [*OTHER, *SITE[1:9], Line("server {", "third"), Line("}", "third")]
    text = gate(lines, {"rsa": "x", "ec": "y"})
    assert text.startswith(_source(OTHER) + "# certfront: commented out: x\n")
    assert text.endswith("\n#     }\nserver {\n}\n")


def test_a_server_without_a_pair_is_never_touched() -> None:
    """A server that names no pair runs, whatever is blocked."""
    lines = [Line("server {", "plain"), Line("}", "plain")]
    assert gate(lines, {"rsa": "x"}) == "server {\n}\n"


@pytest.mark.parametrize("blocked", [("rsa",), ("rsa", "ec")])
@given(reason=st.text(max_size=200))
def test_a_reason_stays_in_its_comment(blocked: tuple[str, ...], reason: str) -> None:
    """No reason, whatever it holds, adds a line, a control character, or anything outside of a comment."""
    harmless = gate(SITE, dict.fromkeys(blocked, "harmless"))
    text = gate(SITE, dict.fromkeys(blocked, reason))
    assert all(char.isprintable() for char in text.replace("\n", ""))
    pairs = list(zip(text.split("\n"), harmless.split("\n"), strict=True))
    assert pairs
    for line, expected in pairs:
        assert line == expected if "harmless" not in expected else line.startswith("#")


@given(st.sampled_from(["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\0", "\x1b[2J"]))
def test_line_ends_and_escapes(end: str) -> None:
    """No kind of line end and no terminal sequence passes: what follows it stays in the comment."""
    text = gate(OTHER, {"o": f"bad{end}evil on;"})
    assert text.splitlines()[0].startswith("# certfront: commented out: bad")
    assert text.splitlines()[0].endswith("evil on;")
    assert len(text.splitlines()) == 4
