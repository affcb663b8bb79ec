"""PID 1: settings, a first generation without the network, then supervisord for the rest of its life.

Everything here runs before NGINX, so no module is imported that is not needed yet.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from entrypoint import folders, plans
from entrypoint.core import status
from entrypoint.core.doubts import shortcomings
from entrypoint.core.facts import Facts
from entrypoint.core.generation.blame import is_about_a_key
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.variants import Rung, as_it_runs, as_problem, rungs, smaller, unusable
from entrypoint.core.model import Outcome, Problem, Refused
from entrypoint.core.settings import Settings
from entrypoint.edges import host, key_files, nginx
from entrypoint.edges.generations import Generation, Generations
from entrypoint.edges.status_files import StatusFiles
from entrypoint.staging import Stager
from entrypoint.system import reserve, signals

log = logging.getLogger("certfront.boot")

_PATIENCE, _LONGEST = 2.0, 20.0  # seconds for which NGINX is asked who is to blame: nobody is served meanwhile
_GRACE = 60  # seconds in which a starting agent counts as healthy


def run(settings: Settings) -> int:
    """Boot and supervise; returns the exit status. Raises `Refused` where no start is possible."""
    _end_cleanly_until_supervised()
    os.umask(0o022)  # NGINX's workers read status files; what is secret has a mode of its own
    with ExitStack() as stack:
        stack.enter_context(folders.held(settings))
        stack.callback(key_files.keep_only, settings.run_dir, ())
        if settings.key_unlock == "memory":
            key_files.require_memory(settings.run_dir)
        program = nginx.binary(settings.nginx_bin)
        nginx.end_leftovers(settings.run_dir / "nginx.pid", program)
        return _supervise(settings, program, _first_generation(settings, program))


def _end_cleanly_until_supervised() -> None:
    """End on a signal in the first moments: PID 1 has no default signal actions."""

    def end(*_: object) -> None:
        for number in signals.ENDING:
            signal.signal(number, signal.SIG_IGN)  # what is left to do, such as to forget passwords, is done to its end
        sys.exit(0)

    signals.ignore_all_but(signals.ENDING)
    for number in signals.ENDING:
        signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.ENDING)  # container.sh blocks them


def _first_generation(settings: Settings, program: str) -> Path:
    """The path of NGINX's configuration: through the link ``current``, unless that cannot be made."""
    facts, warnings = host.facts(nginx.build(program), settings.run_dir)
    for folder in dict.fromkeys((facts.temporary(settings.run_dir), f"{settings.run_dir}/nginx")):
        host.prepare_temporary(Path(folder))
    reserve.take(settings.run_dir)
    for sentence in (*warnings, *shortcomings(settings, facts)):
        log.warning("%s", sentence)
    for variable, reason in settings.warnings:
        log.warning("%s: %s", variable, reason)
    generations = Generations(settings.state_dir)
    generations.prepare()
    start = _start(settings, facts, program, generations)
    generation = start.generation()
    _announce(settings, generation, start.problem)
    current = generations.current()
    return generations.config if current and current.number == generation.number else generation.config


def _start(settings: Settings, facts: Facts, program: str, generations: Generations) -> Start:
    last, refusal = generations.current(), None
    files = plans.config_files(settings, facts, generations)
    try:
        user = files.read()
    except Refused as error:
        log.error("%s", error)
        user, refusal = files.packaged.stored(generations.source()) or files.packaged, error
    if user.packaged and not settings.server_names and not (refusal and last):
        log.warning("SERVER_NAME is not set: the site is served over HTTP, without TLS.")
    return Start(plans.stored(settings, facts, generations, user), program, generations, refusal)


class Start:
    """The attempts of a start at a generation, see `core.generation.variants.rungs`; ``problem`` is for the status.

    ``refusal`` is the reason why the user's configuration is unknown; then the plan has the one that ran last, if any.
    """

    def __init__(self, plan: Plan, program: str, generations: Generations, refusal: Refused | None = None) -> None:
        self._plan, self._program, self._generations = plan, program, generations
        self._last = generations.current()
        self._same = as_it_runs(plan, self._last.manifest) if self._last and not refusal else None
        # Where nothing new can be stored, something that is stored may still run.
        unstorable = generations.warnings if self._last or generations.verified() else ()
        self._hindrance = refusal if refusal and self._last else next((OSError(why) for _, why in unstorable), None)
        self._first: Refused | OSError = self._hindrance or OSError()
        self.problem = refusal.problem if refusal else None

    def generation(self) -> Generation:
        """The first generation that NGINX accepts. Raises `Refused` where there is none."""
        same = self._same is not None and self._may_run(self._last)  # of the same plan is not yet undamaged
        first, users = self._last is None, not self._plan.user.packaged
        for rung in rungs(same=same, hindered=bool(self._hindrance), first=first, users=users):
            attempt = {Rung.AS_IT_RAN: self._as_it_ran, Rung.PROVED: self._proved}.get(rung, partial(self._new, rung))
            if generation := attempt():
                return generation
        raise unusable(self._first)

    def _may_run(self, generation: Generation | None) -> bool:
        known = self._generations
        return generation is not None and not known.is_refused(generation) and generation.is_whole()

    def _as_it_ran(self) -> Generation | None:
        """The current generation, if NGINX still accepts it."""
        last, plan = self._last, self._same
        if not last or not plan:
            return None
        try:
            key_files.provide_missing(plan)
            nginx.test(self._program, last.config, plan.settings.run_dir)
            if taken := _taken(plan):
                raise Refused(Outcome.CONFIG_REJECTED, taken)
        except nginx.Untested as error:
            log.warning("running what ran last, untested: %s", error)
        except (Refused, OSError) as error:
            # What is wrong with a key is said in plain words when the plan is built again.
            level = logging.DEBUG if is_about_a_key(error) else logging.ERROR
            log.log(level, "the configuration that ran last is refused now: %s", error)
            return None
        return last

    def _new(self, rung: Rung) -> Generation | None:
        """A new generation; the first refusal is reported, later ones only if they differ."""
        why = f"start {rung}" if rung is not Rung.WHOLE else "settings" if self._last else "first start"
        try:
            return self._accepted(smaller(self._plan, rung, str(self._first)), why)
        except (Refused, OSError) as error:
            if rung is Rung.WHOLE:
                log.error("NGINX or the disk refused the configuration: %s", error)
                self._first, self.problem = error, self.problem or as_problem(error)
            else:
                log.error("not even %s: %s", rung, "for the same reason" if str(error) == str(self._first) else error)
            return None

    def _accepted(self, plan: Plan, why: str) -> Generation:
        """A generation of the plan, without the parts that NGINX refuses."""
        stager = Stager(self._program, self._generations, _PATIENCE, _LONGEST, taken=_taken)
        _, generation = stager.accepted(plan, why, key_files.provide_missing)
        try:
            self._generations.publish(generation)
        except OSError as error:
            stager.refuse(generation, str(error))
            raise
        return generation

    def _proved(self) -> Generation | None:
        """The last proved generation, made current, if NGINX still accepts it."""
        if isinstance(self._hindrance, OSError):
            log.error("%s", self._hindrance)
        with suppress(Refused, OSError):  # what opens its keys, in a run folder that may be fresh
            key_files.provide_missing(self._plan)
        for generation in (self._generations.current(), self._generations.verified()):
            if not generation or not self._may_run(generation):
                continue
            try:
                nginx.test(self._program, generation.config, self._plan.settings.run_dir)
            except nginx.Untested as untested:
                log.warning("%s", untested)
            except Refused:
                continue
            log.error("running the last good configuration, because the new one cannot be used")
            with suppress(OSError):  # where the link cannot be made, NGINX runs without it
                self._generations.publish(generation)
            return generation
        return None


def _taken(plan: Plan) -> str:
    """The message about a socket that another program has: NGINX would not start, so the user's servers on it wait."""
    found = (nginx.taken(*each) for each in sorted(plan.gate.sockets) if each[0] != "unix")
    return next(filter(None, found), "")


def _announce(settings: Settings, generation: Generation, problem: Problem | None) -> None:
    files = StatusFiles(settings.run_dir)
    files.prepare()
    now = datetime.now(UTC)
    files.alive(now.timestamp(), now.timestamp() + _GRACE)
    files.readiness("starting")
    files.status(
        status.status(
            (), generation=generation.number, nginx={}, now=now, interval=settings.check_interval, problem=problem
        )
    )
    log.info("starting NGINX with generation %d", generation.number)


def _say_taken_ports(settings: Settings) -> None:
    """Log the variables of ports in use, as NGINX's own message has the number only."""
    ports = {"STATUS_PORT": settings.status_port}
    if settings.server_names:
        ports |= {"HTTP_PORT": settings.http_port, "HTTPS_PORT": settings.https_port}
    for variable, port in ports.items():
        if nginx.taken("tcp", "", port):
            log.error(
                "%s: another program listens on port %d, so NGINX cannot: stop that, or set %s to a port that nothing "
                "else uses",
                variable,
                port,
                variable,
            )


def _supervise(settings: Settings, program: str, nginx_conf: Path) -> int:
    from entrypoint.edges import supervisor
    from entrypoint.edges.supervisor import children

    _say_taken_ports(settings)
    agent = children.confined([sys.executable, "-m", "entrypoint", "agent"])
    config = children.write_config(settings.run_dir, [program, "-e", "stderr", "-c", str(nginx_conf)], agent)
    return supervisor.run(config, json=settings.log_format == "json")
