"""The tree of a configuration: which file includes which, and which block contains what.

The caller has read the files: their texts, parsed, by absolute path, and for every pattern in an ``include`` (see
`includes`) the matching paths, in the order of NGINX's glob: sorted by byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from entrypoint.core.conf.paths import DATA_BLOCKS, PathWord, folder, full_name, path_word
from entrypoint.core.conf.syntax import Directive, Parsed, SyntaxFault, Word, walk

# NGINX has no limit of its own, but nobody goes deeper than ten; it keeps a mistake from using up the stack.
_DEEPEST = 100
_TOO_DEEP = f"more than {_DEEPEST} blocks and includes lie within each other"
_GLOB = re.compile(r"[*?\[]")


# A file, and an offset in its text.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Setting:
    """A directive and its file."""

    file: str
    directive: Directive

    @property
    def name(self) -> str:
        """The directive's name."""
        return self.directive.name

    @property
    def words(self) -> tuple[Word, ...]:
        """The directive's arguments."""
        return self.directive.args

    @property
    def value(self) -> str:
        """The first argument; empty where there is none."""
        return self.words[0].value if self.words else ""

    @property
    def is_block(self) -> bool:
        """Whether it has a block."""
        return self.directive.block is not None

    @property
    def place(self) -> Place:
        """The directive's place: file and offset."""
        return self.file, self.directive.start

    @property
    def where(self) -> str:
        """The same for people."""
        return f"{self.file}:{self.directive.line}"

    def has_line(self, line: int) -> bool:
        """Whether a line of the file is within the directive."""
        return self.directive.line <= line <= self.directive.last_line


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in a file that NGINX refuses. ``within``: the surrounding blocks and includes, the outermost first."""

    file: str
    line: int
    message: str
    within: tuple[Setting, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.message} in {self.file}:{self.line}"


class Unread(NamedTuple):
    """Why a path that an ``include`` matches was not read; ``is_file``: whether it may hold a configuration."""

    reason: str
    is_file: bool


class Survey(NamedTuple):
    """All files below the root, all faults, the paths in each file, and the blocks that include it.

    ``left_out`` are the unreadable matches of a pattern, each with the reason: the other matches do not depend on them.
    """

    files: tuple[str, ...]
    faults: tuple[Fault, ...]
    left_out: Mapping[str, str]
    paths: Mapping[str, tuple[PathWord, ...]]
    blocks: Mapping[str, frozenset[Place]]


def includes(parsed: Parsed, prefix: str) -> tuple[str, ...]:
    """The absolute patterns of a text's ``include`` directives, for the reader to resolve.

    ``prefix`` is the `folder` of the root file, whichever file the text is from.
    """
    settings = (Setting("", directive) for directive in walk(parsed.directives))
    return tuple(dict.fromkeys(full_name(setting.value, prefix) for setting in settings if _is_include(setting)))


def is_glob(pattern: str) -> bool:
    """Whether NGINX treats an include's argument as a pattern, which may match nothing, and not as a file name."""
    return _GLOB.search(pattern) is not None


@dataclass(frozen=True)
class Tree:
    """The files of a configuration. Only `survey` reports faults; the other methods skip unreadable files."""

    root: str
    files: Mapping[str, Parsed | SyntaxFault] = field(repr=False)
    matches: Mapping[str, Sequence[str]] = field(repr=False)
    unread: Mapping[str, Unread] = field(default_factory=dict, repr=False)

    @property
    def main(self) -> tuple[Setting, ...]:
        """The settings outside of all blocks."""
        return tuple(self._expand(self.root, self._directives(self.root), (self.root,)))

    def inside(self, setting: Setting) -> tuple[Setting, ...]:
        """The settings directly inside a block; those of included files follow their ``include``."""
        return tuple(self._expand(setting.file, setting.directive.block or (), (setting.file,)))

    def targets(self, setting: Setting) -> tuple[str, ...]:
        """The files that a setting includes; without a pattern also one that does not exist."""
        if not _is_include(setting):
            return ()
        pattern = full_name(setting.value, folder(self.root))
        return tuple(self.matches.get(pattern) or (() if is_glob(pattern) else (pattern,)))

    def survey(self) -> Survey:
        """The survey of everything below the root."""
        return _Surveyor(self).survey()

    def _expand(self, file: str, directives: tuple[Directive, ...], above: tuple[str, ...]) -> Iterator[Setting]:
        for directive in directives:
            setting = Setting(file, directive)
            yield setting
            for path in self.targets(setting):
                if path not in above and len(above) < _DEEPEST:
                    yield from self._expand(path, self._directives(path), (*above, path))

    def _directives(self, file: str) -> tuple[Directive, ...]:
        parsed = self.files.get(file)
        return parsed.directives if isinstance(parsed, Parsed) else ()


class _Surveyor:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.faults: list[Fault] = []
        self.left_out: dict[str, str] = {}
        self.files: dict[str, set[Place]] = {}
        self.paths: dict[str, dict[int, PathWord]] = {}

    def survey(self) -> Survey:
        self._file(self.tree.root, (), data=False)
        paths = {file: tuple(word for _, word in sorted(found.items())) for file, found in self.paths.items()}
        blocks = {file: frozenset(places) for file, places in self.files.items()}
        return Survey(tuple(self.files), tuple(self.faults), self.left_out, paths, blocks)

    def _file(self, file: str, within: tuple[Setting, ...], *, data: bool) -> None:
        parsed = self.tree.files.get(file)
        if problem := self._problem(file, within):
            self._fault(problem, within)
        elif parsed is None:
            self._missing(file, within)
        else:
            self.files.setdefault(file, set()).update(setting.place for setting in within if setting.is_block)
            if isinstance(parsed, SyntaxFault):
                self.faults.append(Fault(file, parsed.line, parsed.message, within))
            else:
                self._directives(file, parsed.directives, within, data=data)

    def _missing(self, file: str, within: tuple[Setting, ...]) -> None:
        """A fault of the include, or, for a match of a pattern, of this path alone.

        A server must not run without the rules in a file that cannot be read.
        """
        unread = self.tree.unread.get(file)
        if not unread:
            self._fault(f'open() "{file}" failed', within)
        elif not is_glob(within[-1].value) or (unread.is_file and any(each.name == "server" for each in within)):
            self._fault(f'"{file}" {unread.reason}', within)
        else:
            self.left_out[file] = unread.reason

    def _problem(self, file: str, within: tuple[Setting, ...]) -> str:
        if any(setting.file == file for setting in within):
            return f'"{file}" includes itself'
        return _TOO_DEEP if len(within) > _DEEPEST else ""

    def _directives(
        self, file: str, directives: tuple[Directive, ...], within: tuple[Setting, ...], *, data: bool
    ) -> None:
        for directive in directives:
            setting = Setting(file, directive)
            if word := path_word(directive, data=data):
                self.paths.setdefault(file, {})[word.start] = PathWord(directive, word)
            for path in self.tree.targets(setting):
                self._file(path, (*within, setting), data=data)
            if directive.block and len(within) < _DEEPEST:
                data_block = data or directive.name in DATA_BLOCKS
                self._directives(file, directive.block, (*within, setting), data=data_block)
            elif directive.block:
                self._fault(_TOO_DEEP, (*within, setting))

    def _fault(self, message: str, within: tuple[Setting, ...]) -> None:
        """A fault of the innermost surrounding block or include, or of the root file as a whole."""
        file, line = (within[-1].file, within[-1].directive.line) if within else (self.tree.root, 0)
        self.faults.append(Fault(file, line, message, within))


def _is_include(setting: Setting) -> bool:
    """Whether a directive is an ``include`` with exactly one argument: NGINX refuses all others itself."""
    return setting.name == "include" and len(setting.words) == 1 and not setting.is_block
