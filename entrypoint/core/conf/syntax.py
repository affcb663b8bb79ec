"""NGINX's configuration language: from a text to its directives, each with its exact place.

Words end, quote and escape as in NGINX's own reader (ngx_conf_read_token in src/core/ngx_conf_file.c, 1.31). Directives
have no meaning here, with one exception: the Lua in a ``..._by_lua_block`` is kept as one text.

Offsets count characters of the text. A file read as UTF-8 with ``surrogateescape`` and without translated line ends
keeps all of its bytes. A byte order mark is, as for NGINX, a part of the first word. Words may be longer than the 4,096
bytes that NGINX allows.

crossplane reads the same language, but gives no offsets, without which a copy could not keep all other bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_QUOTED = r"""(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|'[^'\\]*+(?:\\.[^'\\]*+)*+')"""
_TOKEN = re.compile(
    rf"""[ \t\r\n]*+(?:
        (?P<word>
            (?:[^ \t\r\n;{{}}"'\#\\$] | \\. | \${{*+)      # quotes and # are special only here
            (?:[^ \t\r\n;{{\\$]++ | \\. | \${{*+)*+        # ${{name}} opens no block
        )
      | (?P<mark>[;{{}}])
      | (?P<quoted>{_QUOTED}(?=[ \t\r\n;{{)]|\Z))
      | (?P<comment>\#[^\n]*+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_CLOSED = re.compile(_QUOTED, re.DOTALL)
_ESCAPE = re.compile(r"""\\(["'\\trn])""")
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n"}

# The tokens of ngx_http_lua_lex (util/gen-lexer-c in openresty/lua-nginx-module); all other text is skipped.
_LUA = re.compile(
    r"""(?P<brace>[{}]) | (?:--)?\[(?P<long>=*)\[ | --[^\n]*+ | "(?:\\[^\n]|[^"\n\\])*+" | '(?:\\[^\n]|[^'\n\\])*+'""",
    re.VERBOSE,
)
_LUA_BLOCK = "_by_lua_block"
_LUA_END = "unexpected end of file, expecting terminating characters for lua code block"


class SyntaxFault(Exception):
    """A syntax error that NGINX would report. ``message`` has NGINX's wording; lines count from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"{message} in line {line}")
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Word:
    """A word: its value without quotes and escapes, and its place, quotes included."""

    value: str
    start: int
    end: int
    quoted: bool


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive from its name to its ``;`` or ``}``.

    ``block`` is None without a block, and ``inside`` is the span between the braces. A block of Lua has no directives.
    ``line`` is the line of the name, and ``last_line`` that of the ``;`` or ``}``, which NGINX's messages name.
    """

    name: str
    args: tuple[Word, ...]
    start: int
    end: int
    line: int
    last_line: int
    block: tuple[Directive, ...] | None = None
    inside: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment from its ``#`` to the end of its line, without the line end."""

    text: str
    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text, its outermost directives, and all its comments outside of Lua."""

    text: str = field(repr=False)
    directives: tuple[Directive, ...]
    comments: tuple[Comment, ...]


def parse(text: str) -> Parsed:
    """Parse a text; raises SyntaxFault for the first error that NGINX would report."""
    return _Reader(text).read()


def attempt(text: str) -> Parsed | SyntaxFault:
    """Parse a text; an error is returned, not raised, for callers with many texts."""
    try:
        return parse(text)
    except SyntaxFault as fault:
        return fault


def line_at(text: str, offset: int) -> int:
    """The line of an offset, counted from 1. As for NGINX only a line feed ends a line."""
    return text.count("\n", 0, offset) + 1


def walk(directives: tuple[Directive, ...]) -> Iterator[Directive]:
    """All directives, nested ones included, in the order of the text."""
    waiting = list(reversed(directives))
    while waiting:
        directive = waiting.pop()
        yield directive
        waiting += reversed(directive.block or ())


@dataclass(frozen=True, slots=True)
class _Open:
    """A block that is not closed yet: its words, the start of its inside, and the directives before it."""

    words: list[Word]
    inside: int
    before: list[Directive]


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.words: list[Word] = []
        self.done: list[Directive] = []
        self.open: list[_Open] = []
        self.comments: list[Comment] = []
        self.line, self.counted = 1, 0

    def read(self) -> Parsed:
        while token := _TOKEN.match(self.text, self.at):
            self.at = token.end()
            kind = token.lastgroup
            if kind == "word":
                self._word(token["word"], token.start("word"), quoted=False)
            elif kind == "mark":
                self._mark(token["mark"])
            elif kind == "quoted":
                self._word(token["quoted"][1:-1], token.start("quoted"), quoted=True)
            else:
                start = token.start("comment")
                self.comments.append(Comment(token["comment"], start, self.at, self._line(start)))
        self._end()
        return Parsed(self.text, tuple(self.done), tuple(self.comments))

    def _word(self, raw: str, start: int, *, quoted: bool) -> None:
        value = _ESCAPE.sub(_unescape, raw) if "\\" in raw else raw
        self.words.append(Word(value, start, self.at, quoted))

    def _mark(self, mark: str) -> None:
        if bool(self.words) == (mark == "}"):
            raise self._fault(f'unexpected "{mark}"')
        if mark == ";":
            self._finish(self.words, None, None)
            self.words = []
        elif mark == "{":
            self._block()
        else:
            self._close()

    def _block(self) -> None:
        words, self.words = self.words, []
        if words[0].value.endswith(_LUA_BLOCK):
            start, self.at = self.at, _end_of_lua(self.text, self.at)
            self._finish(words, (), (start, self.at - 1))
        else:
            self.open.append(_Open(words, self.at, self.done))
            self.done = []

    def _close(self) -> None:
        if not self.open:
            raise self._fault('unexpected "}"')
        opened = self.open.pop()
        block, self.done = tuple(self.done), opened.before
        self._finish(opened.words, block, (opened.inside, self.at - 1))

    def _finish(self, words: list[Word], block: tuple[Directive, ...] | None, inside: tuple[int, int] | None) -> None:
        name, *args = words
        lines = self._line(name.start), self._line(self.at)
        self.done.append(Directive(name.value, tuple(args), name.start, self.at, *lines, block, inside))

    def _line(self, offset: int) -> int:
        """The line of an offset; fast for an offset near the previous one."""
        if offset >= self.counted:
            self.line += self.text.count("\n", self.counted, offset)
        else:
            self.line -= self.text.count("\n", offset, self.counted)
        self.counted = offset
        return self.line

    def _end(self) -> None:
        """The error where no token follows: an unexpected end, or an unterminated quoted word."""
        rest = self.text[self.at :].lstrip(" \t\r\n")
        closed = _CLOSED.match(rest)
        if closed:
            self.at = len(self.text) - len(rest) + closed.end() + 1
            raise self._fault(f'unexpected "{self.text[self.at - 1]}"')
        self.at = len(self.text)
        if rest or self.words:
            raise self._fault('unexpected end of file, expecting ";" or "}"')
        if self.open:
            raise self._fault('unexpected end of file, expecting "}"')

    def _fault(self, message: str) -> SyntaxFault:
        return SyntaxFault(message, line_at(self.text, self.at))


def _unescape(escape: re.Match[str]) -> str:
    return _ESCAPED.get(escape[1], escape[1])


def _end_of_lua(text: str, start: int) -> int:
    """The offset after the closing brace of a block of Lua; ``start`` is the offset after the opening one."""
    depth, at = 1, start
    while depth:
        token = _LUA.search(text, at)
        if not token:
            raise SyntaxFault(_LUA_END, line_at(text, start))
        at = token.end()
        if token["brace"]:
            depth += 1 if token["brace"] == "{" else -1
        elif token["long"] is not None:
            at = _end_of_long_bracket(text, at, f"]{token['long']}]")
    return at


def _end_of_long_bracket(text: str, at: int, bracket: str) -> int:
    end = text.find(bracket, at)
    if end < 0:
        raise SyntaxFault(f'Lua code block missing the closing long bracket "{bracket}"', line_at(text, at))
    return end + len(bracket)
