"""Looks at several pairs: whatever one of them provokes, the others are looked at."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from entrypoint.check import _unexpected, check_all
from entrypoint.core.generation.managed import Found, ManagedPair
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.model import Outcome, Problem, Verdict
from entrypoint.core.settings import Settings
from entrypoint.core.x509 import vet as vetting
from entrypoint.demo.standin import Credential
from tests.support import pki, rig
from tests.support.certmgr import FaultyCertMgr

CA = pki.root()
KEY = pki.ec_key(61)
NAMES = ("one.acme.io", "odd.acme.io", "two.acme.io")


class PanicException(BaseException):
    """What a panic in Rust arrives as: pyo3's own class cannot be had without one."""


def _pair(folder: Path, name: str, *more: str) -> ManagedPair:
    return ManagedPair(PairSpec(name, name, (name, *more), name, str(folder / "key.pem"), str(folder / "none")))


def _settings(folder: Path, certmgr: FaultyCertMgr) -> Settings:
    (folder / "key.pem").write_bytes(pki.key_pem(KEY))
    host, port = certmgr.address
    return rig.settings(folder, CERTMGR_HOST=f"{host}:{port}")


def _findings(folder: Path) -> dict[str, Found]:
    sites = [pki.issue(name, CA, names=[name], key=KEY) for name in NAMES]
    with FaultyCertMgr(Credential((NAMES[0],), KEY, (sites[0].cert, CA.cert))) as certmgr:
        for name, site in zip(NAMES, sites, strict=True):
            certmgr.put(Credential((name,), KEY, (site.cert, CA.cert)))
        settings = _settings(folder, certmgr)
        pairs = [_pair(folder, name) for name in NAMES]
        return asyncio.run(check_all(pairs, settings, pki.NOW, force=False))


@pytest.mark.parametrize("raised", [ValueError("year 0\x1b[2J"), AttributeError("x"), PanicException("unwrap")])
def test_what_one_provokes_is_its_own_problem(
    raised: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception nobody has thought of, a panic too, is that pair's `malformed`; the log has no traceback."""
    genuine = vetting.vet

    def vet(ders: tuple[bytes, ...], *, asked: str, **options: object) -> Verdict:
        if asked == "odd.acme.io":
            raise raised
        return genuine(ders, asked=asked, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(vetting, "vet", vet)
    with caplog.at_level(logging.INFO):
        found = _findings(tmp_path)
    assert [found[name].problem is None for name in NAMES] == [True, False, True]
    problem = found[NAMES[1]].problem
    assert problem
    assert problem.outcome is Outcome.MALFORMED
    assert type(raised).__name__ in problem.detail
    assert problem.detail.isprintable()
    assert "Traceback" not in caplog.text


def test_warnings_outlive_a_failed_check(tmp_path: Path) -> None:
    """What a certificate lacks is said again after CertMgr was away, though nothing is vetted anew."""
    site = pki.issue(NAMES[0], CA, names=NAMES[:1], key=KEY)
    pair = _pair(tmp_path, *NAMES[:2])
    said = []
    with FaultyCertMgr(Credential((NAMES[0],), KEY, (site.cert, CA.cert))) as certmgr:
        settings = _settings(tmp_path, certmgr)
        for step in ("first", "again", "away", "back", "rejected", "mended"):
            certmgr.stop() if step == "away" else certmgr.start() if step == "back" else None
            (found,) = asyncio.run(check_all([pair], settings, pki.NOW, force=False)).values()
            if step == "first" and found.credential:
                pair.note_live(found.credential, presented=True, found=found)
            failure = Problem(Outcome.CONFIG_REJECTED, "elsewhere") if step == "rejected" else None
            pair.note_check(found, failure, pki.NOW, 300, 0)
            said.append((pair.record.outcome, f"missing: {NAMES[1]}" in pair.record.detail))
    good = (Outcome.UNCHANGED, True)
    assert said == [(Outcome.INSTALLED, True), good, (Outcome.UNREACHABLE, False), good, good, good]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(0), asyncio.CancelledError()])
def test_the_end_of_the_process_passes(end: BaseException) -> None:
    """Whoever ends the agent ends its looks as well."""
    with pytest.raises(type(end)):
        _unexpected(end)
