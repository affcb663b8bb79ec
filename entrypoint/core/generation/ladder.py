"""The ladder of a start: its attempts at a generation, in order, until NGINX accepts one."""

from __future__ import annotations

import enum
from dataclasses import replace

from entrypoint.core.generation.manifest import Manifest
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.variants import without_users
from entrypoint.core.model import Outcome, Problem, Refused


class Rung(enum.StrEnum):
    """One attempt; the value completes the log message "not even ..."."""

    AS_IT_RAN = "as it ran"  # the current generation, of the very plan of now
    WHOLE = "as a whole"  # a new generation of the plan
    PROVED = "what was proved"  # the last good generation, whatever it is of
    WITHOUT_TLS = "without TLS"
    WITHOUT_NGINX_CONF = "without NGINX_CONF"


def rungs(*, same: bool, hindered: bool, first: bool, users: bool) -> tuple[Rung, ...]:
    """The attempts of a start.

    ``same``: the current generation is of the current plan, and undamaged. ``hindered``: there is no such plan, or
    nothing new can be written. ``first``: there is no current generation. ``users``: the user has a configuration.
    """
    smaller = (Rung.WITHOUT_TLS, *([Rung.WITHOUT_NGINX_CONF] if first and users else []))
    new = (Rung.PROVED,) if hindered else (Rung.WHOLE, Rung.PROVED, *smaller)
    return (Rung.AS_IT_RAN, *new) if same else new


def smaller(plan: Plan, rung: Rung, reason: str) -> Plan:
    """The plan without the parts that a rung leaves out, for the reason given."""
    if rung is Rung.WITHOUT_TLS:
        return replace(plan, usable={}, reasons=dict.fromkeys((pair.identity for pair in plan.wanted), reason))
    return without_users(plan) if rung is Rung.WITHOUT_NGINX_CONF else plan


def as_it_runs(plan: Plan, manifest: Manifest) -> Plan | None:
    """The plan without the parts that NGINX refused in a generation; None if that generation is of another plan."""
    same = replace(plan, refusals=manifest.refusals)
    return same if manifest.digest == same.digest else None


def problem(error: Refused | OSError) -> Problem:
    """The problem of a failed attempt, for the status."""
    return error.problem if isinstance(error, Refused) else Problem(Outcome.RELOAD_FAILED, str(error))


def unusable(error: Refused | OSError) -> Refused:
    """The refusal at the end of the ladder."""
    if isinstance(error, Refused):
        return error
    return Refused(Outcome.CONFIG_REJECTED, f"CERTFRONT_STATE_DIR: {error}", "is the disk full or read-only?")
