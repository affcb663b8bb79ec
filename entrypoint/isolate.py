"""NGINX's refusal of a configuration, brought down to the user's server or file that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from entrypoint.core.configuration import Source
from entrypoint.core.gate import Gates, blocked_servers
from entrypoint.core.model import Outcome, Problem, Refused
from entrypoint.core.paths import folder, full_name, path_word
from entrypoint.core.plan import Plan
from entrypoint.core.servers import Server
from entrypoint.core.syntax import Directive, Parsed, attempt, walk
from entrypoint.core.wanted import cared_for, identity

_BIND = re.compile(r"\bbind\(\) to (?:\S*:)?(?P<port>\d+) failed")


MOST_REFUSALS = 50  # of one plan, each of which costs an `nginx -t`


class Rejected(Refused):
    """NGINX refused the configuration of the staged generation at that path."""

    def __init__(self, problem: Problem, generation: Path) -> None:
        super().__init__(problem.outcome, problem.detail, problem.hint)
        self.generation = generation


def without(plan: Plan, error: Rejected) -> Plan:
    """The plan without the part that NGINX refused. Raises `Refused` where that is not a part of the user's."""
    narrower = narrowed(plan, error.generation, error.problem.detail)
    if narrower is None:
        raise told(plan, error) from None
    return narrower


def too_many() -> Refused:
    """A refusal of a plan that cannot be narrowed in a reasonable time."""
    return Refused(Outcome.CONFIG_REJECTED, f"NGINX refuses more than {MOST_REFUSALS} servers and files")


def narrowed(plan: Plan, generation: Path, message: str) -> Plan | None:
    """The plan without what the message complains about; None where that is not a part of the user's, or all of it."""
    source = plan.source
    if not source:
        return None
    reason = translated(plan, generation, message)
    servers = dict(plan.gates.servers)
    files = dict(plan.gates.files)
    for file, line in dict.fromkeys(_places(plan, source, generation, message)):
        found = source.configuration.servers_at(file, line)
        servers |= {server.place: reason for server in found}
        if not found and file == source.root:
            servers |= {block.place: reason for block in source.configuration.blocks_at(file, line)}
        if not found and file != source.root:
            files[file] = reason
    gates = Gates(servers, files)
    return replace(plan, gates=gates) if gates != plan.gates else None


def translated(plan: Plan, generation: Path, message: str) -> str:
    """The message with the user's own files and lines instead of the copies'."""

    def own(match: re.Match[str]) -> str:
        place = plan.origin(match["path"], int(match["line"]))
        return f"{place[0]}:{place[1]}" if place else match[0]

    return _copies(generation).sub(own, message)


def told(plan: Plan, error: Rejected) -> Refused:
    """A refusal in the user's own terms."""
    problem = error.problem
    return Refused(problem.outcome, translated(plan, error.generation, problem.detail), problem.hint)


def _copies(generation: Path) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(str(generation))}/(?P<path>[^:;]+):(?P<line>\d+)")


def _places(plan: Plan, source: Source, generation: Path, message: str) -> Iterator[tuple[str, int]]:
    """The user's files and lines that a message is about: named in it, or holding a path or a port that is."""
    named = [place for match in _copies(generation).finditer(message) for place in _named(plan, match)]
    yield from named
    if named:
        return
    for file in source.configuration.files:
        parsed = attempt(source.texts[file])
        for directive in walk(parsed.directives) if isinstance(parsed, Parsed) else ():
            if any(name in message for name in _files(directive, folder(source.root))):
                yield file, directive.line
    if bind := _BIND.search(message):
        yield from _listening(source.configuration.servers, int(bind["port"]))


def _named(plan: Plan, match: re.Match[str]) -> Iterator[tuple[str, int]]:
    """What a line of the copies stands for: the user's, and, where a stand-in is refused, the servers it is for."""
    path, line = match["path"], int(match["line"])
    if place := plan.origin(path, line):
        yield place
    for server in plan.neighbours(path, line):
        yield server.block.file, server.block.directive.line


def _files(directive: Directive, prefix: str) -> Iterator[str]:
    """How NGINX's messages name the files of a directive; those that go by its own prefix end in the word."""
    path = path_word(directive)
    for word in directive.args if directive.name != "include" else ():
        if word is path:
            yield f'"{full_name(word.value, prefix)}"'
        elif name := word.value.removeprefix("./").lstrip("/"):
            yield f'/{name}"'


def _listening(servers: Iterable[Server], port: int) -> Iterator[tuple[str, int]]:
    for server in servers:
        if any(listener.port == port for listener in server.listeners):
            yield server.block.file, server.block.directive.line


def gated_pairs(plan: Plan) -> dict[str, Problem]:
    """The pairs that no server presents, though they may be usable, because NGINX refused the servers."""
    if not plan.source:
        return {}
    gone = blocked_servers(plan.source, {}, plan.gates)
    found: dict[str, Problem] = {}
    running: set[str] = set()
    for server in plan.source.configuration.servers:
        for pair in cared_for(server):
            if server.place not in gone:
                running.add(identity(pair))
            else:
                found[identity(pair)] = Problem(Outcome.CONFIG_REJECTED, gone[server.place], "mend it there")
    return {each: problem for each, problem in found.items() if each not in running}
