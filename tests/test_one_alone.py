"""Where one pair is not presented, it alone is held back; the others go live."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from entrypoint import verify
from entrypoint.core.generation.gate import Refusals
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import KeyType, Outcome, Refused
from entrypoint.core.settings import Settings
from entrypoint.core.x509 import pem
from entrypoint.core.x509.credential import Credential
from entrypoint.edges import certmgr
from entrypoint.edges.generations import Generations
from entrypoint.edges.supervisord import Supervisord
from entrypoint.rollout import Rollout
from tests.support import pki, rig
from tests.support.waiting import until

CA = pki.root()
KEYS: dict[KeyType, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {
    KeyType.ECDSA: pki.ec_key(71),
    KeyType.RSA: pki.rsa_key(71),
}


def _issue(kind: KeyType) -> Credential:
    return rig.usable(pki.issue(rig.NAME, CA, names=[rig.NAME], key=KEYS[kind]))


OLD, NEW, WRONG = ({kind: _issue(kind) for kind in KEYS} for _ in range(3))


class _Swapped(Plan):
    """A plan whose files hold another chain than it names wherever that is the new one of a kind."""

    kind = KeyType.ECDSA

    def files(self, number: int) -> dict[str, bytes]:
        new, wrong = NEW[self.kind].chain_pem, WRONG[self.kind].chain_pem
        return {name: wrong if data == new else data for name, data in super().files(number).items()}


class _SwappedRsa(_Swapped):
    kind = KeyType.RSA


class Site:
    """A running NGINX with an ECDSA and an RSA pair, or without any."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.generations = settings, Generations(settings.state_dir)
        self.rollout = Rollout(rig.NEW, self.generations, Supervisord(settings.run_dir), settings.run_dir)

    def plan(self, pairs: dict[KeyType, Credential]) -> Plan:
        return rig.plan(self.settings, *(pairs[kind] for kind in KEYS if kind in pairs))

    def served(self, kind: KeyType) -> bytes:
        try:
            return asyncio.run(certmgr.fetch("127.0.0.1", self.settings.https_port, rig.NAME, kind, 20))[0]
        except Refused:
            return b""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    tmp_path.chmod(0o755)
    ports = dict(zip(("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT"), map(str, rig.free_ports(3)), strict=True))
    return rig.settings(tmp_path, KEY_FILE=f"{tmp_path}/ecdsa.pem,{tmp_path}/rsa.pem", **ports)


@pytest.fixture(params=[{}, OLD], ids=["first", "renewal"])
def site(request: pytest.FixtureRequest, settings: Settings) -> Iterator[tuple[Site, dict[KeyType, Credential]]]:
    rig.run_folders(settings.run_dir)
    found, before = Site(settings), request.param
    generation = rig.stage(found.generations, found.plan(before))
    with (
        rig.running_nginx(rig.NEW, found.generations.config, settings.status_port, settings.run_dir) as master,
        rig.Supervisor(settings.run_dir, master.pid),
    ):
        asyncio.run(found.rollout.prove(found.plan(before), generation, reload=False))
        yield found, before


@pytest.mark.parametrize("swapped", [_Swapped, _SwappedRsa])
def test_one_fails(
    site: tuple[Site, dict[KeyType, Credential]], swapped: type[_Swapped], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other pair is live with its new chain, the failed one keeps what it had, or has nothing; and it is said."""
    monkeypatch.setattr(verify, "_TIMEOUT", 1.0)
    front, before = site
    plan = front.plan(NEW)
    whole = swapped(plan.settings, plan.facts, plan.templates, plan.usable, {}, plan.user)
    applied = asyncio.run(front.rollout.apply(whole, (), "test"))
    kinds = dict(zip(("site-1", "site-2"), KEYS, strict=True))
    other = next(kind for kind in KEYS if kind is not swapped.kind)
    assert [kinds[identity] for identity in applied.failed] == [swapped.kind]
    assert str(WRONG[swapped.kind].leaf.fingerprint_sha256) in next(iter(applied.failed.values()))
    until(lambda: front.served(other) == _der(NEW[other]), "the other one")
    expected = _der(before[swapped.kind]) if before else b""
    if before:
        until(lambda: front.served(swapped.kind) == expected, "the old one")
    assert expected or applied.plan.reasons[next(iter(applied.failed))].startswith("not-served: ")
    assert {identity for identity, _ in front.rollout.prover.proof.shown.proved} == set(applied.plan.usable)
    current, verified = front.generations.current(), front.generations.verified()
    assert current is not None
    assert current == verified


def _der(usable: Credential) -> bytes:
    return pem.decode(usable.chain_pem)[0]


@pytest.mark.parametrize("site", [OLD], indirect=True)
def test_what_was_proved_has_vanished(
    site: tuple[Site, dict[KeyType, Credential]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a pair that did not change is not presented any more, the whole is refused: something else is to blame."""
    monkeypatch.setattr(verify, "_TIMEOUT", 1.0)
    front, before = site
    elsewhere = replace(front.plan(before), refusals=Refusals({}, {"/nothing": "so that all are asked"}))
    texts = {**elsewhere.templates}
    texts["templates/site-tls.conf"] = texts["templates/site-tls.conf"].replace(
        "server_name @{server_names}", "server_name elsewhere.acme.io"
    )
    with pytest.raises(Refused) as caught:
        asyncio.run(front.rollout.apply(replace(elsewhere, templates=texts), (), "test"))
    assert caught.value.problem.outcome is Outcome.NOT_SERVED
    until(lambda: all(front.served(kind) == _der(OLD[kind]) for kind in KEYS), "the old ones")
