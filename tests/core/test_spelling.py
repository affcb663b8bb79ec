"""Which variables are taken for typos of ours, and which are somebody else's."""

from __future__ import annotations

import pytest

from entrypoint.core import doubts
from entrypoint.environment import SettingsError, from_environment, near_misses


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *dict.fromkeys(
            ["SERVERNAME", "SERVER_NAMES", "SEVER_NAME", "server_name", "SERVER-NAME"], "SERVER_NAME"
        ).items(),
        *dict.fromkeys(["UPSTREEM", "UPSTREAMS", "UPSTREAM_URL", "Upstream"], "UPSTREAM").items(),
        *dict.fromkeys(["KEYFILE", "KEY_FILES", "KEY_FIEL"], "KEY_FILE").items(),
        *dict.fromkeys(["KEY_PASSWORD", "KEY_PASSWORD_FILES", "PASSWORD_FILE"], "KEY_PASSWORD_FILE").items(),
        *dict.fromkeys(["TRUSTED_ROOTS", "TRUSTED_ROOT_FILE", "TRUSTEDROOTSFILE"], "TRUSTED_ROOTS_FILE").items(),
        *dict.fromkeys(["CERTMGRHOST", "CERT_MGR_HOST", "CERMGR_HOST"], "CERTMGR_HOST").items(),
        ("HTTPPORT", "HTTP_PORT"),
        ("HTTP_PORTS", "HTTP_PORT"),
        ("STAUS_PORT", "STATUS_PORT"),
        ("BEFORETLS", "BEFORE_TLS"),
        ("ACME_CHALENGE", "ACME_CHALLENGE"),
        ("LOGFORMAT", "LOG_FORMAT"),
    ],
)
def test_near_misses(name: str, meant: str) -> None:
    """A name without our prefix that is close to one of ours is named with it; its value is not looked at."""
    assert near_misses({name: "s3cret", "PATH": "/bin"}) == ((name, meant),)
    assert near_misses({name: "s3cret", meant: "x" if meant != "SERVER_NAME" else "a.io"}) == ()


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOSTNAME", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "NO_PROXY", "HTTP_HOST", "HTTP2", "PORT"),
        *("NGINX_VERSION", "NGINX_PORT", "NGINX_ENVSUBST_OUTPUT_DIR", "SERVICE_NAME", "SERVER_PORT", "SERVER_SOFTWARE"),
        *("SSL_CERT_FILE", "LOG_FILE", "APP_PORT", "DATABASE_URL", "UPSTREAM_PORT", "KEY", "HTTP_SERVICE_PORT"),
        *("HTTP_PORT_80_TCP_PORT", "HTTPS_PORT_443_TCP", "STATUS_SERVICE_HOST"),
    ],
)
def test_strangers(name: str) -> None:
    """What is in wide use, or what engines set for a service called http, is nobody's typo."""
    assert near_misses({name: "80"}) == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *dict.fromkeys(
            ["CERTMGR_HOSTS", "CERTMGR_HOTS", "CERTMGR_host", "CERTMGR_PORT", "CERTMGR_URL"], "CERTMGR_HOST"
        ).items(),
        ("CERTMGR_INTERVAL", "CERTMGR_CHECK_INTERVAL"),
        ("CERTMGR_TIMEOUTS", "CERTMGR_TIMEOUT"),
        ("CERTFRONT_STATE", "CERTFRONT_STATE_DIR"),
        ("CERTFRONT_RUNDIR", "CERTFRONT_RUN_DIR"),
        ("CERTFRONT_LOG_LEVEL", "LOG_LEVEL"),
        ("CERTMGR_KEY_FILE", "KEY_FILE"),
    ],
)
def test_errors_name_what_was_meant(name: str, meant: str) -> None:
    """A name with our prefix is an error, and says which one is close."""
    with pytest.raises(SettingsError, match=rf"^{name}: unknown variable \(did you mean {meant}\?\)"):
        from_environment({name: "8443"})


def test_nothing_close() -> None:
    """Where nothing is close, nothing is guessed."""
    assert doubts.meant("CERTFRONT_", ["CERTFRONT_RUN_DIR"]) == ""
    assert doubts.meant("CERTMGR_COLOUR", ["CERTMGR_HOST", "CERTMGR_TIMEOUT"]) == ""


@pytest.mark.parametrize(
    ("target", "warned"),
    [
        ({"CERTMGR_HOST": "c.io"}, False),
        ({"CERTMGR_HOST": "c.io:8443"}, True),
        ({"CERTMGR_HOST": "c.io:8443", "ACME_CHALLENGE_TARGET": "http://c.io"}, False),
        ({"CERTMGR_HOST": "c.io", "ACME_CHALLENGE_TARGET": "http://c.io:80"}, False),
        ({"CERTMGR_HOST": "c.io", "ACME_CHALLENGE_TARGET": "http://[2001:db8::1]:8080"}, True),
        ({"CERTMGR_HOST": "c.io:8443", "ACME_CHALLENGE": "proxy"}, False),
        ({"CERTMGR_HOST": "c.io:8443", "ACME_CHALLENGE": "off"}, False),
        ({}, False),
    ],
)
def test_redirected_challenges(target: dict[str, str], warned: bool) -> None:
    """ACME servers follow no redirect to another port than 80 and 443."""
    settings = from_environment(target)
    assert settings.warnings == tuple(doubts.of_settings(settings))
    assert [variable for variable, _ in settings.warnings] == ["ACME_CHALLENGE"] * warned
    assert all("ACME_CHALLENGE=proxy" in reason for _, reason in settings.warnings)
