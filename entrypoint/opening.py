"""What NGINX needs to open a plan's keys: a password file, or with KEY_UNLOCK=memory the keys themselves, decrypted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from entrypoint import reserve
from entrypoint.core.plan import Plan
from entrypoint.edges import passwords, unlock

_PASSWORDS, _KEYS = "passwords", "keys"


def provide(plan: Plan, offered: Iterable[bytes]) -> None:
    """Write what the plan's configuration names. ``offered`` are passwords; without any, those in the user's files."""
    known = list(offered) or [line for path in _password_files(plan) for line in passwords.lines(path)]
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


def _password_files(plan: Plan) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(Path(pair.password_file) for pair in plan.wanted))
