"""The rendered copy: what is commented out is gone for NGINX, and nothing else is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core.conf.edit import CommentOut, Rendered, Replace, quote, render
from entrypoint.core.conf.syntax import Directive, line_at, parse, walk
from tests.core.conf.configurations import CRLF_TEXTS, TEXTS, ask_nginx, crossplane_tree, our_tree

CHOICES = st.sets(st.integers(0, 12), max_size=6)
VALUES = st.text(st.characters(exclude_categories=()), max_size=8)


def _tree(directives: Sequence[Directive], gone: Collection[Directive] = ()) -> list[Any]:
    """What directives say, wherever they stand, without those that are gone."""
    return [
        (
            directive.name,
            [word.value for word in directive.args],
            None if directive.block is None else _tree(directive.block, gone),
        )
        for directive in directives
        if directive not in gone
    ]


def _staying(directives: Sequence[Directive], gone: Collection[Directive]) -> Iterator[Directive]:
    for directive in directives:
        if directive not in gone:
            yield directive
            yield from _staying(directive.block or (), gone)


def _gate(text: str, *numbers: int, reason: str = "why") -> tuple[list[Directive], Rendered]:
    """Comment out the directives with these numbers, in the order of the text."""
    gone = [directive for number, directive in enumerate(walk(parse(text).directives)) if number in numbers]
    return gone, render(text, [CommentOut(directive.start, directive.end, reason) for directive in gone])


@given(TEXTS)
def test_nothing_to_do(text: str) -> None:
    """Without edits the copy is the source, and each line its own."""
    copy = render(text, [])
    assert copy.text == text
    assert copy.lines == tuple(range(1, text.count("\n") + 2))


@given(TEXTS, CHOICES)
def test_exactly_the_others(text: str, numbers: set[int]) -> None:
    """Whatever is commented out, exactly the other directives are left, in their order."""
    gone, copy = _gate(text, *numbers)
    assert _tree(parse(copy.text).directives) == _tree(parse(text).directives, gone)


@given(TEXTS, CHOICES)
def test_source_lines(text: str, numbers: set[int]) -> None:
    """Each directive that is left begins and ends on a line that leads to where it begins and ends in the source."""
    gone, copy = _gate(text, *numbers)
    assert len(copy.lines) == copy.text.count("\n") + 1
    left = list(_staying(parse(text).directives, gone))
    for now, then in zip(walk(parse(copy.text).directives), left, strict=True):
        assert copy.source_line(now.line) == then.line
        assert copy.source_line(line_at(copy.text, now.end - 1)) == line_at(text, then.end - 1)


@given(TEXTS, CHOICES)
def test_byte_for_byte(text: str, numbers: set[int]) -> None:
    """What is left of directives and comments is spelt as before; what is commented out can be read in full."""
    gone, copy = _gate(text, *numbers)
    before, after = parse(text), parse(copy.text)
    for now, then in zip(walk(after.directives), _staying(before.directives, gone), strict=True):
        if not any(then.start <= directive.start < then.end for directive in gone):
            assert copy.text[now.start : now.end] == text[then.start : then.end]
    comments = [comment.text for comment in after.comments]
    for comment in before.comments:
        if not any(directive.start <= comment.start < directive.end for directive in gone):
            assert comment.text in comments
    commented = [comment.text for comment in after.comments if comment.text.startswith("#")]
    for directive in gone:
        for line in text[directive.start : directive.end].splitlines():
            assert any(line.rstrip() in comment for comment in commented)


@given(CRLF_TEXTS, CHOICES)
def test_line_ends(text: str, numbers: set[int]) -> None:
    """A file with CRLF has no other line ends in its copy, also where lines are added."""
    _, copy = _gate(text, *numbers)
    if "\n" in text:
        assert copy.text.count("\n") == copy.text.count("\r\n")


@given(TEXTS, CHOICES, st.text(max_size=30))
def test_reasons(text: str, numbers: set[int], reason: str) -> None:
    """No reason, whatever it holds, adds a line or a directive."""
    _, harmless = _gate(text, *numbers)
    _, copy = _gate(text, *numbers, reason=reason)
    assert copy.lines == harmless.lines
    assert _tree(parse(copy.text).directives) == _tree(parse(harmless.text).directives)
    added = set(copy.text.split("\n")) - set(harmless.text.split("\n"))
    assert all(line.startswith("# certfront: commented out: ") for line in added)
    assert all(char.isprintable() for line in added for char in line.removesuffix("\r"))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\0", "\x1b[2J", "\udcff"])
def test_odd_reasons(end: str) -> None:
    """No kind of line end and no control sequence gets out of its comment."""
    _, copy = _gate("a;\n", 0, reason=f"bad{end}evil on;")
    first, *rest = copy.text.splitlines()
    assert first.startswith("# certfront: commented out: bad ")
    assert first.endswith("evil on;")
    assert rest == ["# a;"]


@given(TEXTS, CHOICES, CHOICES, VALUES)
def test_other_words(text: str, numbers: set[int], gone_numbers: set[int], value: str) -> None:
    """Words are exchanged for others, all else stays, and lines still lead to where they come from."""
    directives = list(walk(parse(text).directives))
    words = [word for directive in directives for word in directive.args if not word.value.startswith(")")]
    chosen = [word for number, word in enumerate(words) if number in numbers]
    gone = [directive for number, directive in enumerate(directives) if number in gone_numbers]
    edits: list[Replace | CommentOut] = [Replace(word.start, word.end, quote(value)) for word in chosen]
    edits += [CommentOut(directive.start, directive.end, "") for directive in gone]
    copy = render(text, edits)
    left = list(_staying(parse(text).directives, gone))
    for now, then in zip(walk(parse(copy.text).directives), left, strict=True):
        assert [word.value for word in now.args] == [value if word in chosen else word.value for word in then.args]
        assert copy.source_line(now.line) == then.line
        assert copy.source_line(line_at(copy.text, now.end - 1)) == line_at(text, then.end - 1)


@given(VALUES)
def test_quote(value: str) -> None:
    """A quoted word is one word on one line, worth what was quoted."""
    word = quote(value)
    assert parse(f"a {word};").directives[0].args[0].value == value
    assert "\n" not in word


@given(TEXTS, CHOICES)
def test_more_directives(text: str, numbers: set[int]) -> None:
    """What is put in at the end of a block is its last directive, whatever is commented out around it."""
    blocks = [directive for directive in walk(parse(text).directives) if directive.inside]
    gone = [directive for number, directive in enumerate(walk(parse(text).directives)) if number in numbers]
    ends = [block.end - 1 for block in blocks]
    edits: list[Replace | CommentOut] = [Replace(end, end, "\nadded;\n") for end in ends]
    edits += [CommentOut(directive.start, directive.end, "") for directive in gone]
    copy = render(text, edits)
    for directive in walk(parse(copy.text).directives):
        if directive.block is not None:
            assert directive.block[-1].name == "added"


def test_a_server_on_its_own_lines() -> None:
    """A server with lines of its own is commented out line by line, with the reason above; the rest is as it was."""
    text = "http {\n    server {\n        listen 443 ssl;\n\n        # mine\n    }  \n    server { listen 80; }\n}\n"
    _, copy = _gate(text, 1, reason="certificate pending")
    assert copy.text == (
        "http {\n# certfront: commented out: certificate pending\n"
        "#     server {\n#         listen 443 ssl;\n#\n#         # mine\n#     }  \n    server { listen 80; }\n}\n"
    )
    assert copy.lines == (1, 2, 2, 3, 4, 5, 6, 7, 8, 9)


def test_shared_lines() -> None:
    """A server that shares its first and its last line is taken out onto lines of its own, and the rest stays."""
    _, copy = _gate("http { server { listen 443 ssl;\n } server { listen 80; } } # end", 1)
    assert copy.text == (
        "http { \n# certfront: commented out: why\n# server { listen 443 ssl;\n#  }\n server { listen 80; } } # end"
    )
    assert copy.lines == (1, 1, 1, 2, 2)


def test_neighbours() -> None:
    """Servers on one line are commented out each for itself, with its own reason; so is one at the end of the file."""
    text = "server { a; }server { b; } server { c; }"
    first, _, third = parse(text).directives
    edits = [CommentOut(third.start, third.end, "3"), CommentOut(first.start, first.end, "1")]
    assert render(text, edits).text == (
        "# certfront: commented out: 1\n# server { a; }\nserver { b; } \n# certfront: commented out: 3\n# server { c; }"
    )
    _, copy = _gate(text, 0, 2, 4)
    assert copy.text.replace("# certfront: commented out: why\n", "") == (
        "# server { a; }\n# server { b; } \n# server { c; }"
    )


def test_crlf() -> None:
    """Added lines end as the file's own lines do, and a blank line stays blank."""
    _, copy = _gate("a;\r\nb {\r\n\r\n} c;\r\n", 1)
    assert copy.text == "a;\r\n# certfront: commented out: why\r\n# b {\r\n#\r\n# }\r\n c;\r\n"


def test_strings() -> None:
    """A string that looks like the server's end, or a comment, or spans lines, ends nothing."""
    text = "server { return 200 '} # {\n}\n'; } a \"#\";"
    _, copy = _gate(text, 0)
    assert copy.text == ("# certfront: commented out: why\n# server { return 200 '} # {\n# }\n# '; }\n a \"#\";")


def test_within_what_is_gone() -> None:
    """Edits within a span that is commented out vanish in it; those at its borders do not."""
    text = "a { b c; }"
    inner = parse(text).directives[0]
    edits: list[Replace | CommentOut] = [
        Replace(6, 7, "other"),
        CommentOut(4, 8, "inner"),
        Replace(5, 5, "inserted "),
        CommentOut(inner.start, inner.end, "outer"),
        Replace(0, 10, "everything"),
        Replace(0, 0, "before;\n"),
        Replace(10, 10, "\nafter;"),
    ]
    assert render(text, edits).text == "before;\n# certfront: commented out: outer\n# a { b c; }\nafter;"


def test_several_reasons() -> None:
    """What is commented out twice has both reasons above it."""
    edits = [CommentOut(0, 2, "one"), CommentOut(0, 2, "two")]
    assert render("a;", edits).text == "# certfront: commented out: one\n# certfront: commented out: two\n# a;"


def test_more_and_fewer_lines() -> None:
    """A text of fewer lines than what it replaces leaves empty ones; one of more lines leads to where it stands."""
    text = "a 'x\n\ny'; b;\nc;"
    fewer = render(text, [Replace(2, 8, "z")])
    assert (fewer.text, fewer.lines) == ("a z\n\n; b;\nc;", (1, 2, 3, 4))
    more = render(text, [Replace(2, 8, "1\n2\n3\n4"), Replace(len(text), len(text), "\nd;\ne;")])
    assert (more.text, more.lines) == ("a 1\n2\n3\n4; b;\nc;\nd;\ne;", (1, 2, 3, 3, 4, 4, 4))
    assert render("a;\r\n", [Replace(0, 0, "x\ny\r\n")]).text == "x\r\ny\r\na;\r\n"


@pytest.mark.parametrize(
    "edits",
    [
        [Replace(0, 3, "x"), Replace(2, 5, "y")],
        [Replace(0, 3, "x"), Replace(1, 1, "y")],
        [CommentOut(0, 3, ""), Replace(2, 5, "y")],
        [CommentOut(0, 3, ""), CommentOut(2, 5, "")],
        [Replace(0, 4, "x"), CommentOut(1, 3, "")],
    ],
)
def test_overlaps(edits: list[Replace | CommentOut]) -> None:
    """Edits that overlap, other than within what is commented out, are a mistake of the program."""
    with pytest.raises(ValueError, match="overlap"):
        render("abcdef;", edits)


@pytest.mark.process
@pytest.mark.parametrize("char", ["a", "é", "\U0001f512", "\udcff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_long_lines(tmp_path: Path, char: str, end: str) -> None:
    """NGINX has no room for a comment of 4,096 bytes: a longer line becomes several, and a reason is cut short."""
    text = (
        f"events {{ }}{end}http {{{end}server {{ return 200 '{char * 2_000}'; add_header a '{char * 3_000}'; }}{end}}}"
    )
    assert "too long parameter" in ask_nginx(tmp_path, text.replace("server", "# server") + end).message
    server = next(directive for directive in walk(parse(text).directives) if directive.name == "server")
    copy = render(text, [CommentOut(server.start, server.end, char * 9_000)])
    said = ask_nginx(tmp_path, copy.text)
    assert said.taken, said.output
    assert copy.text.count("\n") == copy.text.count(end)
    commented = "".join(line[2:].removesuffix("\r") for line in copy.text.split("\n")[3:-1])
    assert commented == text[server.start : server.end]
    assert copy.lines[2:-1] == (3,) * (len(copy.lines) - 3)


def test_equal_edits() -> None:
    """The same edit twice is one: servers that share a snippet may both ask for it."""
    edits = [Replace(2, 3, "c"), Replace(2, 3, "c"), Replace(3, 3, " ssl"), Replace(3, 3, " ssl")]
    assert render("a b;", edits).text == "a c ssl;"


SERVERS = """\
events { }
http {
    map $uri $x { default "server { listen 443 ssl; }"; }
    server { listen unix:a.sock ssl; ssl_certificate missing.pem; ssl_certificate_key "missing}.pem"; } server {
        listen unix:b.sock; return 200 "} # '
    {";
    }server{listen unix:c.sock ssl;ssl_certificate none.pem;ssl_certificate_key none.pem;}
    server { listen unix:d.sock; } # the end }
}"""


@pytest.mark.process
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_nginx_takes_it(tmp_path: Path, end: str) -> None:
    """NGINX refuses servers without their certificates, takes the copy without them, and finds its faults in lines."""
    text = SERVERS.replace("\n", end)
    assert "cannot load certificate" in ask_nginx(tmp_path, text).message
    servers = parse(text).directives[1].block or ()
    edits = [CommentOut(server.start, server.end, "no { certificate } ; '") for server in (servers[1], servers[3])]
    copy = render(text, edits)
    said = ask_nginx(tmp_path, copy.text)
    assert said.taken, said.output
    assert our_tree(parse(copy.text).directives) == crossplane_tree(tmp_path, copy.text)
    broken = ask_nginx(tmp_path, copy.text.replace("d.sock;", "d.sock nonsense;"))
    assert copy.source_line(broken.line) == line_at(text, text.index("d.sock"))
