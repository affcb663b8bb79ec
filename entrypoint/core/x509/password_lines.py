"""Recognisable mistakes in password files, as sentences that quote nothing of the content."""

from __future__ import annotations

import re
from collections.abc import Iterator

from entrypoint.core.x509.pem import split_passwords

_NAMED = re.compile(rb"\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]{2,}\s*(?:=|:\s)\s*\S")
_QUOTED = re.compile(rb"\s*([\"'`]).+\1\s*")


def oddities(content: bytes) -> Iterator[str]:
    """The lines of a password file that look like something other than a password."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        yield "it is in UTF-16 (Windows' Unicode): save it as plain text, ASCII or UTF-8 without a byte-order mark"
        return
    if content.startswith(b"\xef\xbb\xbf"):
        yield "it begins with a byte-order mark, which counts as part of the first password: save it without one"
    lines = split_passwords(content.removeprefix(b"\xef\xbb\xbf"))
    if b"-----BEGIN " in content:
        yield "it holds PEM: is it the key file, and the key file the password's?"
    elif any(_QUOTED.fullmatch(line) for line in lines):
        yield "a line stands in quotes, which count as part of the password: leave them out"
    elif any(_NAMED.match(line) for line in lines):
        yield "a line looks like NAME=PASSWORD, and all of it counts as the password: leave the name out"
    elif any(line != line.strip() for line in lines):
        yield "a line begins or ends with a space, which counts as part of the password"
    if b"\r" in content.replace(b"\r\n", b""):
        yield "its lines end with CR alone, as on old Macs: save it with LF"
