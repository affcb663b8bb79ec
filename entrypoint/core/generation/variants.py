"""Plans that are made from another plan where that cannot be made live as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from entrypoint.core.conf.listen import EVERYWHERE
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Outcome
from entrypoint.core.x509.credential import Credential


def instead(plan: Plan, kept: Mapping[str, Credential | None], failed: Mapping[str, str]) -> Plan:
    """The plan with other pairs, or with none, in place of those that ``failed``, for the reasons given."""
    usable = {**plan.usable, **kept}
    reasons = {identity: f"{Outcome.NOT_SERVED}: {detail}" for identity, detail in failed.items()}
    return replace(
        plan,
        usable={identity: each for identity, each in usable.items() if each},
        reasons={**plan.reasons, **reasons},
    )


def made_bare(plan: Plan) -> Plan:
    """Certfront's own server alone."""
    return replace(plan, usable={}, source=None, refusals=Refusals(), bare=True)


def on_single_addresses(plan: Plan) -> bool:
    """Whether it listens on one address where the built-in site listens on all: both cannot be open at once."""
    ports = (plan.settings.http_port, plan.settings.https_port)
    servers = plan.source.configuration.servers if plan.source else ()
    sockets = (socket for server in servers for socket in server.listeners if not socket.udp)
    return any(socket.port in ports and socket.address not in EVERYWHERE for socket in sockets)


def changes(plan: Plan, running: Mapping[str, Credential | None]) -> tuple[str, ...]:
    """The pairs of the plan that are not the ``running`` ones, by identity, where several have changed."""
    changed = [identity for identity, usable in running.items() if plan.usable.get(identity) != usable]
    return tuple(identity for identity in changed if identity in plan.usable) if len(changed) > 1 else ()


def one_change(plan: Plan, identity: str, running: Mapping[str, Credential | None]) -> Plan:
    """The plan with one pair of its own, and the others as they are ``running``."""
    usable = {**running, identity: plan.usable[identity]}
    return replace(plan, usable={identity: each for identity, each in usable.items() if each})
