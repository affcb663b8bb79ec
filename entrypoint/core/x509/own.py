"""The verdict on the user's own certificates: NGINX's limits are errors, those of browsers are warnings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from entrypoint.core.model import Chain, Key, Outcome, Problem, Refused, Verdict
from entrypoint.core.x509.certificate import describe
from entrypoint.core.x509.chain import order
from entrypoint.core.x509.vet import key_problems, vet


def judge(ders: Sequence[bytes], *, key: Key, now: datetime) -> Verdict:
    """Whether NGINX can serve the certificates in the order of the user's file, the leaf first.

    NGINX asks that the first one has the key (ssl_certificate_key); names, dates, links and trust are the user's
    business. Where another one of them has the key, they are put in order. ``now`` is aware. Raises nothing.
    """
    try:
        found = describe(ders[0])
        if found.spki != key.spki and (better := order(ders, key.spki, now)):
            ders, found = better, describe(better[0])
    except Refused as refused:
        return Verdict(None, (refused.problem,))
    if problems := tuple(key_problems(found, key)):
        return Verdict(None, problems, found)
    objections = vet(ders, key=key, wanted=(), now=now).problems
    return Verdict(Chain(tuple(ders), found), (), found, tuple(map(_worded, objections)))


def _worded(problem: Problem) -> Problem:
    detail = f"served as it is, but browsers will object: {problem.detail}"
    hints = {Outcome.BROKEN_CHAIN: "put the complete chain into the file: the leaf, then every intermediate"}
    return replace(problem, detail=detail, hint=hints.get(problem.outcome, problem.hint))
