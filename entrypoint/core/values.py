"""Parsers for the values of environment variables. Each raises ValueError with the expected format."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from entrypoint.core.names import to_ascii
from entrypoint.core.settings import HTTPS, Endpoint

_UNSAFE = re.compile(r"[\s\"'`;{}$\\]")
_ENDPOINT = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>[^][\s:@/?#]+))(:(?P<port>[0-9]+))?")
# What people copy from a browser along with the host.
_AROUND = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*:/+)?(?P<inner>[^/?#]*)(?P<behind>[/?#].*)?", re.DOTALL)
_URL_MAX = 2000  # characters; NGINX reads no longer word than 4096 bytes
_PATH_MAX, _NAME_MAX = 2000, 255  # bytes; NGINX appends to the one, limits.h has the other


def _number(text: str, expected: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(expected) from None
    if not least <= value <= most:
        raise ValueError(expected)
    return value


def interval(text: str) -> float:
    """Seconds between checks."""
    return _number(text, "a number of seconds, 1 or more", 1, 10 * 366 * 86400)


def seconds(text: str) -> float:
    """Seconds that one fetch may take."""
    return _number(text, "a number of seconds between 0.1 and 600", 0.1, 600)


def port(text: str) -> int:
    """A TCP port."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError("a port between 1 and 65535")
    return int(text)


def address(text: str) -> str:
    """An IP address to listen on; empty for all of them."""
    if text.lower() == "all":
        return ""
    try:
        plain = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
        found = ip_address("127.0.0.1" if text.lower() == "localhost" else plain)
    except ValueError:
        found = None
    if found is None or "%" in text:
        raise ValueError("all, or an IP address of this machine such as 127.0.0.1 or ::1")
    return str(found)


def word(text: str) -> str:
    """A name or path that needs no quotes in NGINX's configuration."""
    if not _plain(text):
        raise ValueError("a name or path without spaces, quotes or any of ; { } $ \\")
    return text


def _plain(text: str) -> bool:
    """Whether a text can stand between quotes in NGINX's configuration without escapes."""
    return text.isprintable() and not _UNSAFE.search(text)


def path(text: str) -> str:
    """An absolute path of a file."""
    found = word(text)
    if not found.startswith("/"):
        raise ValueError("an absolute path")
    parts = [len(part.encode(errors="surrogateescape")) for part in found.split("/")]
    if sum(parts) + len(parts) > _PATH_MAX or max(parts) > _NAME_MAX:
        raise ValueError(f"a path of less than {_PATH_MAX} bytes, with names of at most {_NAME_MAX}")
    return found


def roots(text: str) -> str:
    """The path of a file of root certificates, or ``system``."""
    return text if text == "system" else str(path(text))


def header(text: str) -> str:
    """The value of Strict-Transport-Security; empty for ``off``."""
    if text.lower() == "off":
        return ""
    if not re.fullmatch(r"max-age=[0-9]+( *; *[A-Za-z]+)*", text):
        raise ValueError("off, or a Strict-Transport-Security value such as max-age=31536000")
    return text


def host_name(text: str) -> str:
    """A host name as A-labels."""
    try:
        return to_ascii(text)
    except ValueError:
        found = _ENDPOINT.fullmatch(_inner(text))
    if found and found["host"] and found["host"] != text:
        raise ValueError(_alone("a host name", text, host_name(found["host"])))
    raise ValueError("a host name such as www.acme.io (letters, digits, hyphens and dots)")


def endpoint(text: str) -> Endpoint:
    """``host[:port]`` as `Endpoint`, port 443 if none is given."""
    found = _ENDPOINT.fullmatch(text)
    if not found and _inner(text) != text:
        raise ValueError(_alone("host or host:port", text, str(endpoint(_inner(text)))))
    if not found:
        raise ValueError("host or host:port (an IPv6 address in brackets)")
    host = str(IPv6Address(found["address"])) if found["address"] else host_name(found["host"])
    return Endpoint(host, port(found["port"]) if found["port"] else HTTPS)


def _inner(text: str) -> str:
    """The part of a URL between scheme and path, or the whole text."""
    found = _AROUND.fullmatch(text)
    return found["inner"] if found else text


def _alone(expected: str, text: str, wanted: str) -> str:
    before, scheme, _ = text.partition("://")
    return f"{expected} alone: leave out {before + scheme if scheme else 'what follows it'}, and write {wanted}"


def lookup(text: str) -> str:
    """A name that SNI can carry (RFC 6066, section 3), as A-labels."""
    if text.startswith("*"):
        raise ValueError("one concrete host name (SNI carries no wildcard)")
    return host_name(text)


def _url(text: str, expected: str) -> SplitResult:
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        usable = None
    if not usable or len(text) > _URL_MAX or not _plain(text) or "@" in url.netloc or url.query or url.fragment:
        raise ValueError(expected)
    return url


def upstream(text: str) -> str:
    """The URL of an application, without a trailing slash."""
    url = _url(text, "a URL such as http://app:8080")
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def origin(text: str) -> str:
    """The URL of a server: only scheme, host and port."""
    url = _url(text, "a URL such as https://certmgr.acme.com")
    if url.path not in ("", "/"):
        raise ValueError("a URL without a path: the request's own is appended")
    return f"{url.scheme}://{url.netloc}"
