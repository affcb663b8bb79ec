"""Host names: their normal form, and which certificate name covers which.

Names come in as people write them (``Straße.de.``) and go on as DNS and certificates spell them (``xn--strae-oqa.de``):
lower case, A-labels, no trailing dot.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address

import idna

_LONGEST_NAME = 253  # RFC 1035, section 2.3.4, without the root label and its dot
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")  # RFC 1123, section 2.1, and underscores, which are in use
_WILDCARD = "*."


def to_ascii(name: str) -> str:
    """Return ``name`` as DNS spells it, a leading ``*.`` kept; an IP address in its shortest form.

    Unicode is mapped by UTS #46, non-transitional: ``straße.de`` is ``xn--strae-oqa.de``. Raises
    ValueError, with a sentence that quotes the name, for what is no host name.
    """
    if (address := ip_text(name)) is not None:
        return address
    star, rest = (_WILDCARD, name[2:]) if name.startswith(_WILDCARD) else ("", name)
    try:
        ascii_name = star + _host(rest)
    except ValueError as error:
        raise ValueError(f"{name!r} is not a host name: {error}") from None
    return ascii_name


def covers(presented: str, wanted: str) -> bool:
    """Whether a certificate's name covers the wanted one (RFC 9525, section 6.3; RFC 6125, section 6.4.3).

    A wildcard is the whole left-most label, stands for exactly one label, and has two labels or more
    behind it, as OpenSSL and Firefox ask. A wanted wildcard is covered by the same wildcard only, and
    an IP address by the same address only.
    """
    presented, wanted = _folded(presented), _folded(wanted)
    if presented == wanted:
        return presented != ""
    if not presented.startswith(_WILDCARD) or ip_text(wanted) is not None:
        return False
    label, _, parent = wanted.partition(".")
    suffix = presented.removeprefix(_WILDCARD)
    return label not in ("", "*") and parent == suffix and "*" not in suffix and "." in suffix.strip(".")


def concrete(names: Iterable[str]) -> str | None:
    """Return the first name without a wildcard, None where there is none."""
    return next((name for name in names if "*" not in name), None)


def ip_text(text: str) -> str | None:
    """Return the IP address that ``text`` spells, in its shortest form; None where it spells none."""
    if not text or text[-1] not in "0123456789abcdefABCDEF:" or "%" in text:
        return None  # cheap, and most names end here; an address with a zone is no name
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _folded(name: str) -> str:
    name = name.lower().removesuffix(".")
    return ip_text(name) or name


def _host(name: str) -> str:
    """Return the A-label form of a name without wildcard; raises ValueError saying what is wrong."""
    if not name.isascii():
        name = idna.uts46_remap(name, std3_rules=False, transitional=False)
    labels = [_a_label(label) for label in name.lower().removesuffix(".").split(".")]
    if labels[-1].isdigit():
        raise ValueError("its last label is a number, and it is no IP address")
    ascii_name = ".".join(labels)
    if len(ascii_name) > _LONGEST_NAME:
        raise ValueError(f"it is {len(ascii_name)} characters long, at most {_LONGEST_NAME} are allowed")
    return ascii_name


def _a_label(label: str) -> str:
    if not label:
        raise ValueError("a label is empty")
    if not label.isascii():
        label = idna.alabel(label).decode("ascii")
    if len(label) > 63:
        raise ValueError("a label is longer than 63 characters")
    if not _LABEL.fullmatch(label) or not label.strip("_-"):
        raise ValueError(f"{label!r} may only hold letters, digits, underscores and, inside it, hyphens")
    return label


def covers_any(presented: Iterable[str], wanted: Collection[str]) -> bool:
    """Whether a certificate's names cover at least one wanted name: then a stored certificate is still served."""
    return any(covers(name, other) for name in presented for other in wanted)
