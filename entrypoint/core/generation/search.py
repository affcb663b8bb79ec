"""The search for the cause of a refusal where NGINX names none, or too many to be tried one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.includes import Place
from entrypoint.core.conf.syntax import Directive
from entrypoint.core.generation.blame import Rejected, places, told
from entrypoint.core.generation.plan import Plan

T = TypeVar("T")
Try = Callable[[Plan], Rejected | None]

# Complaints about what two directives say together: where another says the same, it may be alone and right.
_OF_TWO = re.compile(r"duplicate|conflict|already|is defined|too many")
_MOST_FILES = 50


def searched(plan: Plan, error: Rejected, tried: Try, in_time: Callable[[], bool]) -> Plan | None:
    """The plan without the fewest servers, or the one file, that a refusal without a place is about.

    None where neither helps, or the time is up.
    """
    reason = str(told(plan, error))
    refusals, found = plan.refusals, plan.user.configuration

    def without(servers: Iterable[Place]) -> Plan:
        return replace(plan, refusals=replace(refusals, servers={**refusals.servers, **dict.fromkeys(servers, reason)}))

    def helps(servers: Iterable[Place]) -> bool:
        other = tried(without(servers)) if in_time() else error
        return other is None or str(told(plan, other)) != reason

    running = dict.fromkeys(server.place for server in found.servers if server.place not in refusals.servers)
    guilty = _culprits(tuple(running), helps)
    if guilty and in_time():
        return without(guilty)
    files = _without_servers(plan)[:_MOST_FILES]
    smaller = (replace(plan, refusals=replace(refusals, files={**refusals.files, file: reason})) for file in files)
    return next((each for each in smaller if in_time() and tried(each) is None), None)


def _without_servers(plan: Plan) -> list[str]:
    """The user's files, but the root, that run and hold settings alone."""
    found = plan.user.configuration
    other = {*plan.refusals.files, *(server.block.file for server in found.servers)}
    return [file for file in found.files[1:] if file in plan.user.own and file not in other]


def _culprits(parts: Sequence[T], helps: Callable[[Iterable[T]], bool]) -> tuple[T, ...]:
    """A minimal set of the parts whose removal helps, by halves (QuickXplain, Junker 2004).

    It is empty where even the removal of all parts does not help. One culprit among n costs about 2 log2 n calls.
    """
    return _needed((), parts, helps, ask=False) if parts and helps(parts) else ()


def _needed(
    gone: tuple[T, ...], parts: Sequence[T], helps: Callable[[Iterable[T]], bool], *, ask: bool
) -> tuple[T, ...]:
    """The parts that must go besides those that are ``gone``; ``ask`` first whether any must."""
    if ask and helps(gone):
        return ()
    if len(parts) == 1:
        return tuple(parts)
    middle = len(parts) // 2
    first, second = parts[:middle], parts[middle:]
    later = _needed((*gone, *first), second, helps, ask=True)
    return (*_needed((*gone, *later), first, helps, ask=bool(later)), *later)


def with_kindred(narrower: Plan, plan: Plan, error: Rejected) -> Plan:
    """The narrower plan, also without the servers that repeat the refused directives word for word."""
    user, message = plan.user, str(told(plan, error))
    fresh = narrower.refusals.servers.keys() - plan.refusals.servers.keys()
    if not fresh or _OF_TWO.search(message):
        return narrower
    contexts = {server.context for server in user.configuration.servers if server.place in fresh}
    refused = [each for place in places(plan, error.generation, error.problem.detail) for each in _at(user, *place)]
    alike = {
        server.place: message
        for file, directive in user.directives()
        if any(_same(directive, each) for each in refused)
        for server in user.configuration.servers_at(file, directive.line)
        if server.context in contexts
    }
    return replace(narrower, refusals=replace(narrower.refusals, servers={**alike, **narrower.refusals.servers}))


def _at(user: UserConfig, file: str, line: int) -> Iterator[Directive]:
    """The directives without a block that end in a line, counted as NGINX does."""
    for where, directive in user.directives():
        if where == file and directive.last_line == line and directive.block is None:
            yield directive


def _same(one: Directive, other: Directive) -> bool:
    return one.name == other.name and [word.value for word in one.args] == [word.value for word in other.args]
