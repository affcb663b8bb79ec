"""The status as text for people, in colour if the caller asks for it."""

from __future__ import annotations

from typing import Any

from entrypoint.core.shown import all_shown

_COLOURS = {"serving": "32", "pending": "33", "stale": "33", "expiring": "33", "expired": "31"}
_GOOD = ("installed", "unchanged")


def overview(status: dict[str, Any], *, colour: bool = False) -> str:
    """All of ``status.json`` as text."""
    status = all_shown(status, lines=False)
    nginx = status["nginx"]
    head = f"generation {status['generation']}, NGINX {nginx.get('version', '?')}, updated {status['updated_at']}"
    none = "no certificates: no server needs one" if nginx else "starting: the first check has not ended yet"
    entries = [certificate(entry, colour=colour) for entry in status["certificates"]] or [none]
    return "\n".join([head, *entries, *_configuration(status.get("configuration", {}))])


def _configuration(found: dict[str, Any]) -> list[str]:
    """The gated parts of the user's configuration, and the warnings."""
    problem = [f"configuration: {found['problem']}"] if found.get("problem") else []
    kinds = {"commented_out": "commented out", "warnings": "warning"}
    entries = ((said, each) for kind, said in kinds.items() for each in found.get(kind, ()))
    return problem + [f"{said}: {each['where']}: {each['reason']}" for said, each in entries]


def certificate(entry: dict[str, Any], *, colour: bool = False) -> str:
    """One certificate: a line with its state, then the served certificate or the problem."""
    entry = all_shown(entry, lines=False)
    kind = f" ({entry['key_type']})" if entry["key_type"] else ""
    state = f"\x1b[{_COLOURS[entry['state']]}m{entry['state']}\x1b[0m" if colour else entry["state"]
    lines = [f"{entry['name']}{kind}: {state}, last check {entry['outcome'] or 'not yet'}"]
    if entry["fingerprint_sha256"]:
        lines += [
            f"  names    {', '.join(entry['names'])}",
            f"  issuer   {entry['issuer']}",
            f"  valid    {entry['not_before']} to {entry['not_after']} ({entry['days_left']:g} days left)",
            f"  SHA-256  {entry['fingerprint_sha256']}",
            f"  serial   {entry['serial']}",
            f"  source   {entry['certmgr'] or entry['source']}, since {entry['last_changed_at']}",
        ]
    word = "warning" if entry["outcome"] in _GOOD else "problem"
    lines += [f"  {word}  {entry['detail']}"] if entry["detail"] else []
    lines += [f"  hint     {entry['hint']}"] if entry["hint"] else []
    return "\n".join([*lines, f"  checked  {entry['last_checked_at']}, next {entry['next_check_at']}"])
