"""As root, as a user without any rights on a read-only root, as an arbitrary user: the same front."""

from __future__ import annotations

import pytest

from entrypoint.demo.stage import NAME, fingerprint

from .lab import Lab

pytestmark = pytest.mark.engine

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
KEPT = 1 << 0 | 1 << 1 | 1 << 10  # CHOWN, DAC_OVERRIDE, NET_BIND_SERVICE: capability.h
MOUNT_POINTS = ["A /etc/nginx/key.pem", "A /etc/nginx/ssl_pw.txt", "C /etc", "C /etc/nginx"]  # the engine makes them
NGINX_NEEDS = ("--cap-add", "CHOWN", "--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "NET_BIND_SERVICE")
MODES: dict[str, tuple[tuple[str, ...], tuple[int, int], int]] = {  # options; the key's owner and mode
    "root": ((), (0, 0), 0o400),
    "root with what NGINX needs": (("--cap-drop", "ALL", *NGINX_NEEDS), (0, 0), 0o400),
    "read-only": (("--user", "101", *HARDENED, "--tmpfs", "/run", "--tmpfs", "/tmp"), (101, 101), 0o400),
    "read-only, narrow tmpfs": (("--user", "101:101", *HARDENED, "--tmpfs", "/run/certfront"), (0, 101), 0o440),
    "arbitrary user": (("--user", "1000650000:0", *HARDENED, "--tmpfs", "/run/certfront"), (0, 0), 0o440),
}


@pytest.fixture(params=list(MODES))
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_job_is_done(lab: Lab, mode: str) -> None:
    """From HTTP alone over the first certificate and a renewal to a restart without CertMgr, and a clean end."""
    options, owner, rights = MODES[mode]
    volume = ("-v", f"{lab.volume()}:/var/lib/certfront")
    with lab.run(*options, *volume, *lab.key(owner, rights)) as front:
        front.until(lambda: front.http()[0] == 503, "the pending page")
        front.until_outcome("wrong-name")
        code, headers, _ = front.http("/.well-known/acme-challenge/token?x=1")
        assert (code, headers["Location"]) == (
            301,
            f"https://{lab.environment()['CERTMGR_HOST']}/.well-known/acme-challenge/token?x=1",
        )
        front.until_serves(lab.put())
        assert len(front.chain()) == len(lab.issued.chain) - 1  # without the root
        assert front.https().startswith("Hello from the application behind certfront, https.")
        front.until(lambda: front.http()[0] == 301, "the redirect")
        front.until_serves(lab.renew())
        front.until_outcome("unchanged")
        assert "unchanged" in front.execute("certfront", "refresh", NAME)
        assert fingerprint(lab.issued) in front.execute("certfront", "status")
        assert front.execute("certfront", "health", "--ready").strip() == "ready"
        keys = front.execute("sh", "-c", "grep -rhs 'PRIVATE KEY-----' /var/lib/certfront /run /tmp | sort -u")
        assert keys.splitlines() == ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----"]
        assert "Traceback" not in front.log()
        if "--read-only" in options:
            assert sorted(front.docker("diff").stdout.splitlines()) == MOUNT_POINTS
        status, seconds = front.stop()
        assert status == 0
        assert seconds < 5
    lab.certmgr.stop()
    with lab.run(*options, *volume, *lab.key(owner, rights)) as front:
        front.until_serves(lab.issued)


def test_the_agent_gives_up_what_it_can(lab: Lab) -> None:
    """As root, NGINX's workers are `nginx`; the agent keeps three capabilities, and can gain none."""
    with lab.run(*lab.key()) as front:
        front.until_outcome("wrong-name")
        agent = front.execute("sh", "-c", "grep -lz '^agent$' /proc/[0-9]*/cmdline").split("/")[2]
        status = dict(line.split(":\t", 1) for line in front.execute("cat", f"/proc/{agent}/status").splitlines())
        assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (KEPT, KEPT, "1")
        workers = front.execute("sh", "-c", "cat /proc/[0-9]*/status | grep -A8 '^Name:.nginx' | grep ^Uid | sort -u")
        assert sorted(line.split()[1] for line in workers.splitlines()) == ["0", "101"]


WAYS: dict[str, tuple[tuple[str, ...], tuple[int, int], int]] = {  # options; the key's owner and mode
    "root": ((), (0, 0), 0o400),
    "101 with group 0": (("--user", "101:0", *HARDENED, "--tmpfs", "/run/certfront"), (0, 0), 0o440),
    "arbitrary user": MODES["arbitrary user"],
}


@pytest.mark.parametrize("before", list(WAYS))
@pytest.mark.parametrize("after", list(WAYS))
def test_one_volume_for_several_users(lab: Lab, before: str, after: str) -> None:
    """Whoever comes after whom on one volume: without CertMgr the certificate is served on, or it says what to do."""
    volume = ("-v", f"{lab.volume()}:/var/lib/certfront")
    options, owner, rights = WAYS[before]
    lab.put()
    with lab.run(*options, *volume, *lab.key(owner, rights)) as front:
        front.until_serves(lab.issued)
        front.until_outcome("unchanged")
        assert front.stop()[0] == 0
    lab.certmgr.stop()
    options, owner, rights = WAYS[after]
    with lab.run(*options, *volume, *lab.key(owner, rights)) as front:
        if after in ("root", before):
            front.until_serves(lab.issued)
            return
        assert front.ended() == 1
        assert "/var/lib/certfront/lock: Permission denied (as uid" in front.log()
        assert f"chown -R {options[1]} /var/lib/certfront, as root" in front.log()


ATTACKED = """
cd /var/lib/certfront || exit 1
for path in current generations lock agent.lock /run/certfront/nginx /run/certfront/status /run/certfront/nginx.pid; do
    mv "$path" "$path.gone" 2>/dev/null && echo "moved $path"
done
ln -s /tmp evil 2>/dev/null && echo "linked"
ls -R generations 2>/dev/null
cat current/nginx.conf 2>/dev/null
exit 0
"""


def test_a_worker_that_was_taken_over(lab: Lab) -> None:
    """As root, the workers' user can change nothing of what root reads, and renewals go on."""
    lab.put()
    with lab.run(*lab.key(), "-v", f"{lab.volume()}:/var/lib/certfront") as front:
        front.until_serves(lab.issued)
        assert front.execute("sh", "-c", ATTACKED, options=("--user", "101:101")) == ""
        front.until_serves(lab.renew())


class TestWhatCannotWork:
    """It is said at once, with the file, who it belongs to, and what to do."""

    def test_a_key_of_roots(self, lab: Lab) -> None:
        """HTTP runs; the log, the status and `refresh` name the file, its owner and the user."""
        lab.put()
        with lab.run("--user", "101:101", *HARDENED, "--tmpfs", "/run/certfront", *lab.key()) as front:
            front.until_outcome("key-unreadable")
            detail = front.certificate()["detail"]
            assert "/etc/nginx/key.pem" in detail
            assert "uid 0, gid 0, with mode 0400" in detail
            assert "uid 101" in detail
            assert "chown" in front.certificate()["hint"]
            assert detail in front.log()
            assert detail in front.execute("certfront", "refresh", check=False)
            assert front.http()[0] == 503

    def test_a_key_in_a_closed_folder(self, lab: Lab) -> None:
        """The same where a folder above it is closed."""
        lab.key()
        folder = lab.folder / "closed"
        folder.mkdir(mode=0o700)
        (lab.folder / "key.pem").rename(folder / "key.pem")
        environment = lab.environment(KEY_FILE="/closed/key.pem")
        user = ("--user", "101:101", "--tmpfs", "/run/certfront")
        with lab.run(*user, "-v", f"{folder}:/closed:ro", environment=environment) as front:
            front.until_outcome("key-unreadable")
            assert "/closed/key.pem" in front.certificate()["detail"]
            assert "a folder above it is closed" in front.certificate()["detail"]
            assert front.http()[0] == 503

    def test_a_volume_of_roots(self, lab: Lab) -> None:
        """It ends with 1, naming variable, folder and user."""
        folder = lab.folder / "state"
        folder.mkdir(mode=0o755)
        with lab.run("--user", "101:101", "-v", f"{folder}:/var/lib/certfront", *lab.key()) as front:
            assert front.ended() == 1
            assert "CERTFRONT_STATE_DIR" in front.log()
            assert "/var/lib/certfront" in front.log()
            assert "uid 101" in front.log()

    def test_a_read_only_root_without_tmpfs(self, lab: Lab) -> None:
        """It ends with 1, naming variable and folder, and what to mount."""
        with lab.run("--user", "101:101", "--read-only", *lab.key((101, 101))) as front:
            assert front.ended() == 1
            assert "CERTFRONT_RUN_DIR: cannot make /run/certfront" in front.log()
            assert "tmpfs" in front.log()

    def test_a_privileged_port(self, lab: Lab) -> None:
        """It ends with 1, naming the port and the variables that change it."""
        closed = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=1024", "--cap-drop", "ALL")
        with lab.run("--user", "101:101", *closed, *lab.key((101, 101))) as front:
            assert front.ended() == 1
            assert "0.0.0.0:80" in front.log()
            assert "HTTP_PORT" in front.log()
