"""Warnings about settings that are valid but probably mistakes: a sentence for each variable, for log and status."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from urllib.parse import urlsplit

from entrypoint.core.settings import Settings

Doubt = tuple[str, str]  # where it is set, and the sentence
_FOLLOWED = (None, 80, 443)
_NAMES = "SERVER_NAME"


def of_settings(settings: Settings) -> Iterator[Doubt]:
    """The warnings that follow from the settings alone."""
    target = settings.acme_challenge_target
    if settings.acme_challenge == "redirect" and target and urlsplit(target).port not in _FOLLOWED:
        yield (
            "ACME_CHALLENGE",
            f"challenges are redirected to {target}, but ACME servers follow redirects to the ports 80 and 443 only: "
            "ACME_CHALLENGE=proxy passes them on instead",
        )


def of_misspelt(near: Iterable[tuple[str, str]]) -> Iterator[Doubt]:
    """The warnings about unknown variables, each with the known variable that it resembles."""
    return ((name, f"certfront knows no such variable: did you mean {ours}?") for name, ours in near)


def of_idle_keys(keys: Collection[str], near: Iterable[tuple[str, str]]) -> Iterator[Doubt]:
    """The warning about key files that no server uses: whoever gave them expects TLS."""
    if keys:
        reason = f"{' and '.join(keys)}: a key was given, but no server uses it, and nothing is served with it"
        yield "KEY_FILE", f"{reason}: {_unset(near)}, and no ssl_certificate_key names it"


def of_the_site(settings: Settings, near: Iterable[tuple[str, str]], *, certificates: bool) -> Iterator[Doubt]:
    """The warnings about settings of a site without a name; ``certificates``: whether any server needs one."""
    if settings.server_names:
        return
    if settings.upstream:
        yield "UPSTREAM", f"{_unset(near)}: {settings.upstream} is not served by TLS"
    if settings.certmgr_hosts and not certificates:
        yield "CERTMGR_HOST", f"{_unset(near)}: no server needs a certificate, and CertMgr is not asked for one"


def _unset(near: Iterable[tuple[str, str]]) -> str:
    typos = [name for name, ours in near if ours == _NAMES]
    return f"{_NAMES} is not set" + "".join(f" ({name} is: did you mean {_NAMES}?)" for name in typos)
