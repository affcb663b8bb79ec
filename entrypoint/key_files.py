"""What NGINX needs to open a plan's keys: a password file, or with KEY_UNLOCK=memory the keys themselves, decrypted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from entrypoint.core.generation.pairs import PairSpec
from entrypoint.core.generation.plan import Plan
from entrypoint.core.model import Key, Outcome, Problem, Refused
from entrypoint.core.x509 import pem
from entrypoint.core.x509.pem import is_encrypted
from entrypoint.edges import passwords, unlock
from entrypoint.system import reserve

log = logging.getLogger("certfront")

_PASSWORDS, _KEYS = "passwords", "keys"
_NO_KEY = "cannot load certificate key"  # NGINX's words for a key that no password opens, or that is not there


def provide(plan: Plan, offered: Iterable[bytes]) -> None:
    """Write what the plan's configuration names. ``offered`` are passwords; without any, all that are to be found."""
    known = list(offered) or _found(plan)
    run_dir = plan.settings.run_dir
    if plan.password_file:
        reserve.writing(run_dir, partial(passwords.write, Path(plan.password_file), known))
    for path, key_pem in plan.unlocked.items():
        reserve.writing(run_dir, partial(unlock.write, Path(path), key_pem, known))


def provide_missing(plan: Plan) -> None:
    """As `provide`, for a run folder that may be fresh: what is there stays, as it opened the keys before."""
    if plan.unlocked or (plan.password_file and not Path(plan.password_file).exists()):
        provide(plan, ())


def keep_only(run_dir: Path, manifests: Iterable[Mapping[str, Any]]) -> None:
    """Forget all that no generation with one of these manifests names."""
    kept = list(manifests)
    passwords.keep_only(run_dir / _PASSWORDS, (str(each.get("password_file", "")) for each in kept))
    unlock.keep_only(run_dir / _KEYS, (str(path) for each in kept for path in each.get("unlocked", ())))


def is_about_a_key(refusal: Exception) -> bool:
    """Whether NGINX could not load a key."""
    return _NO_KEY in str(refusal)


def without_locked(plan: Plan, refusal: Exception) -> Plan | None:
    """The plan without the pairs whose keys nothing opens any more, each with the reason, where that was refused.

    A pair whose key the user has encrypted anew goes on with the key as it is now. None where nothing of that helps:
    opening keys takes the library that a start does without.
    """
    if not is_about_a_key(refusal):
        return None
    from entrypoint.core.x509.certificate import describe

    known, usable, reasons = _found(plan), dict(plan.usable), dict(plan.reasons)
    for pair in plan.wanted:
        stored = usable.get(pair.identity)
        if not stored or not is_encrypted(stored.key_pem) or unlock.password(stored.key_pem, known):
            continue
        key = _as_it_is_now(pair)
        if isinstance(key, Key) and key.spki == describe(pem.decode(stored.chain_pem)[0]).spki:
            usable[pair.identity] = replace(stored, key_pem=key.pem)
            continue
        problem = key if isinstance(key, Problem) else of_the_old_key(pair)
        log.error("%s: %s: %s\n  hint: %s", pair.title, problem.outcome, problem.detail, problem.hint)
        del usable[pair.identity]
        reasons[pair.identity] = problem.detail
    return replace(plan, usable=usable, reasons=reasons) if usable != plan.usable else None


def of_the_old_key(pair: PairSpec) -> Problem:
    """The key has been exchanged, its certificate is not there yet, and the old pair's password is gone."""
    detail = (
        f"the certificate that is stored belongs to the key that {pair.key_file} held before, and the password of that "
        f"old key is not in {pair.password_file} any more"
    )
    hint = (
        f"write the old password into {pair.password_file} as a second line, and the old certificate is served until "
        "CertMgr has one for the new key"
    )
    return Problem(Outcome.WRONG_PASSWORD, detail, hint)


def _as_it_is_now(pair: PairSpec) -> Key | Problem:
    from entrypoint.edges import keys

    try:
        return keys.load(Path(pair.key_file), Path(pair.password_file))
    except Refused as error:
        return error.problem


def _found(plan: Plan) -> list[bytes]:
    """The passwords in the user's files, and those that are left of what ran before."""
    lines = [line for path in _password_files(plan) for line in passwords.lines(path)]
    return [*lines, *passwords.copies(plan.settings.run_dir / _PASSWORDS)]


def _password_files(plan: Plan) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(Path(pair.password_file) for pair in plan.wanted))
