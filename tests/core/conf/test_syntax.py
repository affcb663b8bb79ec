"""NGINX's language: read as NGINX itself reads it, which is asked, and as crossplane does where that is right."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from entrypoint.core.conf.syntax import Comment, Directive, Parsed, SyntaxFault, Word, attempt, line_at, parse, walk
from tests.core.conf.configurations import TEXTS, WORDS, ask_nginx, crossplane_tree, our_tree

SITE = """\
worker_processes auto;  # one for each core
events { }
http {
    server {
        listen unix:a.sock default_server;
        server_name "acme.io";
    }
}
"""

# What NGINX takes, and crossplane reads alike: each line of tests has one trait.
CORPUS = {
    "nothing": "",
    "only a comment, without a line end": "# http {",
    "a site": SITE,
    "a site, CRLF": SITE.replace("\n", "\r\n"),
    "no line end at the end": "events {} http { server { listen unix:a.sock; } }",
    "all on one line": "events{}http{server{listen unix:a.sock;}server{listen unix:b.sock;server_name b;}}",
    "one word a line": "events\n{\n}\nhttp\n{\nserver_tokens\noff\n;\n}\n",
    "comments between words": "events {} http { server_tokens # a ; b\n off # c }\n ; }",
    "a # inside of words": "events {} http { server { listen unix:a.sock; return 200 a#b; } }",
    "braces and semicolons in quotes": """events {} http { log_format a '{"x": "$uri;"}'; log_format b "} ' {"; }""",
    "line ends in quotes": 'events {} http { log_format a "one\n  # two\r\n  three }";\n log_format b x; }',
    "escapes": r"""events {} http { map $uri $a { "\"" 1; '\'' 2; \; 3; \{ 4; "\\" 5; ~\.php$ 6; "\t" 7; } }""",
    "variables in braces": "events {} http { map $uri $a { default x${uri}y${host}; } }",
    "quotes inside of words": "events {} http { map $uri $a { a\"b c'd; } }",
    "regular expressions": "events {} http { server { listen unix:a.sock; location ~ ^/(?<x>a|b)/[^/]+$ { } } }",
    "regular expression with braces": 'events {} http { server { listen unix:a.sock; location ~ "^/a{2}$" { } } }',
    "data blocks": (
        "events {} http { map $uri $a { default 0; ~*^/x 1; hostnames; } geo $g { default 0; 10.0.0.0/8 1; }\n"
        "types { text/html html htm; } split_clients $uri $s { 0.5% .one; * ''; } upstream u { server 127.0.0.1:1; } }"
    ),
    "other scripts": "events {} http { server { listen unix:a.sock; server_name bücher.de 例え.jp; } }",
    "quoted names of directives": '"events" {} \'http\' { "server_tokens" off; }',
    "an empty word": "events {} http { map $uri $a { '' \"\"; } }",
}


@pytest.mark.process
@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS)
def test_corpus(tmp_path: Path, text: str) -> None:
    """What NGINX takes we read, as the tree that crossplane reads."""
    said = ask_nginx(tmp_path, text if "events" in text else f"events {{}}\n{text}")
    assert said.taken, said.output
    assert our_tree(parse(text).directives) == crossplane_tree(tmp_path, text)


@given(TEXTS)
def test_crossplane(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Any configuration is the same tree for crossplane: names, arguments, blocks and lines."""
    assume("_by_lua_block" not in text)
    assert our_tree(parse(text).directives) == crossplane_tree(tmp_path_factory.getbasetemp(), text)


# NGINX's words for the first fault of each, and crossplane, which often says nothing, is not asked.
REFUSED = {
    "events {": 'unexpected end of file, expecting "}"',
    "events {}\n\nhttp {\n server {\n }\n": 'unexpected end of file, expecting "}"',
    "events {}\n}\n": 'unexpected "}"',
    "events {} http { server { listen unix:a.sock }\n}": 'unexpected "}"',
    "events {} http { server_tokens off": 'unexpected end of file, expecting ";" or "}"',
    "events {} http { server_tokens \\": 'unexpected end of file, expecting ";" or "}"',
    "events {} http { log_format a 'b;\n}\n": 'unexpected end of file, expecting ";" or "}"',
    "events {}\n;": 'unexpected ";"',
    "events {}\n{ }": 'unexpected "{"',
    "events {} http { log_format a 'b'c; }": 'unexpected "c"',
    "events {} http { log_format a\n \"b\"'c'; }": 'unexpected "\'"',
    "events {} http { log_format a 'b'}": 'unexpected "}"',
    "events {} http { log_format a 'b'#c\n; }": 'unexpected "#"',
}


@pytest.mark.process
@pytest.mark.parametrize("text", REFUSED)
def test_refused(tmp_path: Path, text: str) -> None:
    """What NGINX refuses for its syntax we refuse in the same words, and name the same line."""
    said = ask_nginx(tmp_path, text)
    with pytest.raises(SyntaxFault) as caught:
        parse(text)
    assert (caught.value.message, caught.value.line) == (said.message, said.line) == (REFUSED[text], said.line)
    fault = attempt(text)
    assert isinstance(fault, SyntaxFault)
    assert str(fault) == f"{said.message} in line {said.line}"


ODDS = st.lists(
    st.sampled_from(
        [
            *(
                " ",
                "\n",
                "\t",
                "\r\n",
                "\r",
                "a",
                "b",
                ";",
                " x x;",
                "{",
                "}",
                "#",
                '"',
                "'",
                "\\",
                "$",
                "${",
                "${a}",
                ")",
            ),
            *('"q"', "'s'", '\\"', "\\\\", "é", "\udcff", "\x0b", "\u00a0", "\u2028", "\ufeff", ";\n", " c;"),
        ]
    ),
    max_size=9,
).map("".join)
HEAD, TAIL = "events {}\nhttp { types {\n", "\n}\n}\n"


@pytest.mark.process
@settings(max_examples=200)
@given(ODDS, st.sampled_from([TAIL, TAIL, TAIL, "", "}", "}}"]))
def test_odd_texts(tmp_path_factory: pytest.TempPathFactory, odd: str, tail: str) -> None:
    """Whatever characters follow each other, NGINX stops where we do, saying the same, or where it minds the meaning.

    Within ``types`` NGINX takes directives of any words, but no blocks.
    """
    text = HEAD + odd + tail
    said, ours = ask_nginx(tmp_path_factory.getbasetemp(), text), attempt(text)
    if said.taken:
        assert isinstance(ours, Parsed)
        assert not any(entry.block for entry in walk(ours.directives) if entry.name not in ("events", "http", "types"))
    elif said.message.startswith("unexpected") and said.message != 'unexpected "{"':
        assert isinstance(ours, SyntaxFault)
        # NGINX says one byte of a character.
        assert (
            ours.message.encode("utf-8", "surrogateescape")[:13] == said.message.encode("utf-8", "surrogateescape")[:13]
        )
        assert ours.line == said.line
    elif isinstance(ours, SyntaxFault):
        assert said.line <= ours.line


ODD_WORDS = st.one_of(
    WORDS,
    st.sampled_from(
        ["a}", "}a", ")", "a\x0bb", "\u00a0", "\ufeff", "\udcff", "\\\r", "\\\na", "$", "${", "${{a", "''"]
    ),
)


@pytest.mark.process
@settings(max_examples=100)
@given(st.lists(ODD_WORDS.filter(lambda word: not word.startswith("}")), min_size=1, max_size=6))
@example([r'"\"\'\\\t\r\n\x\ "', r"\"\'\\\t\r\n\x\ "])
def test_values(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    """Words begin, end and are worth what they are for NGINX, which says each of them in a warning.

    It warns of an extension that has a type already, and has made it lower case.
    """
    line = "x/y " + " ".join(words) + " ;\n"
    text = f"events {{}} http {{ types {{\n{line}{line}}} }}"
    entry = parse(line).directives[0]
    said = ask_nginx(tmp_path_factory.getbasetemp(), text).output
    values = re.findall(
        r'duplicate extension "(.*?)", content type: "x/y", previous content type: "x/y" in', said, re.DOTALL
    )
    ours = [re.sub("[A-Z]", lambda letter: letter[0].lower(), word.value) for word in entry.args]
    assert values[-len(ours) :] == ours


@given(TEXTS)
def test_places(text: str) -> None:
    """Every directive, word, block and comment is where it says: these places together make up the whole text."""
    parsed = parse(text)
    for directive in walk(parsed.directives):
        assert text[directive.end - 1] == (";" if directive.block is None else "}")
        assert line_at(text, directive.start) == directive.line
        assert line_at(text, directive.end) == directive.last_line
        for word in directive.args:
            assert word.quoted == (text[word.start] in "\"'")
            assert parse(f"{text[word.start : word.end]};").directives[0].name == word.value
        if directive.inside:
            start, end = directive.inside
            assert (text[start - 1], text[end], end + 1) == ("{", "}", directive.end)
            assert all(start <= child.start and child.end <= end for child in directive.block or ())
    for comment in parsed.comments:
        assert text[comment.start : comment.end] == comment.text
        assert text[comment.start] == "#"
        assert text[comment.end : comment.end + 1] in ("\n", "")
        assert line_at(text, comment.start) == comment.line
    for before, after in pairwise(parsed.directives):
        assert before.end <= after.start


def test_one_directive() -> None:
    """All that there is to know of a directive, by example."""
    text = "# a\n\nserver_name  acme.io 'x\\'y';"
    words = (Word("acme.io", 18, 25, quoted=False), Word("x'y", 26, 32, quoted=True))
    assert parse(text) == Parsed(text, (Directive("server_name", words, 5, 33, 3, 3),), (Comment("# a", 0, 3, 1),))


def test_a_block() -> None:
    """A block knows its inside, and what lies in it; the directives are walked in the order of the text."""
    parsed = parse("a { b { c; } d; }\ne;")
    assert [directive.name for directive in walk(parsed.directives)] == ["a", "b", "c", "d", "e"]
    assert parsed.directives[0].inside == (3, 16)
    assert [directive.name for directive in parsed.directives[0].block or ()] == ["b", "d"]


def test_deep() -> None:
    """Thousands of blocks within each other are no trouble."""
    depth = 5_000
    assert sum(1 for _ in walk(parse("a{" * depth + "}" * depth).directives)) == depth


@pytest.mark.process
def test_a_byte_order_mark(tmp_path: Path) -> None:
    """NGINX takes a byte order mark for a part of the first word, and so do we: that directive is unknown to both."""
    text = "\ufeffevents {}"
    assert ask_nginx(tmp_path, text).message == 'unknown directive "\ufeffevents"'
    assert parse(text).directives[0].name == "\ufeffevents"


def test_bytes_survive() -> None:
    """Bytes that are no UTF-8 are characters like others."""
    text = b"return 200 'caf\xe9';".decode("utf-8", "surrogateescape")
    assert parse(text).directives[0].args[1].value.encode("utf-8", "surrogateescape") == b"caf\xe9"


# What crossplane reads otherwise than NGINX, which is right by definition: text, and what NGINX has of it.
DIFFERENT = {
    "x/y a} ;": ["a}"],
    "x/y a\\${b}c ;": None,  # a block
    "x/y a\u00a0b ;": ["a\u00a0b"],
    "x/y ${a ;": ["${a"],
}


@pytest.mark.process
@pytest.mark.parametrize("text", DIFFERENT)
def test_nginx_is_right(tmp_path: Path, text: str) -> None:
    """Where NGINX and crossplane differ, we read what NGINX reads."""
    said = ask_nginx(tmp_path, f"events {{}} http {{ types {{ {text}\n}} }}")
    wanted = DIFFERENT[text]
    assert said.taken == (wanted is not None)
    ours = attempt(text)
    if wanted is None:
        assert said.message == 'unexpected "{"'
        assert isinstance(ours, SyntaxFault)
    else:
        assert isinstance(ours, Parsed)
        assert [word.value for word in ours.directives[0].args] == wanted
        assert our_tree(ours.directives) != crossplane_tree(tmp_path, text)


LUA = {
    "nothing": "",
    "a table": " local t = { a = { 1 } } ",
    "strings": " ngx.say(\"}\", '}', '\\'}', \"\\\"}\") ",
    "long strings": " local s = [[ } ]] .. [==[ ]] } ]==] ",
    "comments": " -- it's a }\n --[[ }\n } ]] x() --[=[ } ]] ]=]\n ---[[ }\n ",
    "an apostrophe that ends no string": " -- don't\n x = 'a' ",
}


@pytest.mark.parametrize("code", LUA.values(), ids=LUA)
@pytest.mark.parametrize("name", ["content_by_lua_block", "set_by_lua_block $x"])
def test_lua(code: str, name: str) -> None:
    """A block of Lua ends where Lua's grammar has its brace, and is no directives; what follows it is read on."""
    text = f"location / {{\n {name} {{{code}}} a b; }} c;"
    location, after = parse(text).directives
    lua, inner = location.block or ()
    assert text[slice(*lua.inside or ())] == code
    assert (lua.block, lua.line, inner.name, after.name) == ((), 2, "a", "c")
    assert inner.line == line_at(text, inner.start)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a;\ninit_by_lua_block { if {\n",
            "unexpected end of file, expecting terminating characters for lua code block",
        ),
        ("a;\ninit_by_lua_block { x = [=[ ]] }\n", 'Lua code block missing the closing long bracket "]=]"'),
    ],
)
def test_lua_without_an_end(text: str, message: str) -> None:
    """A block of Lua that does not end is a fault, in the words of NGINX's module for Lua."""
    with pytest.raises(SyntaxFault) as caught:
        parse(text)
    assert (caught.value.message, caught.value.line) == (message, 2)
