"""Plans without the pairs whose keys no password opens any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Key, Outcome, Problem
from entrypoint.core.x509 import pem
from entrypoint.core.x509.decryption import opener

_NO_KEY = "cannot load certificate key"  # NGINX's words for a key that no password opens, or that is not there


def is_about_a_key(refusal: Exception) -> bool:
    """Whether a refusal is about a key that NGINX could not load."""
    return _NO_KEY in str(refusal)


def without_locked(
    plan: Plan, passwords: Sequence[bytes], key_now: Callable[[PairSpec], Key | Problem]
) -> tuple[Plan, Mapping[PairSpec, Problem]]:
    """The plan without the pairs whose keys no password opens, and the problem of each.

    A pair whose key the user has encrypted anew stays, with the key as it is now.
    """
    problems: dict[PairSpec, Problem] = {}
    usable, reasons = dict(plan.usable), dict(plan.reasons)
    for pair in plan.wanted:
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
