"""A site that was meant to have TLS and has none says so: in the log, in the status and at /readyz."""

from __future__ import annotations

import pytest

from tests.support.front import Front
from tests.support.user import User

OWN = "server {{ listen {https} ssl; server_name own.acme.io; ssl_certificate own.crt; ssl_certificate_key {key}; }}\n"


def _warned(front: Front) -> dict[str, str]:
    found = front.report().get("configuration", {}).get("warnings", ())
    return {each["where"]: each["reason"] for each in found if each["where"] != "ACME_CHALLENGE"}


def _ready(front: Front) -> tuple[int, str]:
    return front.http("/readyz", front.status_port)[::2]


@pytest.mark.parametrize("typo", ["SERVERNAME", "SERVER_NAMES", "SEVER_NAME", "server_name"])
def test_a_typo_in_the_name_of_server_name(typo: str) -> None:
    """A key without a site: HTTP runs, it is not ready, and what was meant is said."""
    with Front({"SERVER_NAME": None, typo: "www.acme.io"}) as front:
        front.start()
        front.until(lambda: "KEY_FILE" in _warned(front))
        assert front.http()[0] == 200
        code, text = _ready(front)
        assert code == 503
        assert f"no server uses it, and nothing is served with it: SERVER_NAME is not set ({typo} is: " in text
        assert {typo, "KEY_FILE", "UPSTREAM", "CERTMGR_HOST"} == set(_warned(front))
        assert "did you mean SERVER_NAME?" in _warned(front)[typo]
        assert f"{typo}: certfront knows no such variable: did you mean SERVER_NAME?" in front.log()
        assert "warning: KEY_FILE: " in front.command("status").stdout


def test_a_drop_in_without_a_key_is_ready() -> None:
    """What the official image does is no fault; what is set for a site that has no name is said all the same."""
    with Front({"SERVER_NAME": None, "KEY_FILE": None, "CERTMGR_HOST": None}) as front:
        front.start()
        front.until(lambda: _ready(front)[0] == 200, "ready")
        assert list(_warned(front)) == ["UPSTREAM"]
        assert "SERVER_NAME is not set" in _warned(front)["UPSTREAM"]
    with Front({"SERVER_NAME": None, "KEY_FILE": None, "CERTMGR_HOST": None, "UPSTREAM": None}) as front:
        front.start()
        front.until(lambda: _ready(front)[0] == 200, "ready")
        assert _warned(front) == {}


def test_a_key_that_a_server_of_the_users_comes_to_use() -> None:
    """It is not ready while none names the key, and says no more of it, without a restart, once one does."""
    with User() as user:
        key = user.folder / "key.pem"
        user.environment = {**user.environment, "KEY_FILE": str(key)}
        user.start()
        user.until(lambda: "KEY_FILE" in _warned(user))
        assert _ready(user)[0] == 503
        (user.etc / "link.key").symlink_to(key)
        user.put_file("conf.d/own.conf", OWN, key="link.key")
        user.command("refresh")
        user.until(lambda: "KEY_FILE" not in _warned(user))
        assert "KEY_FILE" not in _ready(user)[1]
