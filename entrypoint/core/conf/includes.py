"""The configuration as NGINX puts it together from its files: what includes what, and what lies inside what.

The files have been read by the caller: their texts, parsed, by absolute path, and for every pattern that an ``include``
names (see `includes`) the paths that it matched, in the order of NGINX's glob: sorted by byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
    """A directive and the file that it is written in."""

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
        """Where it is written."""
        return self.file, self.directive.start

    @property
    def where(self) -> str:
        """The same for people."""
        return f"{self.file}:{self.directive.line}"

    def has_line(self, line: int) -> bool:
        """Whether a line of its file belongs to it."""
        return self.directive.line <= line <= self.directive.last_line


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a file that NGINX refuses. ``within``: the blocks and includes around it, the outermost first."""

    file: str
    line: int
    message: str
    within: tuple[Setting, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.message} in {self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Unread:
    """Why something that an ``include`` matches was not read; ``is_file`` says that it may hold a configuration."""

    reason: str
    is_file: bool


def syntax_faults(files: Mapping[str, Parsed | SyntaxFault]) -> dict[str, Fault]:
    """What is wrong with those of the files that could not be parsed, by path."""
    return {
        path: Fault(path, fault.line, fault.message) for path, fault in files.items() if isinstance(fault, SyntaxFault)
    }


@dataclass(frozen=True, slots=True)
class Survey:
    """Every file that the root leads to, all faults, the paths in each file, and the blocks that it is included in.

    ``left_out`` are paths that a pattern matches and that cannot be read, each with the reason: what else it matches
    does not depend on them.
    """

    files: tuple[str, ...]
    faults: tuple[Fault, ...]
    left_out: Mapping[str, str]
    paths: Mapping[str, tuple[PathWord, ...]]
    blocks: Mapping[str, frozenset[Place]]


def includes(parsed: Parsed, prefix: str) -> tuple[str, ...]:
    """The absolute patterns that a text includes: what its reader has to look for next.

    ``prefix`` is the `folder` of the root file, whatever file the text is from.
    """
    settings = (Setting("", directive) for directive in walk(parsed.directives))
    return tuple(dict.fromkeys(full_name(setting.value, prefix) for setting in settings if _is_include(setting)))


def is_glob(pattern: str) -> bool:
    """Whether NGINX takes an include's argument for a pattern, which may match nothing, and not for one file's name."""
    return _GLOB.search(pattern) is not None


@dataclass(frozen=True)
class Tree:
    """A configuration's files. Only `survey` speaks of faults: all others pass over what cannot be read."""

    root: str
    files: Mapping[str, Parsed | SyntaxFault] = field(repr=False)
    matches: Mapping[str, Sequence[str]] = field(repr=False)
    unread: Mapping[str, Unread] = field(default_factory=dict, repr=False)

    @property
    def main(self) -> tuple[Setting, ...]:
        """The settings outside of all blocks."""
        return tuple(self._expand(self.root, self._directives(self.root), (self.root,)))

    def inside(self, setting: Setting) -> tuple[Setting, ...]:
        """The settings right inside a block: an ``include`` and behind it, if it can be read, what it brings in."""
        return tuple(self._expand(setting.file, setting.directive.block or (), (setting.file,)))

    def targets(self, setting: Setting) -> tuple[str, ...]:
        """The files that a setting includes; a file that is named by itself, also where it does not exist."""
        if not _is_include(setting):
            return ()
        pattern = full_name(setting.value, folder(self.root))
        return tuple(self.matches.get(pattern) or (() if is_glob(pattern) else (pattern,)))

    def survey(self) -> Survey:
        """Look at everything that the root leads to."""
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
            self._parsed(file, parsed, within, data=data)

    def _missing(self, file: str, within: tuple[Setting, ...]) -> None:
        """A fault of the include, or, where a pattern matched it, of this path alone.

        A server may not run without rules that are in a file which cannot be read.
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

    def _parsed(self, file: str, parsed: Parsed | SyntaxFault, within: tuple[Setting, ...], *, data: bool) -> None:
        if isinstance(parsed, SyntaxFault):
            self.faults.append(Fault(file, parsed.line, parsed.message, within))
        else:
            self._directives(file, parsed.directives, within, data=data)

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
        """A fault of the innermost thing around it, or of the root file as a whole."""
        file, line = (within[-1].file, within[-1].directive.line) if within else (self.tree.root, 0)
        self.faults.append(Fault(file, line, message, within))


def _is_include(setting: Setting) -> bool:
    """NGINX takes exactly one argument; it refuses any other ``include`` itself."""
    return setting.name == "include" and len(setting.words) == 1 and not setting.is_block
