"""The commands beside a running instance, and what unusable settings lead to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from entrypoint.demo.pki import Issued
from entrypoint.demo.stage import NAME, fingerprint
from tests.support.front import Front

pytestmark = pytest.mark.xdist_group("e2e-commands")


@pytest.fixture(scope="module")
def running() -> Iterator[Front]:
    with Front({"CERTMGR_CHECK_INTERVAL": "300"}) as front:
        yield front.serve()


@pytest.fixture
def front(running: Front) -> Iterator[Front]:
    yield running
    running.repair()
    running.check(force=True)


def _clean(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_status(front: Front) -> None:
    """For people: name, state, last outcome, fingerprint, dates and source."""
    done = _clean(front.command("status"))
    assert done.returncode == 0
    entry = front.status()
    for part in (NAME, "serving", fingerprint(front.issued), entry["outcome"], entry["not_after"], entry["certmgr"]):
        assert part in done.stdout


def test_status_as_json(front: Front) -> None:
    """For programs: what the status port says."""
    done = _clean(front.command("status", "--json"))
    assert done.returncode == 0
    assert json.loads(done.stdout) == front.report()


def test_status_json_holds_what_it_promises(front: Front) -> None:
    """Every field of the schema is there."""
    report = front.report()
    assert {"generation", "updated_at", "nginx", "certificates"} <= set(report)
    assert {"version", "running_since", "last_reload_at", "last_reload_ms"} <= set(report["nginx"])
    promised = (
        "name names key_type state outcome detail hint source certmgr fingerprint_sha256 serial issuer "
        "not_before not_after days_left last_checked_at last_changed_at next_check_at"
    )
    (entry,) = report["certificates"]
    assert set(promised.split()) <= set(entry)
    missing = [name for name in promised.split() if entry[name] in (None, "") and name not in ("detail", "hint")]
    assert missing == []
    assert entry["serial"].replace(":", "").lower() == f"{front.issued.certificate.serial_number:x}".zfill(
        len(entry["serial"].replace(":", ""))
    )


def test_fetch(front: Front) -> None:
    """The chain as CertMgr presents it, as PEM, leaf first."""
    done = _clean(front.command("fetch", NAME))
    assert done.returncode == 0
    assert x509.load_pem_x509_certificates(done.stdout.encode()) == list(front.issued.chain)


def test_fetch_puts_what_was_sent_in_order(front: Front) -> None:
    """Sent shuffled and twice: leaf first, then each one's issuer, each once."""
    good = front.issued
    front.put(Issued(good.key, (good.chain[0], *reversed(good.chain[1:]), *good.chain)))
    try:
        done = _clean(front.command("fetch", NAME))
    finally:
        front.put(good)
    assert x509.load_pem_x509_certificates(done.stdout.encode()) == list(good.chain)


def test_fetch_of_an_unknown_name(front: Front) -> None:
    """A message that names what came back and what to look at; exit 1."""
    done = _clean(front.command("fetch", "unknown.acme.io"))
    assert done.returncode == 1
    assert "certmgr.acme.com" in done.stderr
    assert "Servers with access" in done.stderr


def test_fetch_from_nobody(front: Front) -> None:
    """Nobody listens there: a message with the reason and a hint; exit 1."""
    front.certmgr.stop()
    done = _clean(front.command("fetch", NAME))
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert "hint: " in done.stderr
    assert done.stdout == ""


def test_refresh(front: Front) -> None:
    """A renewal is seen and served before the command ends, long before the next check; exit 0."""
    front.renew()
    done = _clean(front.command("refresh"))
    assert done.returncode == 0
    assert "installed" in done.stdout
    assert fingerprint(front.issued) in done.stdout
    assert front.served() == fingerprint(front.issued)
    assert _clean(front.command("refresh", NAME)).returncode == 0


def test_refresh_that_finds_a_problem(front: Front) -> None:
    """The outcome is printed, the good certificate is served on; exit 1."""
    front.certmgr.deny(NAME)
    done = _clean(front.command("refresh"))
    assert done.returncode == 1
    assert "wrong-name" in done.stdout
    assert front.served() == fingerprint(front.issued)


def test_refresh_of_an_unknown_name(front: Front) -> None:
    """A message; exit 1."""
    done = _clean(front.command("refresh", "unknown.acme.io"))
    assert done.returncode == 1
    assert "unknown.acme.io" in done.stderr


def test_refresh_by_force_takes_an_older_certificate(front: Front) -> None:
    """Without it, not-newer and exit 1; with it, the older one is served, and exit 0."""
    older = front.authority.issue(NAME, key=front.issued.key, not_before=datetime.now(UTC) - timedelta(days=20))
    front.put(older)
    done = _clean(front.command("refresh"))
    assert done.returncode == 1
    assert "not-newer" in done.stdout
    assert front.served() == fingerprint(front.issued)
    done = _clean(front.command("refresh", "--force"))
    assert done.returncode == 0
    assert front.served() == fingerprint(older)


def test_render(front: Front) -> None:
    """The configuration that runs, as it is on disk."""
    done = _clean(front.command("render"))
    assert done.returncode == 0
    for name in ("nginx.conf", "site.conf", "status.conf"):
        assert (front.current / name).read_text() in done.stdout


def test_health(front: Front) -> None:
    """Alive and ready: exit 0."""
    assert _clean(front.command("health")).returncode == 0
    assert _clean(front.command("health", "--ready")).returncode == 0


def test_before_the_first_certificate() -> None:
    """Alive, not ready and why; `render` shows what is commented out; `status` says pending."""
    with Front() as front:
        front.start()
        front.until(lambda: "wrong-name" in front.http("/readyz", front.status_port)[2])
        assert _clean(front.command("health")).returncode == 0
        done = _clean(front.command("health", "--ready"))
        assert done.returncode == 1
        assert "wrong-name" in done.stderr
        done = _clean(front.command("render"))
        assert done.returncode == 0
        assert "# certfront: commented out at 20" in done.stdout
        assert "# server {" in done.stdout
        done = _clean(front.command("status"))
        assert done.returncode == 0
        assert "pending" in done.stdout


@pytest.mark.parametrize("arguments", [("status",), ("refresh",), ("health",), ("health", "--ready")], ids=" ".join)
def test_without_a_running_instance(arguments: tuple[str, ...]) -> None:
    """A readable message on standard error; exit 1."""
    with Front() as front:
        done = _clean(front.command(*arguments))
        assert done.returncode == 1
        assert done.stderr.strip()
        assert done.stdout == ""


def test_render_without_a_running_instance() -> None:
    """Usable before the first boot: what would run, with TLS commented out."""
    with Front() as front:
        done = _clean(front.command("render"))
        assert done.returncode == 0
        assert "# certfront: commented out at 20" in done.stdout
        assert not (front.folder / "state").exists()


@pytest.mark.parametrize("command", ["run", "agent", "status", "refresh", "render", "health", "fetch"])
def test_unusable_settings_are_all_named(command: str) -> None:
    """Several faults at once: exit 2, one readable block, each variable with what was expected and found."""
    wrong: Mapping[str, str] = {
        "HTTP_PORT": "eighty",
        "UPSTREAM": "ftp://app",
        "CERTMGR_CHEK_INTERVAL": "5",
        "BEFORE_TLS": "perhaps",
        "SERVER_NAME": "not_a..name",
    }
    with Front(wrong) as front:
        done = _clean(front.command(command, *([NAME] if command == "fetch" else [])))
        assert done.returncode == 2
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        for name, value in wrong.items():
            (line,) = (line for line in lines if line.strip().startswith(f"{name}:"))
            assert name == "CERTMGR_CHEK_INTERVAL" or ("expected" in line and repr(value) in line)
        assert not (front.folder / "state").exists()


def test_a_second_one_on_the_same_state_folder(front: Front) -> None:
    """It ends with a clear message, non-zero, and the first one is undisturbed."""
    before, ports = front.footprint(), (front.http_port, front.https_port, front.status_port)
    free = Front()
    with free:
        front.http_port, front.https_port, front.status_port = free.http_port, free.https_port, free.status_port
        try:
            done = _clean(front.command("run"))
        finally:
            front.http_port, front.https_port, front.status_port = ports
    assert done.returncode == 1
    assert "another certfront uses" in done.stderr
    assert str(front.folder / "state") in done.stderr
    assert "CERTFRONT_STATE_DIR" in done.stderr
    assert front.footprint() == before
    assert front.served() == fingerprint(front.issued)
    assert front.check()["outcome"] == "unchanged"


def test_help_and_unknown_commands() -> None:
    """--help works everywhere; a command that there is not gives exit 2 and no traceback."""
    for arguments in (["--help"], ["refresh", "--help"], ["fetch", "--help"]):
        done = _clean(_certfront(*arguments))
        assert (done.returncode, done.stderr) == (0, "")
        assert "usage:" in done.stdout
    done = _clean(_certfront("reload"))
    assert (done.returncode, done.stdout) == (2, "")


def _certfront(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "entrypoint", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
