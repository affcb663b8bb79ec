"""PID 1: settings, a first generation without the network, then supervisord for the rest of the life.

Everything here runs before NGINX, so nothing here imports more than it needs.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from entrypoint import editions, folders, salvage
from entrypoint.core import status
from entrypoint.core.conf.configuration import Source
from entrypoint.core.generation import locked
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.pairs import PairSpec, wanted
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import Facts, shortcomings, snippets
from entrypoint.core.model import Outcome, Problem, Refused
from entrypoint.core.settings import Settings
from entrypoint.core.times import rfc3339
from entrypoint.edges import host, key_files, nginx, packaged
from entrypoint.edges.config_files import ConfigFiles
from entrypoint.edges.generations import Generation, Generations
from entrypoint.edges.status_files import StatusFiles
from entrypoint.staging import Stager
from entrypoint.system import reserve, signals

log = logging.getLogger("certfront.boot")

_PATIENCE, _LONGEST = 2.0, 20.0  # seconds for which NGINX is asked who is to blame: nobody is served meanwhile
_GRACE = 60  # seconds in which a starting agent counts as healthy


def run(settings: Settings) -> int:
    """Boot and supervise; returns the exit status. Raises `Refused` where it cannot even start."""
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
    """PID 1 has no default signal actions: a stop in the first moments must end it all the same."""

    def end(*_: object) -> None:
        for number in signals.ENDING:
            signal.signal(number, signal.SIG_IGN)  # what is left to do, such as to forget passwords, is done to its end
        sys.exit(0)

    signals.ignore_all_but(signals.ENDING)
    for number in signals.ENDING:
        signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.ENDING)  # container.sh blocks them


def _first_generation(settings: Settings, program: str) -> Path:
    """The configuration that NGINX runs with: through the link, unless that is wrong and cannot be put right."""
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
    generation, problem = _startable(settings, facts, program, generations)
    _announce(settings, generation, problem)
    current = generations.current()
    return generations.config if current and current.number == generation.number else generation.config


def _startable(
    settings: Settings, facts: Facts, program: str, generations: Generations
) -> tuple[Generation, Problem | None]:
    """The best generation that NGINX accepts: as stored, rebuilt, with TLS commented out, or the last proved one.

    With the reason where it is not of the configuration as it is.
    """
    last, unknown = generations.current(), None
    try:
        user = user_source(settings, facts, generations)
    except Refused as error:
        log.error("%s", error)
        if last:
            with suppress(Refused, OSError):  # what opens its keys, in a run folder that may be fresh
                key_files.provide_missing(stored_plan(settings, facts, generations, editions.last(generations, None)))
            return _last_resort(generations, program, settings.run_dir, error), error.problem
        user, unknown = None, error.problem
    if not user and not settings.server_names:
        log.warning("SERVER_NAME is not set: the site is served over HTTP, without TLS.")
    plan = stored_plan(settings, facts, generations, user)
    unchanged = as_it_runs(plan, last) if last else None
    sound = last and unchanged and not generations.is_refused(last) and generations.is_whole(last)
    if last and unchanged and sound and _still_accepted(unchanged, last, program):
        return last, unknown
    generation, problem = _best(plan, program, generations)
    return generation, unknown or problem


def as_it_runs(plan: Plan, generation: Generation) -> Plan | None:
    """The plan without what NGINX refused in a generation; None where that generation is of another plan."""
    same = replace(plan, refusals=Refusals.from_json(generation.manifest.get("gates", {})))
    return same if generation.manifest.get("digest") == same.digest else None


def _still_accepted(plan: Plan, last: Generation, program: str) -> bool:
    try:
        key_files.provide_missing(plan)
        nginx.test(program, last.config, plan.settings.run_dir)
        if taken := _taken(plan):
            raise Refused(Outcome.CONFIG_REJECTED, taken)
    except nginx.Untested as error:
        log.warning("running what ran last, untested: %s", error)
    except (Refused, OSError) as error:
        # What is wrong with a key is said in plain words when the plan is built again.
        level = logging.DEBUG if locked.is_about_a_key(error) else logging.ERROR
        log.log(level, "the configuration that ran last is refused now: %s", error)
        return False
    return True


def _best(plan: Plan, program: str, generations: Generations) -> tuple[Generation, Problem | None]:
    """A new generation of the whole plan; else what ran last, else the plan without TLS or without the user's files.

    With what kept it from being of the whole plan, which is logged once.
    """
    last = generations.current()
    if generations.warnings and (last or generations.verified()):
        with suppress(OSError):
            key_files.provide_missing(plan)
        log.error("%s", generations.warnings[0][1])
        return _last_resort(generations, program, plan.settings.run_dir, OSError(generations.warnings[0][1])), None
    try:
        return _accepted(plan, program, generations, "settings" if last else "first start"), None
    except (Refused, OSError) as error:
        log.error("NGINX or the disk refused the configuration: %s", error)
        first = error
    if proved := _proved(generations, program, plan.settings.run_dir):
        return proved, _problem(first)
    for why, smaller in _smaller(plan, str(first), first_start=not last):
        try:
            return _accepted(smaller, program, generations, f"start {why}"), _problem(first)
        except (Refused, OSError) as error:
            log.error("not even %s: %s", why, "for the same reason" if str(error) == str(first) else error)
    raise _unusable(first)


def _smaller(plan: Plan, reason: str, *, first_start: bool) -> Iterator[tuple[str, Plan]]:
    reasons = dict.fromkeys((pair.identity for pair in plan.wanted), reason)
    yield "without TLS", replace(plan, usable={}, reasons=reasons)
    if plan.source and first_start:
        yield "without NGINX_CONF", replace(plan, source=None)


def _problem(error: Refused | OSError) -> Problem:
    return error.problem if isinstance(error, Refused) else Problem(Outcome.RELOAD_FAILED, str(error))


def stored_plan(settings: Settings, facts: Facts, generations: Generations, user: Source | None = None) -> Plan:
    """What can run without the network: the pairs that were served last, as far as they fit the settings."""
    usable, reasons = {}, {}
    pairs = wanted(settings, user)
    for pair in pairs:
        stored = generations.stored(pair.identity)
        if stored and stored.fits(pair.names):
            usable[pair.identity] = stored
        reasons[pair.identity] = _why_pending(pair, settings)
    usable |= salvage.usable(generations.untrusted, [each for each in pairs if each.identity not in usable], settings)
    when = rfc3339(datetime.now(UTC))
    return Plan(settings, facts, packaged.packaged(), usable, reasons, user, when=when)


def user_source(settings: Settings, facts: Facts, generations: Generations | None = None) -> Source | None:
    """The user's configuration, None where there is none. Raises `Refused` where nothing of it can be known.

    With ``generations`` also where files of what ran last cannot be read any more.
    """
    ran = editions.ran(generations) if generations else None
    return ConfigFiles(settings, snippets(settings, facts, packaged.packaged()), ran).read()


def _why_pending(pair: PairSpec, settings: Settings) -> str:
    if not os.path.exists(pair.key_file):  # noqa: PTH110 - Path.exists() raises where a folder above is closed
        return f"the key file {pair.key_file} does not exist"
    if pair.certificate_file and os.path.exists(pair.certificate_file):  # noqa: PTH110
        return f"{pair.certificate_file} has not been looked at yet"
    if not settings.certmgr_hosts:
        return "CERTMGR_HOST is not set"
    return f"waiting for the first certificate for {pair.lookup} from {settings.certmgr_hosts[0]}"


def _accepted(plan: Plan, program: str, generations: Generations, why: str) -> Generation:
    """Build the plan, without those of the user's servers and files that NGINX refuses."""
    stager = Stager(program, generations, _PATIENCE, _LONGEST, taken=_taken)
    _, generation = stager.accepted(plan, why, key_files.provide_missing)
    try:
        generations.publish(generation)
    except OSError as error:
        stager.refuse(generation, str(error))
        raise
    return generation


def _taken(plan: Plan) -> str:
    """NGINX does not start where another program has one of its sockets: the user's servers on that wait instead."""
    found = (nginx.taken(*each) for each in sorted(plan.gate.sockets) if each[0] != "unix")
    return next(filter(None, found), "")


def _last_resort(generations: Generations, program: str, run_dir: Path, error: Refused | OSError) -> Generation:
    """What was proved before still runs. Raises `Refused` where there is nothing."""
    if proved := _proved(generations, program, run_dir):
        return proved
    raise _unusable(error)


def _unusable(error: Refused | OSError) -> Refused:
    if isinstance(error, Refused):
        return error
    return Refused(Outcome.CONFIG_REJECTED, f"CERTFRONT_STATE_DIR: {error}", "is the disk full or read-only?")


def _proved(generations: Generations, program: str, run_dir: Path) -> Generation | None:
    """The last good generation, made current, if there is one and NGINX still takes it."""
    for generation in (generations.current(), generations.verified()):
        if generation and not generations.is_refused(generation) and generations.is_whole(generation):
            try:
                nginx.test(program, generation.config, run_dir)
            except nginx.Untested as untested:
                log.warning("%s", untested)
            except Refused:
                continue
            log.error("running the last good configuration, because the new one cannot be used")
            with suppress(OSError):  # where the link cannot be made, NGINX runs without it
                generations.publish(generation)
            return generation
    return None


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
    """NGINX itself says the number alone, and then cannot start."""
    ports = {"STATUS_PORT": settings.status_port}
    if settings.server_names:
        ports |= {"HTTP_PORT": settings.http_port, "HTTPS_PORT": settings.https_port}
    for variable, port in ports.items():
        if nginx.port_taken(port):
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
