"""The pair that was served before, and is served on as long as anything opens its key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from entrypoint.check import Found, ManagedPair
from entrypoint.core.generation.locked import of_the_old_key
from entrypoint.core.model import Key, Problem
from entrypoint.core.x509.decryption import opener
from entrypoint.core.x509.pem import is_encrypted
from entrypoint.edges import key_files


def kept_by(slot: ManagedPair, found: Found) -> Found:
    """A finding without a pair, with the stored one; or, where its key stays closed, with the reason and the way out.

    The start may have left it out for just that reason, and the password may have come since.
    """
    kept = slot.credential
    if found.credential or slot.live or not kept:
        return found
    if not is_encrypted(kept.key_pem) or _password(slot, kept.key_pem):
        return replace(found, credential=kept)
    if not isinstance(slot.key, Key):
        return found
    old = of_the_old_key(slot.wanted)
    besides = f"; {found.problem.outcome}: {found.problem.detail}" if found.problem else ""
    return replace(found, problem=Problem(old.outcome, old.detail + besides, old.hint))


def passwords_of(slots: Iterable[ManagedPair]) -> list[bytes]:
    """Those that open the keys of the pairs that are served, or may be."""
    keys = [slot.key.password for slot in slots if isinstance(slot.key, Key)]
    return [password for password in (*keys, *(slot.opened[1] for slot in slots)) if password]


def _password(slot: ManagedPair, key_pem: bytes) -> bytes | None:
    """The one in the password file that opens the stored key, looked for again only when the files change."""
    if slot.opened[0] != slot.key_contents:
        passwords = key_files.passwords(Path(slot.wanted.password_file))
        slot.opened = slot.key_contents, opener(key_pem, passwords)
    return slot.opened[1]
