"""Plans derived from a plan that cannot be made live as it is, and the attempts of a start, in order."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from entrypoint.core.conf.listen import EVERYWHERE
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.manifest import Manifest
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import packaged_config
from entrypoint.core.model import Key, Outcome, Problem, Refused
from entrypoint.core.x509 import pem
from entrypoint.core.x509.credential import Credential
from entrypoint.core.x509.decryption import opener


def instead(plan: Plan, kept: Mapping[str, Credential | None], failed: Mapping[str, str]) -> Plan:
    """The plan with other credentials, or none, for the pairs that ``failed``, each with its reason."""
    usable = {**plan.usable, **kept}
    reasons = {identity: f"{Outcome.NOT_SERVED}: {detail}" for identity, detail in failed.items()}
    return replace(
        plan,
        usable={identity: each for identity, each in usable.items() if each},
        reasons={**plan.reasons, **reasons},
    )


def without_users(plan: Plan) -> Plan:
    """The plan with the packaged configuration in place of the user's."""
    return replace(plan, user=packaged_config(plan.settings, plan.facts, plan.templates))


def held_back(plan: Plan, failed: Mapping[str, str], before: Mapping[str, Credential | None]) -> Plan | None:
    """The plan with the credentials ``before`` in place of those that ``failed``.

    None if none failed, or a failed credential is the one before: then something else is the cause.
    """
    same = (
        old and (old.ders, old.key_pem) == (plan.usable[each].ders, plan.usable[each].key_pem)
        for each, old in before.items()
    )
    return instead(plan, before, failed) if failed and not any(same) else None


def made_bare(plan: Plan) -> Plan:
    """The plan with certfront's own server only."""
    return replace(without_users(plan), usable={}, refusals=Refusals(), bare=True)


def on_single_addresses(plan: Plan) -> bool:
    """Whether it listens on one address of a port on all of whose addresses the built-in site listens."""
    ports = (plan.settings.http_port, plan.settings.https_port)
    servers = plan.user.configuration.servers
    sockets = (socket for server in servers for socket in server.listeners if not socket.udp)
    return any(socket.port in ports and socket.address not in EVERYWHERE for socket in sockets)


def changes(plan: Plan, running: Mapping[str, Credential | None]) -> tuple[str, ...]:
    """The identities of the pairs that differ from the ``running`` ones, if there are several."""
    changed = [identity for identity, usable in running.items() if plan.usable.get(identity) != usable]
    return tuple(identity for identity in changed if identity in plan.usable) if len(changed) > 1 else ()


def one_change(plan: Plan, identity: str, running: Mapping[str, Credential | None]) -> Plan:
    """The plan with one pair of its own, and the ``running`` credentials for the others."""
    usable = {**running, identity: plan.usable[identity]}
    return replace(plan, usable={identity: each for identity, each in usable.items() if each})


def without_locked(
    plan: Plan, passwords: Sequence[bytes], key_now: Callable[[PairSpec], Key | Problem]
) -> tuple[Plan, Mapping[PairSpec, Problem]]:
    """The plan without the pairs whose keys no password opens, and the problem of each.

    A pair whose key the user has encrypted anew stays, with the key as it is now.
    """
    problems: dict[PairSpec, Problem] = {}
    usable, reasons = dict(plan.usable), dict(plan.reasons)
    for pair in plan.gate.wanted:
        stored = usable.get(pair.identity)
        if not stored or not pem.is_encrypted(stored.key_pem) or opener(stored.key_pem, passwords):
            continue
        key = key_now(pair)
        if isinstance(key, Key) and key.spki == stored.described().leaf.spki:
            usable[pair.identity] = stored.with_key(key.pem)
            continue
        problems[pair] = problem = key if isinstance(key, Problem) else of_the_old_key(pair)
        del usable[pair.identity]
        reasons[pair.identity] = problem.detail
    return replace(plan, usable=usable, reasons=reasons), problems


def of_the_old_key(pair: PairSpec) -> Problem:
    """The problem of a stored pair whose key was replaced and whose password is gone."""
    detail = (
        f"the certificate that is stored belongs to the key that {pair.key_file} held before, and the password of that "
        f"old key is not in {pair.password_file} any more"
    )
    hint = (
        f"write the old password into {pair.password_file} as a second line, and the old certificate is served until "
        "CertMgr has one for the new key"
    )
    return Problem(Outcome.WRONG_PASSWORD, detail, hint)


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
    without = (Rung.WITHOUT_TLS, *([Rung.WITHOUT_NGINX_CONF] if first and users else []))
    new = (Rung.PROVED,) if hindered else (Rung.WHOLE, Rung.PROVED, *without)
    return (Rung.AS_IT_RAN, *new) if same else new


def smaller(plan: Plan, rung: Rung, reason: str) -> Plan:
    """The plan without the parts that a rung leaves out, for the reason given."""
    if rung is Rung.WITHOUT_TLS:
        return replace(plan, usable={}, reasons=dict.fromkeys((pair.identity for pair in plan.gate.wanted), reason))
    return without_users(plan) if rung is Rung.WITHOUT_NGINX_CONF else plan


def as_it_runs(plan: Plan, manifest: Manifest) -> Plan | None:
    """The plan without the parts that NGINX refused in a generation; None if that generation is of another plan."""
    same = replace(plan, refusals=manifest.refusals)
    return same if manifest.digest == same.digest else None


def as_problem(error: Refused | OSError) -> Problem:
    """The problem of a failed attempt, for the status."""
    return error.problem if isinstance(error, Refused) else Problem(Outcome.RELOAD_FAILED, str(error))


def unusable(error: Refused | OSError) -> Refused:
    """The refusal of a start all of whose attempts failed."""
    if isinstance(error, Refused):
        return error
    return Refused(Outcome.CONFIG_REJECTED, f"CERTFRONT_STATE_DIR: {error}", "is the disk full or read-only?")
