"""Plans derived from a plan that cannot be made live as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from entrypoint.core.conf.listen import EVERYWHERE
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.plan import Plan
from entrypoint.core.generation.site import packaged_config
from entrypoint.core.model import Outcome
from entrypoint.core.x509.credential import Credential


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
