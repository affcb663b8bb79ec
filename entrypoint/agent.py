"""The agent: events in, one cycle, its outcome out.

A cycle reads the configuration, checks the due pairs, makes a plan, and makes it live: one generation, tested by NGINX,
published by one rename, proved by handshakes, or rolled back. docs/architecture.md draws it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from entrypoint.attempts import Attempts
from entrypoint.check import check_all
from entrypoint.core.conf.vanished import Ran
from entrypoint.core.facts import Facts
from entrypoint.core.generation.ending import Ending
from entrypoint.core.generation.managed import Found, ManagedPair, plannable
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import packaged_config
from entrypoint.core.model import Outcome, Refused
from entrypoint.core.settings import Settings
from entrypoint.core.times import rfc3339
from entrypoint.doubts import Doubts
from entrypoint.edges import control, host, keys, nginx, packaged, watch
from entrypoint.edges.config_files import ConfigFiles
from entrypoint.edges.generations import Generation, Generations
from entrypoint.edges.status_files import StatusFiles
from entrypoint.edges.supervisord import Supervisord
from entrypoint.environment import near_misses
from entrypoint.events import Mailbox, Request, why
from entrypoint.pairs import Pairs
from entrypoint.publisher import Publisher
from entrypoint.rollout import Rollout
from entrypoint.system import disk, memory, signals

log = logging.getLogger("certfront")

_HEARTBEAT = 30.0  # seconds between cycles in which nothing is due: files compared, NGINX's generation looked at
_UNWATCHED = 1.5  # seconds, more than files must be quiet for


class Agent:
    """The agent of one state folder."""

    def __init__(
        self,
        settings: Settings,
        program: str,
        facts: Facts,
        clock: Callable[[], datetime],
        doubts: Doubts | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.facts, self.clock = settings, facts, clock
        self.templates = packaged.packaged()
        self.generations = Generations(settings.state_dir)
        site = packaged_config(settings, facts, self.templates)
        user = ConfigFiles(settings, site, Ran.stored(self.generations.source()))
        self.pairs = Pairs(settings, self.generations, user)
        self.rollout = Rollout(program, self.generations, Supervisord(settings.run_dir), settings.run_dir)
        told = StatusFiles(settings.run_dir).read() or {}  # by the start, or by an agent before
        problem = str(told.get("configuration", {}).get("problem", ""))
        self.attempts = Attempts(self.rollout, self.pairs, monotonic, problem)
        self.publisher = Publisher(self.attempts, doubts or Doubts(settings), facts.nginx_version, clock, monotonic)
        self.ending = Ending(self.pairs.problem)
        self.mailbox = Mailbox()
        self.watching: watch.Watch | None = None
        self.settled = False

    async def run(self) -> None:
        """Run cycles until a signal ends the process: it may come at any step, and the next start converges."""
        loop = asyncio.get_running_loop()
        signals.ignore_all_but(signals.ENDING)
        for number in signals.ENDING:
            loop.add_signal_handler(number, os._exit, 0)
        loop.add_signal_handler(signal.SIGHUP, self.mailbox.post, "SIGHUP")
        self._watch()
        server = await control.serve(self.settings.run_dir, self._asked)
        self.publisher.alive.follow_the_clock(loop)
        await asyncio.to_thread(bool)  # the thread for NGINX's tests: later there may be no process left for it
        async with server:
            await self._converge()
            requests: list[Request] = []
            while True:
                await self._guarded_cycle(requests)
                self._settle()
                requests = await self.mailbox.next(self._pause())

    def _watch(self) -> None:
        """Watch the current folders, and no others."""
        if self.watching and self.watching.spots == self.pairs.spots():
            return
        if self.watching:
            self.watching.stop()
        loop = asyncio.get_running_loop()
        self.watching = self.pairs.watch(functools.partial(loop.call_soon_threadsafe, self._files_changed), self.clock)
        loop.call_later(_UNWATCHED, self._look_again)

    def _look_again(self) -> None:
        """Compare the files again, once nobody writes: a change between reading and watching raised no event."""
        if self.pairs.being_written(self.clock()):
            asyncio.get_running_loop().call_later(_UNWATCHED, self._look_again)
        else:
            self._files_changed()

    def _settle(self) -> None:
        """After a cycle: watch new folders, remove superfluous files, and, once, return the memory of the start."""
        self._watch()
        self.rollout.tidy()
        if not self.settled:
            self.settled = True
            memory.settle()

    def _files_changed(self) -> None:
        if self.pairs.differ():
            self.mailbox.post("files changed")

    async def _asked(self, names: list[str], force: bool) -> list[dict[str, Any]]:
        await self.mailbox.ask(names, force=force)
        records = ((pair, pair.record) for pair in self.pairs.managed)
        pairs = [pair for pair, record in records if not names or {*record.names, record.name} & set(names)]
        return list(self.publisher.status(pairs, self.ending)["certificates"])

    def _pause(self) -> float:
        due = [pair.record.next_check_at for pair in self.pairs.managed if pair.record.next_check_at]
        seconds = [(moment - self.clock()).total_seconds() for moment in due]
        return max(0.0, min([_HEARTBEAT, *seconds, *self.attempts.pauses()]))

    async def _guarded_cycle(self, requests: list[Request]) -> None:
        """The one broad ``except``: after any error in a cycle the next one comes, and NGINX serves on."""
        try:
            sentence = await self._cycle(requests)
            log.debug("%s: %s", why(requests), sentence)
            self.publisher.publish(self.ending, self._pause())
        except Exception:
            log.exception("this cycle failed unexpectedly; what was served goes on being served")
            await asyncio.sleep(1)
        finally:
            self.mailbox.answer(requests)

    async def _cycle(self, requests: list[Request]) -> str:
        """One cycle: from the requests to the due pairs, their checks, a plan, and its ending; returns the outcome.

        Each step hands its result to the next one; none calls back.
        """
        now = self.clock()
        changed = bool(requests or not self.pairs.being_written(now)) and self.pairs.refresh()
        if requests or changed:
            self.attempts.retries.forget()
        chosen = [pair for pair in self.pairs.managed if changed or self._is_due(pair, requests, now)]
        findings = await check_all(chosen, self.settings, now, force=any(request.force for request in requests))
        self.ending = ending = await self.attempts.run(self._plan(findings), findings, why(requests))
        for pair in chosen:
            problem = ending.problem_of(pair.identity, served=pair.served)
            self.pairs.note_check(pair, findings[pair.identity], problem, now, said=ending.is_of_all(problem))
        return ending.sentence(len(chosen))

    def _is_due(self, pair: ManagedPair, requests: list[Request], now: datetime) -> bool:
        return any(request.wants(pair.record.wanted) for request in requests) or self.pairs.is_due(pair, now)

    def _plan(self, findings: dict[str, Found]) -> Plan:
        """The plan with the credentials that the checks found, and the running ones of all other pairs."""
        usable, reasons = plannable(self.pairs.managed, findings)
        when = rfc3339(self.clock())
        return Plan(self.settings, self.facts, self.templates, usable, reasons, self.pairs.user, when=when)

    async def _converge(self) -> None:
        """Prove the generation that the start or a killed agent left as current; if that fails, the last proved one."""
        tried = None
        while (current := self.generations.current()) and current.number != tried:
            if await self.rollout.stands(self._plan_of(current), current):
                return
            tried = current.number
            self.pairs.restore()
        self.pairs.doubt()

    def _plan_of(self, current: Generation) -> Plan:
        usable, _ = plannable(self.pairs.managed, {})
        refusals = current.manifest.refusals
        ran = self.pairs.user.stored(self.generations.source()) or self.pairs.user
        return Plan(self.settings, self.facts, self.templates, usable, {}, ran, refusals)


def main(settings: Settings) -> int:
    """Run the agent until supervisord ends it."""
    program = nginx.binary(settings.nginx_bin)
    facts, _ = host.facts(nginx.build(program), settings.run_dir)
    for path in (*settings.key_files, settings.key_password_file):
        if warning := keys.warn_about_mode(path):
            log.warning("%s", warning)
    try:
        with disk.lock(settings.state_dir / "agent.lock"):
            doubts = Doubts(settings, near_misses(os.environ))
            agent = Agent(settings, program, facts, lambda: datetime.now(UTC), doubts)
            asyncio.run(agent.run())
    except disk.Locked:
        raise Refused(Outcome.CONFIG_REJECTED, f"another agent works on {settings.state_dir}") from None
    return 0
