"""The results of a check: for the key, for CertMgr's answer, and for the user's own certificate file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from cryptography.x509 import Certificate

from entrypoint.core import status
from entrypoint.core.generation.managed import Found, ManagedPair
from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.model import Key, Outcome, Problem, Verdict
from entrypoint.core.settings import Settings
from entrypoint.core.x509 import own, vet
from entrypoint.core.x509.credential import issued

_KEY_OUTCOMES = (Outcome.KEY_MISMATCH, Outcome.KEY_TYPE_MISMATCH)


def unaskable(spec: PairSpec, key: Key, settings: Settings) -> Problem | None:
    """Why CertMgr cannot be asked for a pair; None where it can."""
    if key.key_type is None:
        detail = f"the key in {spec.key_file} is neither an RSA nor an ECDSA one, and CertMgr has no others"
        return Problem(Outcome.KEY_UNREADABLE, detail, "export the key from the TLS Credentials document")
    if not spec.lookup:
        detail = "the server has no name that CertMgr could be asked for"
        hint = "set CERTMGR_LOOKUP to the name to ask for, or add `# certfront: lookup=NAME` to the server"
        return Problem(Outcome.CONFIG_REJECTED, detail, hint)
    if not settings.certmgr_hosts:
        hint = "set CERTMGR_HOST to the Domino server that runs CertMgr"
        return Problem(Outcome.UNREACHABLE, "CERTMGR_HOST is not set", hint)
    return None


def of_answer(  # noqa: PLR0913 - all of it decides
    pair: ManagedPair,
    key: Key,
    ders: tuple[bytes, ...],
    *,
    certmgr: str,
    roots: Callable[[], Sequence[Certificate] | None],
    now: datetime,
    force: bool,
) -> Found:
    """The result for a chain that CertMgr presents. ``roots`` is called only for a new chain, and its exceptions pass.

    ``force`` accepts a chain that is older than the stored one.
    """
    if pair.knows(ders, key, now):
        return Found(pair.kept, None, certmgr=certmgr, presented=ders, warnings=pair.warnings)
    served = pair.credential.leaf if pair.credential and not force else None
    names, asked = pair.spec.names, pair.spec.lookup
    verdict = vet.vet(ders, key=key, wanted=names, now=now, served=served, roots=roots(), asked=asked)
    if verdict.chain is None:
        return Found(None, status.one_problem(verdict), info=verdict.found)
    credential = issued(verdict.chain, key, certmgr, now)
    return Found(credential, None, certmgr=certmgr, presented=ders, warnings=verdict.warnings)


def of_file(pair: ManagedPair, key: Key, ders: tuple[bytes, ...], now: datetime) -> Found:
    """The result for the user's own certificate file."""
    spec = pair.spec
    if not ders:
        hint = "give the leaf and its intermediates, in PEM form"
        problem = Problem(Outcome.MALFORMED, f"there is no certificate in {spec.certificate_file}", hint)
        return Found(pair.running, problem)
    if pair.knows(ders, key, now):
        return Found(pair.kept, None, presented=ders, warnings=pair.warnings)
    verdict = own.judge(ders, key=key, now=now)
    if verdict.chain is None:
        return Found(pair.kept, _with_files(spec, verdict), info=verdict.found)
    same = pair.credential and pair.credential.ders == verdict.chain.ders
    credential = pair.kept if same else issued(verdict.chain, key, "", now)
    return Found(credential, None, presented=ders, warnings=verdict.warnings)


def _with_files(spec: PairSpec, verdict: Verdict) -> Problem:
    """The problem, with the names of its files."""
    problem = status.joined(verdict.problems)
    hint = f"{spec.certificate_file} and {spec.key_file} must belong together"
    detail = f"{spec.certificate_file}: {problem.detail}"
    return Problem(problem.outcome, detail, hint if problem.outcome in _KEY_OUTCOMES else problem.hint)


def of_several_hosts(pair: ManagedPair, found: Sequence[tuple[str, Found]]) -> Found:
    """The result if every CertMgr failed: the credential to serve on, and the problem to report."""
    problems = [(host, each.problem) for host, each in found if each.problem]
    info = next((each.info for _, each in found if each.info), None)
    host, problem = status.of_several_hosts(problems)
    return Found(pair.kept, problem, info=info, certmgr=host)
