"""The packaged configuration, and the facts of this machine, compared with what it really does."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

import pytest

from entrypoint.core.generation.site import Facts
from entrypoint.edges import packaged
from tests.support import rig


def test_packaged() -> None:
    """Everything below `nginx/` is there by its path, as text."""
    found = packaged.packaged()
    folder = rig.ROOT / "nginx"
    assert set(found) == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"nginx.conf", "mime.types", "templates/site-tls.conf", "snippets/tls.conf"} <= set(found)
    assert all(found[name] == (folder / name).read_text() for name in found)


def test_ipv6(tmp_path: Path) -> None:
    """IPv6 is listened on exactly where a listener can be opened."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        works = True
    except OSError:
        works = False
    assert packaged.facts((1, 31, 3), tmp_path)[0].ipv6 is works


def test_version_is_passed_on(tmp_path: Path) -> None:
    """NGINX's version is the caller's."""
    assert packaged.facts((1, 2, 3), tmp_path)[0].nginx_version == (1, 2, 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops privileges")
def test_worker_user(tmp_path: Path) -> None:
    """Run as root, NGINX's workers are a user without privileges; a closed folder on the way is a warning."""
    tmp_path.chmod(0o755)
    facts, warnings = packaged.facts((1, 31, 3), tmp_path / "made" / "later")
    closed = [path for path in tmp_path.parents if not path.stat().st_mode & 0o001]
    if not closed:
        user, group = facts.user.split()
        assert user in ("nginx", "www-data", "nobody")
        assert pwd.getpwnam(user).pw_uid != 0
        assert group != "root"
        assert not [sentence for sentence in warnings if "root" in sentence]
    tmp_path.chmod(0o700)
    facts, warnings = packaged.facts((1, 31, 3), tmp_path / "run")
    assert facts.user == "root"
    assert any("closed to the user" in sentence and "chmod o+x" in sentence for sentence in warnings)
    if not closed:
        assert any(str(tmp_path) in sentence for sentence in warnings)


FACTS = """
import os, pathlib, pwd, sys
from entrypoint.edges import packaged
if sys.argv[1:]:
    os.setuid(pwd.getpwnam(sys.argv[1]).pw_uid)
facts, warnings = packaged.facts((1, 31, 3), pathlib.Path("/run/certfront"))
print(repr((facts.user, facts.access_log, warnings)), file=sys.stderr)
"""


def _facts(*user: str, stdout: int = subprocess.DEVNULL) -> tuple[str, bool, tuple[str, ...]]:
    command, environment = rig.python(FACTS, *user), rig.python_environment()
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=True, text=True, env=environment)
    found = eval(done.stderr)
    assert isinstance(found, tuple)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="root can become nobody")
def test_as_nobody() -> None:
    """Without privileges there is no `user` directive, and no warning about it."""
    user, _, warnings = _facts("nobody")
    assert user == ""
    assert not any("workers" in sentence for sentence in warnings)


def test_access_log() -> None:
    """The access log is on where standard output can be opened anew: a pipe, a file, but no socket."""
    assert _facts()[1]
    assert _facts(stdout=subprocess.PIPE)[1]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _, on, warnings = _facts(stdout=theirs.fileno())
    assert not on
    assert any("access log is off" in sentence for sentence in warnings)


HOSTS = """\
# a comment
::1       localhost ip6-localhost both.local
127.0.0.1 localhost both.local   # another
192.0.2.7\tApp.Local app

192.0.2.8
fe80::1%eth0 scoped.local
"""
RESOLV = """\
search acme.io
nameserver 192.0.2.53
nameserver fe80::1%eth0
nameserver 2001:db8::53
nameserver
options edns0 # nameserver 192.0.2.99
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount over these files")
def test_hosts_and_nameservers(tmp_path: Path) -> None:
    """Names of the hosts file, IPv4 first, and the name servers that NGINX can use."""
    (tmp_path / "hosts").write_text(HOSTS)
    (tmp_path / "resolv.conf").write_text(RESOLV)
    code = (
        "import pathlib, sys\nfrom entrypoint.core.generation.site import Facts\n"
        "from entrypoint.edges import packaged\n"
        "facts, _ = packaged.facts((1, 31, 3), pathlib.Path('/run'))\n"
        "print(repr((dict(facts.hosts), facts.nameservers)))"
    )
    script = 'mount --bind "$1/hosts" /etc/hosts && mount --bind "$1/resolv.conf" /etc/resolv.conf || exit 77\n'
    script += 'shift; exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(tmp_path), *rig.python(code)],
        capture_output=True,
        text=True,
        check=False,
        env=rig.python_environment(),
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this machine lets nobody mount")
    assert done.returncode == 0, done.stderr
    hosts, nameservers = eval(done.stdout)
    assert hosts["localhost"] == "127.0.0.1"
    assert hosts["both.local"] == "127.0.0.1"
    assert hosts["ip6-localhost"] == "::1"
    assert hosts["app.local"] == hosts["app"] == "192.0.2.7"
    assert "192.0.2.8" not in hosts
    assert nameservers == ("192.0.2.53", "2001:db8::53")


def test_facts_are_values(tmp_path: Path) -> None:
    """Two looks at the same machine give equal facts, so that digests stay the same."""
    one, other = (packaged.facts((1, 31, 3), tmp_path)[0] for _ in range(2))
    assert isinstance(one, Facts)
    assert one == other


def test_logs_that_are_links(tmp_path: Path) -> None:
    """Every usual log that leads to standard output or error is known, as in the official image, and no other."""
    for name, target in {
        "access": "/dev/stdout",
        "error": "/dev/stderr",
        "shop": "/proc/1/fd/1",
        "no": "other",
    }.items():
        (tmp_path / f"{name}.log").symlink_to(target)
    (tmp_path / "file.log").touch()
    expected = {str(tmp_path / f"{name}.log") for name in ("access", "error", "shop")}
    assert packaged._outputs(str(tmp_path)) == expected
    assert packaged._outputs(str(tmp_path / "nowhere")) == frozenset()
