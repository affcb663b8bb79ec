"""NGINX's output: its build, and messages with a level, of which only the worst are the reason of a refusal."""

from __future__ import annotations

import re
from typing import NamedTuple

_HEAD = re.compile(r"(?:nginx: |[\d/]+ [\d:]+ )(?:\[(?P<level>\w+)\] )?(?:\d+#\d+: )?(?:\*\d+ )?")
_LOGGED = re.compile(r"^[\d/]+ [\d:]+ (\[\w+\]) \d+#\d+: ", re.MULTILINE)
_REFUSING = ("emerg", "alert", "crit", "error")  # the worst first
_WARNING = ("warn", "error", "crit", "alert", "emerg")
_BIND, _GIVEN_UP = re.compile(r"bind\(\) to .* failed"), "still could not bind()"
_VERDICT = "configuration file "


class Build(NamedTuple):
    """The build of a binary; ``openssl`` is empty where it has another library, such as LibreSSL."""

    version: tuple[int, int, int]
    http3: bool = False
    openssl: tuple[int, ...] = ()


def build(output: str) -> Build | None:
    """The build in the output of ``nginx -V``, None where it names no version.

    HTTP/3 came with 1.25.0, as a module that a build may lack. The OpenSSL that NGINX runs with counts, not the one
    that it was built with.
    """
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", output)
    if not found:
        return None
    openssl = re.findall(r"(?:built|running) with OpenSSL (\d+)\.(\d+)\.(\d+)", output)
    known = tuple(map(int, openssl[-1])) if openssl else ()
    return Build((int(found[1]), int(found[2]), int(found[3])), "--with-http_v3_module" in output.split(), known)


class Line(NamedTuple):
    """One message, without time stamp and process numbers; ``level`` is empty where it has none."""

    level: str
    text: str


def lines(output: str) -> tuple[Line, ...]:
    """The messages, in order and each once, without the last line about the success of the test."""
    found: list[Line] = []
    for line in filter(None, output.splitlines()):
        head = _HEAD.match(line)
        if head:
            found.append(Line(head["level"] or "", line[head.end() :]))
        elif found:  # a word of the configuration had a line end in it
            found[-1] = found[-1]._replace(text=f"{found[-1].text} {line}")
        else:
            found.append(Line("", line))
    return tuple(dict.fromkeys(each for each in found if each.level or not each.text.startswith(_VERDICT)))


def for_a_person(output: str) -> str:
    """Lines as NGINX prints them at a terminal: without time and process number."""
    return _LOGGED.sub(r"nginx: \1 ", output)


def refusal(said: tuple[Line, ...]) -> str:
    """The reason of a refusal: the messages of the worst level, or those without a level; empty without any."""
    for level in (*_REFUSING, ""):
        if worst := [line.text for line in said if line.level == level]:
            return "; ".join(worst)
    return ""


def hint(refusal: str, uid: int) -> str:
    """The advice where NGINX, as this user, cannot bind a port; empty for other refusals."""
    if re.search(r"bind\(\) to .* failed \(13:", refusal):
        return f"uid {uid} may not listen there: set HTTP_PORT and HTTPS_PORT to ports above 1023"
    if re.search(r"bind\(\) to .* failed \(99:", refusal):
        return "no interface of this machine has that address: is STATUS_ADDRESS right?"
    return ""


def refused_reload(said: tuple[Line, ...]) -> str:
    """Why NGINX refused a reload; empty while it may still succeed, as NGINX tries several times to bind."""
    texts = [line.text for line in said if line.level == "emerg"]
    final = [text for text in texts if not _BIND.match(text)]
    return "; ".join(each for each in texts if each != _GIVEN_UP) if final else ""


def warnings(said: tuple[Line, ...]) -> tuple[str, ...]:
    """The warnings of a test that succeeded."""
    return tuple(line.text for line in said if line.level in _WARNING)
