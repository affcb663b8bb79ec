"""Plans from what is stored on disk, without the network: for a start, and for commands."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime

from entrypoint import salvage
from entrypoint.core.conf.configuration import UserConfig
from entrypoint.core.conf.vanished import Ran
from entrypoint.core.facts import Facts
from entrypoint.core.generation.pairs import PairSpec, wanted, why_pending
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import packaged_config
from entrypoint.core.generation.variants import as_it_runs
from entrypoint.core.settings import Settings
from entrypoint.core.times import rfc3339
from entrypoint.edges import host, nginx, packaged
from entrypoint.edges.config_files import ConfigFiles
from entrypoint.edges.generations import Generations
from entrypoint.edges.status_files import StatusFiles


def config_files(settings: Settings, facts: Facts, generations: Generations | None = None) -> ConfigFiles:
    """The user's files; with ``generations``, unreadable files of the configuration that ran last are faults."""
    ran = Ran.stored(generations.source()) if generations else None
    return ConfigFiles(settings, packaged_config(settings, facts, packaged.packaged()), ran)


def stored(settings: Settings, facts: Facts, generations: Generations, user: UserConfig) -> Plan:
    """The plan with the credentials that were served last, as far as they fit the settings."""
    pairs, usable = wanted(settings, user), {}
    for pair in pairs:
        found = generations.stored(pair.identity)
        if found and found.fits(pair.names):
            usable[pair.identity] = found
    usable |= salvage.usable(generations.untrusted, [each for each in pairs if each.identity not in usable], settings)
    reasons = {pair.identity: _why_pending(pair, settings) for pair in pairs}
    when = rfc3339(datetime.now(UTC))
    return Plan(settings, facts, packaged.packaged(), usable, reasons, user, when=when)


def _why_pending(pair: PairSpec, settings: Settings) -> str:
    # Path.exists() raises where a folder above is closed.
    key, certificate = os.path.exists(pair.key_file), os.path.exists(pair.certificate_file)  # noqa: PTH110
    return why_pending(pair, settings, key=key, certificate=certificate)


def of_now(settings: Settings, program: str, generations: Generations, *, as_ran: bool = True) -> Plan:
    """The plan of a start now, with the status's reasons for pending pairs.

    ``as_ran``: unreadable files of the configuration that ran last are faults. Raises `Refused`.
    """
    facts, _warnings = host.facts(nginx.build(program), settings.run_dir)
    user = config_files(settings, facts, generations if as_ran else None).read()
    plan = stored(settings, facts, generations, user)
    return plan.with_details(StatusFiles(settings.run_dir).read() or {})


def running(settings: Settings) -> tuple[Plan, int]:
    """The plan that runs, or that a start now would make, with its generation number. Raises `Refused`."""
    generations = Generations(settings.state_dir)
    plan = of_now(settings, nginx.binary(settings.nginx_bin), generations)
    current = generations.current()
    if current and (same := as_it_runs(plan, current.manifest)):
        plan = replace(same, remarks=generations.remarks(current))
    return plan, current.number if current else 1
