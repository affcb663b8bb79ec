"""Variables that are probably mistakes, valid or misspelt: a sentence for each, for log and status."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from entrypoint.core.facts import Facts
from entrypoint.core.settings import Settings

Doubt = tuple[str, str]  # where it is set, and the sentence
_FOLLOWED = (None, 80, 443)
_NAMES = "SERVER_NAME"

_OURS = ("CERTMGR_", "CERTFRONT_")
_CLOSE, _CLOSE_BEHIND_PREFIX = 0.82, 0.6  # of difflib's ratio: HTTP_PROXY is not HTTP_PORT, UPSTREEM is UPSTREAM
_COMMON = frozenset({"SERVICE_NAME"})  # close to one of ours, and in wide use for something else
_HOST = frozenset({"CERTMGR_ADDRESS", "CERTMGR_PORT", "CERTMGR_SERVER", "CERTMGR_SERVERS", "CERTMGR_URL"})
# Kubernetes and Docker links describe a service that is called certfront or certmgr in variables like these.
_SERVICE = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$|_ENV_")
_LINK = re.compile(r"(?:tcp|udp|sctp)://[!-~]+")
_LINK_NAME = re.compile(r"/[\w.-]+/[\w.-]+")  # /CONTAINER/ALIAS


def of_settings(settings: Settings) -> Iterator[Doubt]:
    """The warnings that follow from the settings alone."""
    target = settings.acme_challenge_target
    if settings.acme_challenge == "redirect" and target and urlsplit(target).port not in _FOLLOWED:
        yield (
            "ACME_CHALLENGE",
            f"challenges are redirected to {target}, but ACME servers follow redirects to the ports 80 and 443 only: "
            "ACME_CHALLENGE=proxy passes them on instead",
        )


def shortcomings(settings: Settings, facts: Facts) -> tuple[str, ...]:
    """A warning for each setting that this NGINX does not support."""
    if not settings.http3 or facts.http3:
        return ()
    needed = "1.25.0 or newer, built --with-http_v3_module"
    return (f"HTTP3=on: this NGINX cannot do it ({needed}): HTTPS runs over TCP with HTTP/2.",)


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


def is_link(name: str, value: str) -> bool:
    """Whether a variable is a container engine's link to a service whose name is a prefix of ours."""
    if _SERVICE.search(name):
        return True
    link = {"PORT": _LINK, "NAME": _LINK_NAME}.get(name.rpartition("_")[2])
    return bool(link and link.fullmatch(value))


def is_ours(name: str) -> bool:
    """Whether a variable's name has a prefix that only certfront uses."""
    return name.startswith(_OURS)


def meant(name: str, known: Collection[str]) -> str:
    """The known variable that an unknown one resembles most; empty where none is close."""
    if name in _HOST:
        return "CERTMGR_HOST"
    prefix = next((prefix for prefix in _OURS if name.startswith(prefix)), "")
    behind = {_flat(each.removeprefix(prefix)): each for each in known if each.startswith(prefix)}
    without = {_flat(each): each for each in known}
    return (
        (prefix and _closest(name.removeprefix(prefix), behind, _CLOSE_BEHIND_PREFIX))
        or (prefix and _closest(name.removeprefix(prefix), without, _CLOSE))
        or _closest(name, without, _CLOSE)
    )


def _flat(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _closest(name: str, known: Mapping[str, str], cutoff: float) -> str:
    import difflib  # takes as long as all else together that reads the settings

    found = difflib.get_close_matches(_flat(name), known, 1, cutoff)
    return known[found[0]] if found else ""


def near_misses(environ: Mapping[str, str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Unknown variables, each with the known and unset variable that it resembles: other programs may own them."""
    for name, value in sorted(environ.items()):
        if name in known or name in _COMMON or is_ours(name) or is_link(name, value):
            continue
        ours = meant(name, known)
        if ours and not environ.get(ours, "").strip():
            yield name, ours
