"""A change that NGINX's test takes and its reload refuses: what ran goes on and is renewed, and the reason is said."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from entrypoint.core.model import KeyType
from tests.support.pki import cached_key
from tests.support.user import ROOT, User

NAME = "a.acme.io"
BEFORE = ROOT.replace(
    "    include",
    "    limit_req_zone $binary_remote_addr zone=one:1m rate=1000r/s;\n"
    "    proxy_cache_path cache-one keys_zone=two:1m;\n    include",
)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def _root(old: str, new: str) -> Callable[[User, int], object]:
    return lambda user, _: user.put_file("nginx.conf", _text(user, BEFORE.replace(old, new)))


def _text(user: User, root: str) -> str:
    return root.replace("cache-", f"{user.folder}/cache-")


EDITS: dict[str, tuple[Callable[[User, int], object], str]] = {
    "the key of a zone": (_root("$binary_remote_addr", "$uri"), 'limit_req "one" uses the "$uri" key'),
    "the folder of a cache": (_root("cache-one", "cache-two"), 'cache "two" uses the'),
    "a wildcard narrowed": (_root("listen {http} ", "listen 127.0.0.1:{http} "), "bind() to 127.0.0.1:"),
    "a port that is taken": (
        lambda user, port: user.put_file("conf.d/new.conf", "server {{ listen 127.0.0.1:{port}; }}\n", port=port),
        "bind() to 127.0.0.1:",
    ),
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_change_that_a_reload_refuses(user: User, taken: int, kind: str) -> None:
    """Renewals come in while it stands, also after the agent was killed; it is tried seldom; mended, it comes in."""
    user.put_file("nginx.conf", _text(user, BEFORE))
    user.give(user.site(NAME), NAME)
    user.start()
    user.until(lambda: user.entry(NAME).get("state") == "serving", "the proof")
    edit, reason = EDITS[kind]
    before = user.newest()
    edit(user, taken)
    user.until(lambda: reason in user.report()["configuration"]["problem"], "the problem")
    _renewed(user)
    problem = user.report()["configuration"]["problem"]
    assert user.log().count(problem) == 1
    assert user.newest() <= before + 4, "the change is tried again and again"
    assert user.plain()
    user.agent().kill()
    _renewed(user)
    user.until(lambda: reason in user.report()["configuration"]["problem"], "the problem, again")
    (user.etc / "conf.d" / "new.conf").unlink(missing_ok=True)
    user.put_file("nginx.conf", _text(user, BEFORE.replace('"plain\\n"', '"mended\\n"')))
    user.until(lambda: user.http()[2] == "mended\n", "the mended change")
    user.until(lambda: user.report()["configuration"]["problem"] == "", "no problem")
    user.tested()


def test_a_port_that_is_taken_from_the_start(user: User) -> None:
    """The server that needs it waits, also through a restart; the others run and are renewed; later it comes in."""
    user.give(user.site(NAME), NAME)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        user.put_file("conf.d/new.conf", "server {{ listen 127.0.0.1:{port}; return 204; }}\n", port=port)
        for _ in range(2):
            user.start()
            user.until(lambda: user.entry(NAME).get("state") == "serving", "the proof")
            user.until(lambda: "bind() to 127.0.0.1:" in user.commented_out().get("new.conf:1", ""), "the reason")
            user.until(lambda: "bind() to 127.0.0.1:" in user.report()["configuration"]["problem"], "the problem")
            assert user.plain()
            _renewed(user)
            user.kill()
        user.start()
        user.until(user.plain, "the plain server")
    user.until(lambda: user.entry(NAME).get("state") == "serving", "the proof")
    user.check()
    user.until(lambda: user.http("/", port)[0] == 204, "the server that waited")
    user.until(lambda: user.report()["configuration"]["problem"] == "", "no problem")
    assert user.commented_out() == {}


def _renewed(user: User) -> None:
    issued = user.authority.issue(NAME, key=cached_key(KeyType.ECDSA, NAME))
    user.give(issued, NAME)
    user.until(lambda: user.serves(issued, NAME), "the renewal")
    user.until(lambda: user.entry(NAME).get("outcome") in ("installed", "unchanged"), "its outcome")


def test_a_broken_root_and_a_renewal(user: User) -> None:
    """With a root file that cannot be read the pairs are renewed as well, also after a restart."""
    user.give(user.site(NAME), NAME)
    user.start()
    user.until(lambda: user.entry(NAME).get("state") == "serving", "the proof")
    user.put_file("nginx.conf", ROOT + "}}\n")
    user.until(lambda: user.report()["configuration"]["problem"], "the problem")
    _renewed(user)
    user.kill()
    user.start()
    user.until(lambda: user.entry(NAME).get("state") == "serving", "the proof after a restart")
    _renewed(user)
    assert "unexpected" in user.report()["configuration"]["problem"]
