"""The cycle.

Look at what should be served, build a complete generation of it, let NGINX test it, switch to it with one rename,
prove by handshake that it is served, otherwise switch back. Events start it; the status files show its result.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from entrypoint import editions, stored
from entrypoint.alive import Alive
from entrypoint.attempts import Attempts
from entrypoint.check import AT_ONCE, Found, ManagedPair, look_at_all, running
from entrypoint.core import schedule, status
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import Facts, snippets
from entrypoint.core.model import Outcome, Problem, Refused
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
from entrypoint.pairs import Pairs, due, record
from entrypoint.rollout import Rollout, other_generation_runs
from entrypoint.system import disk, memory, signals

log = logging.getLogger("certfront")

_HEARTBEAT = 30.0  # seconds between cycles in which nothing is due: files compared, NGINX's generation looked at
_UNWATCHED = 1.5  # seconds, more than files must be quiet for
_SLACK = 30.0  # seconds that a cycle may take beyond its fetches before health says so


class Agent:
    """One agent on one state folder."""

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
        self.doubts = doubts or Doubts(settings)
        self.templates = packaged.packaged()
        self.generations = Generations(settings.state_dir)
        own = snippets(settings, facts, self.templates)
        user = ConfigFiles(settings, own, editions.ran(self.generations))
        self.pairs = Pairs(settings, self.generations, user)
        self.supervisord = Supervisord(settings.run_dir)
        self.rollout = Rollout(program, self.generations, self.supervisord, settings.run_dir)
        self.files = StatusFiles(settings.run_dir)
        self.alive = Alive(self.files, lambda: clock().timestamp(), monotonic)
        self.mailbox = Mailbox()
        self.nginx: dict[str, Any] = {"version": ".".join(map(str, facts.nginx_version)), "running_since": None}
        self.nginx |= {"last_reload_at": None, "last_reload_ms": None}
        self.attempts = Attempts(self.rollout, self.pairs, monotonic, self._reloaded)
        self.asked_at: datetime | None = None
        self.watching: watch.Watch | None = None
        self.failure = self.rejected = self.pairs.problem
        told = self.files.read() or {}  # by the start, or by an agent before
        self.attempts.news.problem = str(told.get("configuration", {}).get("problem", ""))
        self.settled = False

    @property
    def slots(self) -> list[ManagedPair]:
        """What is known of each pair."""
        return self.pairs.slots

    async def run(self) -> None:
        """Cycle until a signal ends the process: every step may be interrupted, the next start converges."""
        loop = asyncio.get_running_loop()
        signals.ignore_all_but(signals.ENDING)
        for number in signals.ENDING:
            loop.add_signal_handler(number, os._exit, 0)
        loop.add_signal_handler(signal.SIGHUP, self.mailbox.post, "SIGHUP")
        self._watch()
        server = await control.serve(self.settings.run_dir, self._asked)
        self.alive.follow_the_clock(loop)
        await asyncio.to_thread(bool)  # the thread for NGINX's tests: later there may be no process left for it
        async with server:
            await self._converge()
            requests: list[Request] = []
            while True:
                await self._guarded_cycle(requests)
                self._settle()
                requests = await self.mailbox.next(self._pause())

    def _watch(self) -> None:
        """Watch the folders that matter now."""
        if self.watching and self.watching.spots == self.pairs.spots():
            return
        if self.watching:
            self.watching.stop()
        loop = asyncio.get_running_loop()
        self.watching = self.pairs.watch(functools.partial(loop.call_soon_threadsafe, self._files_changed), self.clock)
        loop.call_later(_UNWATCHED, self._look_again)

    def _look_again(self) -> None:
        """What came between reading and watching was no event. What somebody is writing waits until that is quiet."""
        if self.pairs.being_written(self.clock()):
            asyncio.get_running_loop().call_later(_UNWATCHED, self._look_again)
        else:
            self._files_changed()

    def _settle(self) -> None:
        """After a cycle: follow new folders, clear up, and, once, give back what only the start needed."""
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
        slots = [slot for slot in self.slots if not names or {*slot.record.names, slot.record.name} & set(names)]
        return list(self._status(slots)["certificates"])

    def _pause(self) -> float:
        due = [slot.record.next_check_at for slot in self.slots if slot.record.next_check_at]
        seconds = [(moment - self.clock()).total_seconds() for moment in due]
        return max(0.0, min([_HEARTBEAT, *seconds, *self.attempts.retries.pauses(self.attempts.clock())]))

    async def _guarded_cycle(self, requests: list[Request]) -> None:
        """The one broad ``except``: whatever goes wrong in a cycle, the next one comes, and NGINX serves on."""
        try:
            await self._cycle(requests)
            self.doubts.consider(self.pairs.source, certificates=bool(self.slots))
            self._publish()
        except Exception:
            log.exception("this cycle failed unexpectedly; what was served goes on being served")
            await asyncio.sleep(1)
        finally:
            self.mailbox.answer(requests)

    async def _cycle(self, requests: list[Request]) -> None:
        now = self.clock()
        changed = bool(requests or not self.pairs.being_written(now)) and self.pairs.refresh()
        chosen = [slot for slot in self.slots if changed or self._due(slot, requests, now)]
        if requests or changed:
            self.attempts.retries.forget()
        force = any(request.force for request in requests)
        found = await look_at_all(chosen, self.settings, now, force=force)
        looks = {slot.identity: stored.kept_by(slot, result) for slot, result in zip(chosen, found, strict=True)}
        plan = self._plan(looks)
        failure = await self._rolled_out(plan, looks, why(requests))
        of_all = failure and failure.outcome in (Outcome.CONFIG_REJECTED, Outcome.RELOAD_FAILED, Outcome.NOT_SERVED)
        self.failure = failure = self.pairs.problem or failure
        self.rejected = self.pairs.problem or (failure if of_all else None)
        self.attempts.news.whole(self.rejected)
        for slot in chosen:
            goes_on = self.attempts.kept and slot.served
            problem = self.attempts.gated.get(slot.identity) if goes_on or not failure else failure
            said = bool(problem and problem is self.rejected and problem.outcome is Outcome.CONFIG_REJECTED)
            record(slot, looks[slot.identity], problem, now, self.settings.check_interval, said=said)

    def _due(self, slot: ManagedPair, requests: list[Request], now: datetime) -> bool:
        asked = any(request.wants(slot.record.wanted) for request in requests)
        soon = schedule.together(self.settings.check_interval) if len(self.slots) > 1 else 0
        return asked or due(slot, now, soon, schedule.longest(self.settings.check_interval))

    def _plan(self, looks: dict[str, Found]) -> Plan:
        """What should run: what the looks found, and for the others what runs already."""
        usable = {}
        for slot in self.slots:
            found = looks.get(slot.identity)
            kept = found.credential if found else running(slot)
            if kept:
                usable[slot.identity] = kept
        reasons = {slot.identity: slot.record.detail for slot in self.slots if slot.record.detail}
        reasons |= {identity: found.problem.detail for identity, found in looks.items() if found.problem}
        when = rfc3339(self.clock())
        return Plan(self.settings, self.facts, self.templates, usable, reasons, self.pairs.source, when=when)

    async def _rolled_out(self, plan: Plan, looks: dict[str, Found], cause: str) -> Problem | None:
        """Make the plan live if it differs from what is; returns why it could not be."""
        if live := self.attempts.live(plan):
            await self._still_running(*live)
            return None
        return await self.attempts.make_live(plan, looks, cause)

    async def _still_running(self, plan: Plan, current: Generation) -> None:
        """A signal may get lost, a killed agent leaves work half done: what runs must be what is current."""
        if self.asked_at and abs((self.clock() - self.asked_at).total_seconds()) < _HEARTBEAT:
            return
        self.asked_at = self.clock()
        answered = nginx.generation(self.settings.run_dir)
        other = answered not in (None, current.number) and await self._other_runs(current)
        if other:
            log.warning("NGINX runs generation %s instead of %s: reloading", answered, current.number)
        if answered is None or (self.rollout.prover.running is not None and not other):
            return
        try:
            await self.rollout.prove(plan, current, reload=other)
            self.attempts.proved(plan)
        except Refused as error:
            log.error("%s", error)

    async def _other_runs(self, current: Generation) -> bool:
        return await other_generation_runs(self.settings.run_dir, current.number)

    def _reloaded(self, spent: float) -> None:
        self.nginx |= {"last_reload_at": rfc3339(self.clock()), "last_reload_ms": round(spent, 1)}

    async def _converge(self) -> None:
        """Prove what the start or a killed agent left as current; fall back to what was proved before."""
        tried = None
        while (current := self.generations.current()) and current.number != tried:
            if await self._proved(current):
                return
            tried = current.number
            self.pairs.restore()
        self.pairs.doubt()

    async def _proved(self, current: Generation) -> bool:
        usable = {slot.identity: kept for slot in self.slots if (kept := running(slot))}
        refusals = current.manifest.refusals
        ran = editions.last(self.generations, self.pairs.source) or self.pairs.source
        plan = Plan(self.settings, self.facts, self.templates, usable, {}, ran, refusals)
        try:
            await self.rollout.prove(plan, current, reload=await self._other_runs(current))
            self.rollout.confirm(current)
            return True
        except (Refused, OSError) as error:
            log.error("generation %d is not served as it should be: %s", current.number, error)
            self.rollout.fall_back(current, str(error))
            return False

    def _status(self, slots: Iterable[ManagedPair]) -> dict[str, Any]:
        current = self.generations.current()
        return status.status(
            [slot.record for slot in slots],
            generation=current.number if current else 0,
            nginx=self.nginx,
            now=self.clock(),
            interval=self.settings.check_interval,
            commented_out=self.attempts.commented_out,
            warnings=(
                *self.generations.warnings,
                *self.doubts.warnings,
                *self.attempts.warnings,
                *self.pairs.warnings(),
                *self.pairs.unseen(),
            ),
            problem=self.rejected,
        )

    def _publish(self) -> None:
        since = nginx.running_since(self.settings.run_dir / "nginx.pid")
        self.nginx["running_since"] = rfc3339(since) if since else None
        rounds = 2 * (len(self.slots) // AT_ONCE + 1)
        horizon = self._pause() + _SLACK + self.settings.timeout * max(1, len(self.settings.certmgr_hosts)) * rounds
        try:
            self.alive.go_on(horizon)
            self.files.status(self._status(self.slots))
            besides = "\n".join(filter(None, [self.doubts.not_ready, self.pairs.not_running(self.failure)]))
            self.files.readiness(status.not_ready((slot.record for slot in self.slots), besides))
        except OSError as error:
            log.error("CERTFRONT_RUN_DIR: the status cannot be written: %s", error)


def main(settings: Settings) -> int:
    """The agent's process, for as long as supervisord lets it live."""
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
