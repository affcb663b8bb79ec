"""The facts of this machine, compared with what it really does, and the folders for NGINX's temporary files."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint.core.facts import Facts
from entrypoint.core.nginx_output import Build
from entrypoint.edges import host
from tests.core.test_facts import HOSTS, RESOLV
from tests.support import rig

BUILD = Build((1, 31, 3))
OTHER = Path("/dev/shm")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than ``tmp_path``."""
    if not OTHER.is_dir() or OTHER.stat().st_dev == tmp_path.stat().st_dev or not os.access(OTHER, os.W_OK):
        pytest.skip("needs /dev/shm on a file system of its own")
    with tempfile.TemporaryDirectory(dir=OTHER) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_temporary_files_elsewhere(cache: Path, tmp_path: Path) -> None:
    """A folder that we may write on another file system is taken; asked again, the answer is the same."""
    for _ in range(2):
        assert host.temporary_folder(tmp_path, cache) == str(cache / "certfront")
    assert (cache / "certfront").is_dir()


def test_nowhere_else(cache: Path, tmp_path: Path) -> None:
    """The same file system is no gain, and no folder or a file is none."""
    assert host.temporary_folder(tmp_path, tmp_path) == ""
    assert host.temporary_folder(cache, cache) == ""
    assert host.temporary_folder(tmp_path, cache / "none") == ""
    (cache / "file").touch()
    assert host.temporary_folder(tmp_path, cache / "file") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o1777, 0), (0o775, 0), (0o755, 65534)])
def test_as_root_nobody_elses(cache: Path, tmp_path: Path, mode: int, owner: int) -> None:
    """Root's NGINX gives what it finds to its workers: a folder that others may write is not taken."""
    cache.chmod(mode)
    os.chown(cache, owner, -1)
    assert host.temporary_folder(tmp_path, cache) == ""


def test_prepare_temporary(tmp_path: Path) -> None:
    """The folders are there and empty; what a link in them leads to stays."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    deep = tmp_path / "nginx" / "proxy" / "1" / "00"
    deep.mkdir(parents=True)
    (deep / "0000000001").write_text("x")
    (tmp_path / "nginx" / "proxy" / "0000000002").write_text("x")
    (tmp_path / "nginx" / "proxy" / "link").symlink_to(kept)
    host.prepare_temporary(tmp_path / "nginx")
    found = {path.name: list(path.iterdir()) for path in (tmp_path / "nginx").iterdir()}
    assert found == {name: [] for name in host.KINDS}
    assert (kept / "file").exists()


def test_ipv6(tmp_path: Path) -> None:
    """IPv6 is listened on exactly where a listener can be opened."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        works = True
    except OSError:
        works = False
    assert host.facts(BUILD, tmp_path)[0].ipv6 is works


def test_build_is_passed_on(tmp_path: Path) -> None:
    """NGINX's version is the caller's, and what it was built with."""
    found, _ = host.facts(Build((1, 2, 3), http3=True, openssl=(3, 5, 1)), tmp_path)
    assert (found.nginx_version, found.http3, found.openssl) == ((1, 2, 3), True, (3, 5, 1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops privileges")
def test_worker_user(tmp_path: Path) -> None:
    """Run as root, NGINX's workers are a user without privileges; a closed folder on the way is a warning."""
    tmp_path.chmod(0o755)
    facts, warnings = host.facts(BUILD, tmp_path / "made" / "later")
    closed = [path for path in tmp_path.parents if not path.stat().st_mode & 0o001]
    if not closed:
        user, group = facts.user.split()
        assert user in ("nginx", "www-data", "nobody")
        assert pwd.getpwnam(user).pw_uid != 0
        assert group != "root"
        assert not [sentence for sentence in warnings if "root" in sentence]
    tmp_path.chmod(0o700)
    facts, warnings = host.facts(BUILD, tmp_path / "run")
    assert facts.user == "root"
    assert any("closed to the user" in sentence and "chmod o+x" in sentence for sentence in warnings)
    if not closed:
        assert any(str(tmp_path) in sentence for sentence in warnings)


FACTS = """
import os, pathlib, pwd, sys
from entrypoint.core.nginx_output import Build
from entrypoint.edges import host
if sys.argv[1:]:
    os.setuid(pwd.getpwnam(sys.argv[1]).pw_uid)
facts, warnings = host.facts(Build((1, 31, 3)), pathlib.Path("/run/certfront"))
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount over these files")
def test_hosts_and_nameservers(tmp_path: Path) -> None:
    """Names of the hosts file, IPv4 first, and the name servers that NGINX can use."""
    (tmp_path / "hosts").write_text(HOSTS)
    (tmp_path / "resolv.conf").write_text(RESOLV)
    code = (
        "import pathlib\nfrom entrypoint.core.nginx_output import Build\nfrom entrypoint.edges import host\n"
        "facts, _ = host.facts(Build((1, 31, 3)), pathlib.Path('/run'))\n"
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
    one, other = (host.facts(BUILD, tmp_path)[0] for _ in range(2))
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
    assert host._outputs(str(tmp_path)) == expected
    assert host._outputs(str(tmp_path / "nowhere")) == frozenset()
