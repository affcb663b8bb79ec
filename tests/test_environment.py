"""The environment: every variable, every fault at once, and nothing accepted that NGINX would refuse."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from entrypoint.core.settings import Endpoint, Settings
from entrypoint.core.values import endpoint
from entrypoint.edges import nginx
from entrypoint.environment import SettingsError, from_environment
from tests.support import pki, rig

DEFAULTS = Settings(
    certmgr_hosts=(),
    certmgr_lookup="",
    check_interval=300,
    timeout=10,
    trusted_roots_file="",
    server_names=(),
    upstream="",
    key_files=(Path("/etc/nginx/key.pem"),),
    key_password_file=Path("/etc/nginx/ssl_pw.txt"),
    key_unlock="nginx",
    acme_challenge="redirect",
    acme_challenge_target="",
    before_tls="wait",
    http_port=80,
    https_port=443,
    status_port=8081,
    https_public_port=443,
    http3=False,
    hsts="",
    log_format="text",
    log_level="info",
    state_dir=Path("/var/lib/certfront"),
    run_dir=Path("/run/certfront"),
    nginx_bin="nginx",
    nginx_conf=Path("/nonexistent/nginx.conf"),
)
NONE = {"NGINX_CONF": "/nonexistent/nginx.conf"}  # this machine may have an NGINX of its own
LONG = "/" + "a" * 300

# variable, value, field, and what the field then holds
VALID = [
    ("CERTMGR_HOST", "certmgr.acme.com", "certmgr_hosts", (Endpoint("certmgr.acme.com", 443),)),
    ("CERTMGR_HOST", "a.io:8443, B.io.", "certmgr_hosts", (Endpoint("a.io", 8443), Endpoint("b.io", 443))),
    ("CERTMGR_HOST", "192.0.2.1 [::1]:1", "certmgr_hosts", (Endpoint("192.0.2.1", 443), Endpoint("::1", 1))),
    ("CERTMGR_HOST", "[::1]", "certmgr_hosts", (Endpoint("::1", 443),)),
    ("CERTMGR_HOST", "Straße.de", "certmgr_hosts", (Endpoint("xn--strae-oqa.de", 443),)),
    ("CERTMGR_LOOKUP", "Bücher.example", "certmgr_lookup", "xn--bcher-kva.example"),
    ("CERTMGR_CHECK_INTERVAL", "1", "check_interval", 1.0),
    ("CERTMGR_CHECK_INTERVAL", " 3600.5 ", "check_interval", 3600.5),
    ("CERTMGR_TIMEOUT", "0.5", "timeout", 0.5),
    ("TRUSTED_ROOTS_FILE", "system", "trusted_roots_file", "system"),
    ("TRUSTED_ROOTS_FILE", "/roots.pem", "trusted_roots_file", "/roots.pem"),
    ("SERVER_NAME", "WWW.a.io, *.a.io\ta.io www.a.io", "server_names", ("www.a.io", "*.a.io", "a.io")),
    ("SERVER_NAME", "straße.de,xn--strae-oqa.de", "server_names", ("xn--strae-oqa.de",)),
    ("UPSTREAM", "http://app:8080/", "upstream", "http://app:8080"),
    ("UPSTREAM", "https://app.acme.io/base/", "upstream", "https://app.acme.io/base"),
    ("UPSTREAM", "http://[::1]:8080", "upstream", "http://[::1]:8080"),
    ("KEY_FILE", "/keys/my-rsa.pem , /keys/ec.pem", "key_files", (Path("/keys/my-rsa.pem"), Path("/keys/ec.pem"))),
    ("KEY_PASSWORD_FILE", "/pw.txt", "key_password_file", Path("/pw.txt")),
    ("ACME_CHALLENGE", "Proxy", "acme_challenge", "proxy"),
    ("ACME_CHALLENGE_TARGET", "http://certmgr.acme.com:8080/", "acme_challenge_target", "http://certmgr.acme.com:8080"),
    ("BEFORE_TLS", "serve", "before_tls", "serve"),
    ("HTTP_PORT", "8080", "http_port", 8080),
    ("HTTPS_PORT", "65535", "https_port", 65535),
    ("STATUS_PORT", "1", "status_port", 1),
    ("STATUS_ADDRESS", "127.0.0.1", "status_address", "127.0.0.1"),
    ("STATUS_ADDRESS", "localhost", "status_address", "127.0.0.1"),
    ("STATUS_ADDRESS", "[::1]", "status_address", "::1"),
    ("STATUS_ADDRESS", "2001:DB8:0::1", "status_address", "2001:db8::1"),
    ("STATUS_ADDRESS", "All", "status_address", ""),
    ("HTTPS_PUBLIC_PORT", "8443", "https_public_port", 8443),
    ("HSTS", "max-age=31536000; includeSubDomains; preload", "hsts", "max-age=31536000; includeSubDomains; preload"),
    ("HSTS", "OFF", "hsts", ""),
    ("LOG_FORMAT", "json", "log_format", "json"),
    ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
    ("CERTFRONT_STATE_DIR", "/state", "state_dir", Path("/state")),
    ("CERTFRONT_RUN_DIR", "/run/other", "run_dir", Path("/run/other")),
    ("NGINX_BIN", "/usr/sbin/nginx", "nginx_bin", "/usr/sbin/nginx"),
]  # fmt: skip
INVALID = [
    *(("CERTMGR_HOST", host) for host in ("host:port", "host:70000", "host:0", "http://host", "a/b", "a..b", "-")),
    *(("CERTMGR_HOST", host) for host in ("::1", "[::1", "[zz]", "u@host", "@host", "a#x", "[::1%$x]", "[v1.:$x]")),
    *(("CERTMGR_LOOKUP", name) for name in ("*.acme.io", "two names", "a/b")),
    *(("CERTMGR_CHECK_INTERVAL", number) for number in ("0", "0.9", "-5", "nan", "inf", "soon", "5 minutes")),
    *(("CERTMGR_TIMEOUT", number) for number in ("0", "601", "nan", "x")),
    *(("TRUSTED_ROOTS_FILE", path) for path in ("roots.pem", "/a b", "/a;b")),
    *(("SERVER_NAME", name) for name in ("a_b..c", "www.*.io", "*", "a/b", "$host", "a;b", "acme.123", "a" * 64)),
    *(("UPSTREAM", url) for url in ("app:8080", "ftp://app", "http://", "http://app:0", "http://app:99999", "http://app:x")),
    *(("UPSTREAM", url) for url in ("http://u:p@app", "http://:p@app", "http://@app", "http://a?b", "http://a#b", "http://$a")),
    *(("UPSTREAM", url) for url in ('http://a"', "http://a b", "http://a;b", "http://a{", "http://a/\x07", "http://a/\udcff")),
    *(("KEY_FILE", path) for path in ("key.pem", "/a,/a", "/a,/b,/c", "/a b", "/a'", ",")),
    *(("KEY_PASSWORD_FILE", path) for path in ("pw.txt", "/a b")),
    *(("ACME_CHALLENGE_TARGET", url) for url in ("certmgr", "https://host/path", "https://u@h", "https://h?q", "ldap://h")),
    *((name, "maybe") for name in ("KEY_UNLOCK", "ACME_CHALLENGE", "BEFORE_TLS", "HTTP3", "LOG_FORMAT", "LOG_LEVEL")),
    *(("STATUS_ADDRESS", text) for text in ("eth0", "127.0.0.1:8081", "1.2.3", "::1]", "[1.2.3.4]", "fe80::1%lo")),
    *((name, "0") for name in ("HTTP_PORT", "HTTPS_PORT", "STATUS_PORT", "HTTPS_PUBLIC_PORT")),
    *(("HTTP_PORT", port) for port in ("65536", "-1", "http", "8080/tcp", "٨٠", "80.0")),
    *(("HSTS", value) for value in ("on", "max-age", 'max-age=1"', "max-age=1; x=y", "max-age=1;\n p", "max-age=١")),
    *(("CERTFRONT_STATE_DIR", path) for path in ("state", "/a b", '/a"', "/a\udcff")),
    *(("CERTFRONT_RUN_DIR", path) for path in ("run", "/a\udcff", "/a\x01b", "/a\x7fb", "/a$b", "/a\\b", "/a{b")),
    *(("NGINX_BIN", text) for text in ("nginx -g x", "a;b")),
    *(("NGINX_CONF", path) for path in ("nginx.conf", "/a b")),
]  # fmt: skip


def test_defaults() -> None:
    """Without any variable, the defaults are those of the README."""
    assert from_environment(NONE) == DEFAULTS
    assert from_environment({}).nginx_conf == Path("/etc/nginx/nginx.conf")


@pytest.mark.parametrize(("name", "value", "field", "expected"), VALID)
def test_valid(name: str, value: str, field: str, expected: object) -> None:
    """Each variable sets its own field, and changes no other one that does not follow from it."""
    found = from_environment(NONE | {name: value})
    assert getattr(found, field) == expected
    follow = {"certmgr_hosts": "acme_challenge_target", "https_port": "https_public_port"}.get(field, field)
    same = {each: getattr(found, each) for each in (field, follow)}
    assert replace(DEFAULTS, **same) == found


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_invalid(name: str, value: str) -> None:
    """A value that cannot be used is refused in one line: the variable, what was expected, what was found."""
    with pytest.raises(SettingsError) as caught:
        from_environment(NONE | {name: value})
    assert len(caught.value.faults) == 1
    found = caught.value.faults[0]
    assert found.startswith(f"{name}: expected ")
    quoted = found.partition(", found ")[2]
    assert quoted[0] in "'\""
    assert quoted == repr(value) or name in ("CERTMGR_HOST", "SERVER_NAME", "KEY_FILE", "LOG_LEVEL") or value in quoted
    assert found.isprintable()


def _faults(variables: dict[str, str]) -> list[str]:
    """What is wrong with the variables; none where they are accepted."""
    try:
        assert isinstance(from_environment(variables), Settings)
    except SettingsError as error:
        return error.faults or ["an error without a fault"]
    return []


@pytest.mark.parametrize("name", ["CERTFRONT_STATE_DIR", "NGINX_CONF", "KEY_FILE"])
def test_paths_that_no_file_system_takes(name: str) -> None:
    """A path that is too long to exist is accepted or refused, but no accident."""
    faults = _faults(NONE | {name: LONG})
    assert all(fault.startswith(f"{name}: ") for fault in faults)


def test_all_faults_together() -> None:
    """All faults are reported at once, one line each, in one exception."""
    variables = {"HTTP_PORT": "x", "SERVER_NAME": "ok.io, a..b, c/d", "UPSTREAM": "app", "CERTMGR_TIMEOUTS": "1"}
    with pytest.raises(SettingsError) as caught:
        from_environment(NONE | variables)
    faults = caught.value.faults
    assert sorted(fault.partition(":")[0] for fault in faults) == [
        "CERTMGR_TIMEOUTS",
        "HTTP_PORT",
        "SERVER_NAME",
        "SERVER_NAME",
        "UPSTREAM",
    ]
    assert str(caught.value) == "\n".join(faults)
    assert {"'a..b'", "'c/d'"} <= {fault.rpartition("found ")[2] for fault in faults}


@pytest.mark.parametrize("name", ["CERTMGR_HOSTS", "CERTMGR_INTERVAL", "CERTFRONT_DIR", "CERTFRONT_", "CERTMGR_host"])
def test_unknown(name: str) -> None:
    """A variable that begins like ours and is none is refused, even if empty, and the known ones are listed."""
    for value in ("x", ""):
        with pytest.raises(SettingsError, match=rf"^{name}: unknown variable .*CERTMGR_HOST.*CERTMGR_TIMEOUT"):
            from_environment(NONE | {name: value})


@pytest.mark.parametrize("service", ["CERTFRONT", "CERTMGR", "CERTMGR_DEV"])
def test_service_variables(service: str) -> None:
    """What Kubernetes and container links say of a service called like us is no typo."""
    address = {f"{service}_PORT_80_TCP{part}": "x" for part in ("", "_PROTO", "_PORT", "_ADDR")}
    port = {
        f"{service}_PORT": "tcp://10.0.0.1:80",
        f"{service}_SERVICE_PORT": "80",
        f"{service}_SERVICE_PORT_HTTPS": "1",
    }
    assert from_environment(NONE | address | port | {f"{service}_SERVICE_HOST": "10.0.0.1"}) == DEFAULTS


@pytest.mark.parametrize("link", ["tcp://10.0.0.5:80", "udp://10.0.0.5:443", "sctp://[fd00::1]:1", " tcp://10.0.0.5 "])
@pytest.mark.parametrize("name", ["HTTP_PORT", "HTTPS_PORT", "STATUS_PORT", "HTTPS_PUBLIC_PORT"])
def test_links_in_place_of_ports(name: str, link: str) -> None:
    """What Kubernetes and container links make of a service called http is passed over with a word."""
    found = from_environment(NONE | {name: link})
    assert found == DEFAULTS
    ((variable, reason),) = found.warnings
    assert variable == name
    assert link.strip() in reason
    assert "passed over" in reason


def test_a_link_in_place_of_the_name() -> None:
    """A container that is linked as `server` is not the site's name, and one linked as `certmgr` no typo."""
    found = from_environment(NONE | {"SERVER_NAME": "/web/server", "CERTMGR_NAME": "/web/certmgr"})
    assert found == DEFAULTS
    assert [variable for variable, _ in found.warnings] == ["SERVER_NAME"]
    assert _faults({"SERVER_NAME": "/www.acme.io"})


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("CERTMGR_HOST", "https://certmgr.acme.com", "leave out https://, and write certmgr.acme.com,"),
        ("CERTMGR_HOST", "https://certmgr.acme.com:8443/", "leave out https://, and write certmgr.acme.com:8443,"),
        ("CERTMGR_HOST", "http://[2001:db8::1]/certstore.nsf", "leave out http://, and write [2001:db8::1],"),
        ("CERTMGR_HOST", "certmgr.acme.com/", "leave out what follows it, and write certmgr.acme.com,"),
        ("SERVER_NAME", "https://www.acme.io/", "leave out https://, and write www.acme.io,"),
        ("SERVER_NAME", "HTTPS://*.acme.io", "leave out HTTPS://, and write *.acme.io,"),
        ("SERVER_NAME", "www.acme.io:443", "leave out what follows it, and write www.acme.io,"),
        ("CERTMGR_LOOKUP", "http://www.acme.io", "leave out http://, and write www.acme.io,"),
    ],
)
def test_a_url_in_place_of_a_host(name: str, value: str, instead: str) -> None:
    """What was copied from a browser says what to leave out, and what to write."""
    (fault,) = _faults(NONE | {name: value})
    assert instead in fault
    assert fault.endswith(f"found {value!r}")


def test_strangers_are_ignored() -> None:
    """Everybody else's variables are none of our business."""
    strangers = {"PATH": "/bin", "NGINX_VERSION": "1", "certmgr_host": "x", "MY_CERTMGR_HOST": "y"}
    assert from_environment(NONE | strangers) == DEFAULTS


def test_empty_is_unset() -> None:
    """A variable that is empty or blank counts as not set, as Compose makes them."""
    names = {name for name, *_ in VALID} | {"HTTP3", "KEY_UNLOCK"}
    for blank in ("", "  ", "\t\n"):
        assert from_environment(dict.fromkeys(names, blank) | NONE) == DEFAULTS


def test_what_follows() -> None:
    """The challenge's target follows the first CertMgr, the public port the port, unless they are set."""
    hosts = {"CERTMGR_HOST": "[2001:db8::1]:8443,b.acme.com"}
    assert from_environment(NONE | hosts).acme_challenge_target == "https://[2001:db8::1]:8443"
    assert from_environment(NONE | {"CERTMGR_HOST": "a.io"}).acme_challenge_target == "https://a.io"
    target = {"ACME_CHALLENGE_TARGET": "https://c.acme.com"}
    assert from_environment(NONE | hosts | target).acme_challenge_target == "https://c.acme.com"
    assert from_environment(NONE | {"HTTPS_PORT": "8443"}).https_public_port == 8443
    assert from_environment(NONE | {"HTTPS_PORT": "8443", "HTTPS_PUBLIC_PORT": "443"}).https_public_port == 443


@pytest.mark.parametrize(
    ("ports", "named"),
    [
        ({"HTTP_PORT": "443"}, ["HTTP_PORT", "HTTPS_PORT"]),
        ({"STATUS_PORT": "80"}, ["STATUS_PORT", "HTTP_PORT"]),
        ({"HTTP_PORT": "1", "HTTPS_PORT": "1", "STATUS_PORT": "1"}, ["HTTP_PORT", "HTTPS_PORT", "STATUS_PORT"]),
    ],
)
def test_shared_ports(ports: dict[str, str], named: list[str]) -> None:
    """Two listeners on one port are refused, and all that share it are named."""
    with pytest.raises(SettingsError) as caught:
        from_environment(NONE | ports)
    assert all(name in str(caught.value) for name in named)
    assert len(caught.value.faults) == len(named) - 1


def test_site_name_and_lookup() -> None:
    """The name to ask for is the first one, a wildcard's `www`, or what CERTMGR_LOOKUP says."""
    assert from_environment(NONE | {"SERVER_NAME": "b.io,a.io"}).lookup == "b.io"
    wild = NONE | {"SERVER_NAME": "*.acme.io"}
    assert from_environment(wild).lookup == "www.acme.io"
    looked_up = from_environment(wild | {"CERTMGR_LOOKUP": "any.acme.io"})
    assert (looked_up.lookup, looked_up.site_name) == ("any.acme.io", "www.acme.io")
    assert from_environment(NONE | {"SERVER_NAME": "*.acme.io,acme.io"}).lookup == "acme.io"
    assert from_environment(NONE).lookup == ""


@pytest.mark.parametrize("text", ["host:0", "", ":443", "[::1]x", "a:1:2", "host:1e3", "host: 1"])
def test_endpoint_refused(text: str) -> None:
    """An endpoint that is none is refused with what was expected."""
    with pytest.raises(ValueError, match=r"host|port"):
        endpoint(text)


@given(st.sampled_from(["host.io", "192.0.2.1", "2001:db8::1", "xn--strae-oqa.de"]), st.integers(1, 65535))
def test_endpoint_as_text(host: str, port: int) -> None:
    """An endpoint's text is one that can be read back."""
    assert endpoint(str(Endpoint(host, port))) == Endpoint(host, port)


# The environment holds any bytes but NUL; those that are no UTF-8 arrive as lone surrogates (PEP 383).
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF
)
TOKENS = (
    *(
        "www.acme.io",
        "*.",
        "straße",
        "a" * 60,
        ".",
        "app",
        "http://",
        "https://",
        ":8080",
        ":",
        "[::1]",
        "[::1%",
        "]",
        "@",
    ),
    *(
        "/",
        "/tmp",
        "max-age=1",
        ";",
        " ; preload",
        "\n",
        "\t",
        "#",
        "?",
        "$x",
        "{",
        "}",
        '"',
        "'",
        "\\",
        "%",
        "~",
        "=",
        "`",
    ),
    *(
        "1",
        "443",
        "on",
        "proxy",
        "serve",
        "json",
        "system",
        ",",
        " ",
        "\x07",
        "\x7f",
        "\x85",
        "\u2028",
        "\udcff",
        "<>&",
    ),
)
TEXTS = st.text(CHARACTERS, max_size=30) | st.lists(st.sampled_from(TOKENS), max_size=8).map("".join)
VARIABLES = sorted({name for name, _ in INVALID} | {"CERTMGR_WHAT"})


@given(st.dictionaries(st.sampled_from(VARIABLES), TEXTS))
def test_any_text(variables: dict[str, str]) -> None:
    """Whatever the variables hold, the result is Settings or a SettingsError that can be printed."""
    faults = _faults(variables)
    assert all(fault.partition(":")[0] in VARIABLES for fault in faults)
    assert all(fault.isprintable() for fault in faults)


PAIR = rig.usable(pki.issue(rig.NAME, pki.root(), names=[rig.NAME]))
RENDERED = (
    *(
        "ACME_CHALLENGE",
        "ACME_CHALLENGE_TARGET",
        "BEFORE_TLS",
        "CERTMGR_HOST",
        "CERTMGR_LOOKUP",
        "HSTS",
        "HTTPS_PUBLIC_PORT",
    ),
    *("LOG_FORMAT", "LOG_LEVEL", "SERVER_NAME", "UPSTREAM"),
)
RENDERED_TEXTS = {
    name: st.just("") | TEXTS | st.sampled_from([v for n, v, *_ in VALID if n == name]) for name in RENDERED
}


@pytest.mark.process
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries(RENDERED_TEXTS), st.text(CHARACTERS, max_size=10), st.booleans())
@example({"CERTMGR_HOST": "[::1%$x]"}, "", True)
@example({"CERTMGR_HOST": "[v1.:;}]", "ACME_CHALLENGE": "proxy"}, "", True)
@example({"SERVER_NAME": ".".join(["a" * 63] * 3 + ["b" * 61])}, "", True)
@example({"UPSTREAM": "http://" + "a" * 4096}, "", True)
@example({"UPSTREAM": "http://a/\udcff"}, "", True)
@example({}, "\udcff", False)
@example({}, "a#'b", False)
def test_accepted_means_accepted_by_nginx(variables: dict[str, str], folder: str, live: bool) -> None:
    """Settings that are accepted give a configuration that a real NGINX accepts, whatever they hold."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        run_dir = f"{base}/{folder}"
        environment = {**rig.environment(base), **variables}
        try:
            chosen = from_environment({**environment, "CERTFRONT_RUN_DIR": run_dir})
        except SettingsError:
            try:
                chosen = from_environment(environment)
            except SettingsError:
                return
        chosen = replace(chosen, http_port=18080, https_port=18443, status_port=18081)
        if not chosen.run_dir.is_relative_to(base) or ".." in chosen.run_dir.parts:
            return  # elsewhere on this machine
        wanted = rig.plan(chosen, *([PAIR] if live else []))
        rig.run_folders(chosen.run_dir)
        nginx.test(rig.NEW, rig.write(base / "generation", wanted.files(1)))
