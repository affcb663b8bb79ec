"""supervisord as it runs in the container: real processes and signals, a real NGINX, an agent that notes things."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from entrypoint.edges.supervisord import Supervisord
from tests.support import rig
from tests.support.clients import accepts
from tests.support.waiting import until

RUN = """
import pathlib, sys, time
from entrypoint import log
from entrypoint.edges.supervisor import children
from entrypoint.edges import supervisor
run_dir, nginx, config, agent = sys.argv[1:]
slow = (pathlib.Path(run_dir) / "slow").exists()
log.setup("text", "debug" if slow else "info")
command = [nginx, "-e", "stderr", "-c", config]
if slow:
    real = supervisor._Process._prepare_child_fds
    supervisor._Process._prepare_child_fds = lambda process: (time.sleep(0.5), real(process))
path = children.write_config(pathlib.Path(run_dir), command, [sys.executable, agent, run_dir])
sys.exit(supervisor.run(path))
"""
AGENT = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
def note(text):
    with (folder / "notes.txt").open("a") as file:
        file.write(text + "\\n")
signal.signal(signal.SIGHUP, lambda *_: note("HUP"))
open_files = sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
note(f"start {os.getpid()} {os.readlink('/proc/self/fd/0')} {open_files}")
if (folder / "crash").exists():
    sys.exit(3)
os.write(1, b"raw \\xff\\x00 \\r out %s" + b"x" * 70000 + b" no end")
os.write(2, b"raw \\xfe err\\n")
note("ready")
while True:
    signal.pause()
"""
SITE = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ }}
http {{
    access_log off;
    server {{ listen 127.0.0.1:{port}; return 200 "served\\n"; }}
}}
"""


class Running:
    """supervisord, and what there is to see of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, (self.port,) = folder, rig.free_ports(1)
        self.config = folder / "nginx.conf"
        self.config.write_text(SITE.format(folder=folder, port=self.port))
        (folder / "agent.py").write_text(AGENT)
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: set[psutil.Process] = set()
        self.before: list[str] = []  # what it is started by

    def start(self) -> subprocess.Popen[bytes]:
        arguments = (str(self.folder), rig.NEW, str(self.config), str(self.folder / "agent.py"))
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [*self.before, *rig.python(RUN, *arguments)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=rig.python_environment(),
                start_new_session=True,
            )
        return self.process

    def up(self) -> subprocess.Popen[bytes]:
        """Start, and wait until both children are there, NGINX with all its workers."""
        process = self.start()
        until(lambda: accepts(self.port) or self.ended(), "NGINX answers")
        until(lambda: self.ended() or self.serves(), "NGINX's workers")
        until(lambda: "ready" in self.notes() or self.ended(), "the agent is ready")
        assert process.poll() is None, self.text("err")
        return process

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def notes(self) -> list[str]:
        path = self.folder / "notes.txt"
        return path.read_text().splitlines() if path.exists() else []

    def text(self, name: str) -> str:
        return (self.folder / name).read_bytes().decode("latin-1")

    def agent(self) -> int:
        """The agent's process number, as it noted it last."""
        return [int(note.split()[1]) for note in self.notes() if note.startswith("start ")][-1]

    def master(self) -> psutil.Process:
        assert self.process
        children = psutil.Process(self.process.pid).children()
        (found,) = [child for child in children if child.name() == "nginx"]
        return found

    def serves(self) -> bool:
        """Whether NGINX has its two workers: its port is open before."""
        with suppress(psutil.NoSuchProcess, ValueError):
            return len(self.master().children()) == 2
        return False

    def everything(self) -> set[psutil.Process]:
        """All processes so far, those that ended included."""
        assert self.process
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            self.seen |= {root, *root.children(recursive=True)}
        return self.seen

    def stop(self) -> None:
        if self.process is None:
            return
        for process in self.everything():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        assert self.process.stdin
        self.process.stdin.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    found = Running(tmp_path)
    yield found
    found.stop()


def _gone(processes: set[psutil.Process]) -> bool:
    return not any(map(_runs, processes))


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def test_nginx_comes_first(running: Running) -> None:
    """NGINX is started before the agent, and without the second that stock supervisord lets pass first."""
    delays = []
    for _ in range(5):  # a busy machine may be late now and then; a poll of a second is always
        process = running.up()
        began, master = psutil.Process(process.pid).create_time(), running.master()
        assert master.create_time() <= psutil.Process(running.agent()).create_time()
        assert master.pid < running.agent() or master.create_time() < psutil.Process(running.agent()).create_time()
        delays.append(master.create_time() - began)
        running.stop()
        (running.folder / "notes.txt").unlink()
        if delays[-1] < 0.9:
            return
    pytest.fail(f"NGINX was started after {delays} s")


def test_hup_is_the_agents(running: Running) -> None:
    """SIGHUP reaches the agent, once for each, and leaves NGINX and its workers as they are."""
    process = running.up()
    master = running.master()
    before = {master, *master.children()}
    for count in (1, 2, 3):
        process.send_signal(signal.SIGHUP)
        until(lambda count=count: running.notes().count("HUP") == count, "the agent's HUP")  # type: ignore[misc]
    assert {running.master(), *running.master().children()} == before
    assert "reconfiguring" not in running.text("err")
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_stop(running: Running, number: signal.Signals) -> None:
    """Each way of stopping ends everything, with status 0."""
    process = running.up()
    processes = running.everything()
    process.send_signal(number)
    assert process.wait(60) == 0
    assert _gone(processes)
    assert not accepts(running.port)
    assert "gracefully shutting down" in running.text("err")  # NGINX lets requests in flight end


def test_stop_before_the_children_run(running: Running) -> None:
    """A stop that comes between a child's fork and its exec is not lost: NGINX would wait for a day."""
    (running.folder / "slow").touch()
    process = psutil.Process(running.start().pid)
    until(lambda: len(process.children()) == 2, "both children")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert "with SIGKILL" not in running.text("err")  # as an agent that heard nothing is, after five seconds
    assert running.notes() == []


def test_stop_of_an_nginx_that_ends_first(running: Running) -> None:
    """An NGINX that somebody ends in its first seconds, together with a stop, is no failure."""
    process = running.up()
    psutil.Process(process.pid).suspend()
    process.send_signal(signal.SIGTERM)
    master = running.master()
    master.terminate()
    until(lambda: master.status() == psutil.STATUS_ZOMBIE, "its end")
    psutil.Process(process.pid).resume()
    assert process.wait(60) == 0


def test_agent_crashes(running: Running) -> None:
    """A killed agent comes back, and NGINX does not notice."""
    process = running.up()
    master = running.master()
    before = {master, *master.children()}
    for _ in range(2):
        pid = running.agent()
        psutil.Process(pid).kill()
        until(lambda pid=pid: running.agent() != pid, "another agent")  # type: ignore[misc]
    assert {running.master(), *running.master().children()} == before
    assert process.poll() is None


def test_agent_that_never_starts(running: Running) -> None:
    """An agent that ends at once is tried again and again, and NGINX serves meanwhile."""
    (running.folder / "crash").touch()
    process = running.start()
    until(lambda: len(running.notes()) >= 4, "four tries", seconds=60)
    assert accepts(running.port)
    assert process.poll() is None
    (running.folder / "crash").unlink()
    until(lambda: "ready" in running.notes(), "a good one", seconds=60)


def test_nginx_killed(running: Running) -> None:
    """A killed master comes back; its orphaned workers, which keep the port, are ended before."""
    running.up()
    master, agent = running.master(), running.agent()
    orphans = master.children()
    assert len(orphans) == 2
    master.kill()
    psutil.wait_procs(orphans, timeout=30)
    assert _gone(set(orphans))
    until(lambda: running.everything() and running.serves() and running.master() != master, "another NGINX")
    assert accepts(running.port)
    assert running.agent() == agent


def test_nginx_fails_for_good(running: Running) -> None:
    """An NGINX that cannot be kept running ends the whole with status 1, and the reason is in the log."""
    running.config.write_text("bogus;\n")
    process = running.start()
    assert process.wait(90) == 1
    assert _gone(running.everything())
    assert 'unknown directive "bogus"' in running.text("err")
    assert "NGINX cannot be kept running" in running.text("err")


def test_killed(running: Running) -> None:
    """`kill -9` of supervisord takes its children along."""
    process = running.up()
    processes = running.everything()
    process.kill()
    process.wait()
    until(lambda: _gone(processes), "all are gone")
    until(lambda: not accepts(running.port), "the port is free")


def test_output(running: Running) -> None:
    """The children's output comes out as it went in: any bytes, any length, on the stream that it went to."""
    running.up()
    assert running.text("out") == "raw \xff\x00 \r out %s" + "x" * 70000 + " no end"
    assert "raw \xfe err\n" in running.text("err")
    assert "start worker process" in running.text("err")


def test_input_and_descriptors(running: Running) -> None:
    """A child reads nothing from our standard input, and inherits no descriptor of ours."""
    running.up()
    for line in running.notes():
        if line.startswith("start "):
            assert line.endswith(" /dev/null [0, 1, 2]")
    links = {str(Path(f"/proc/{running.master().pid}/fd/0").readlink())}
    assert links == {"/dev/null"}


def test_rpc(running: Running) -> None:
    """The agent's call over the socket makes NGINX, and only NGINX, read its configuration anew."""
    running.up()
    before = running.master().children()
    running.config.write_text(running.config.read_text().replace("served", "anew"))
    Supervisord(running.folder).reload_nginx()
    until(lambda: not set(before) & set(running.master().children()), "new workers")
    assert "HUP" not in running.notes()
    assert (running.folder / "supervisor.sock").stat().st_mode & 0o777 == 0o600


def test_odd_paths(tmp_path: Path) -> None:
    """Characters that mean something to supervisord reach the children as they are."""
    folder = tmp_path / "odd%s%(x)s#,path"
    folder.mkdir()
    running = Running(folder)
    try:
        running.up()
        assert accepts(running.port)
    finally:
        running.stop()


def test_signals_in_a_row(running: Running) -> None:
    """Many signals at once are all heard: the agent's HUPs first, then the end."""
    process = running.up()
    for _ in range(20):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.001)  # signals of one kind that are pending together are one
    until(lambda: "HUP" in running.notes(), "a HUP")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_who_goes_first_without_memory(running: Running) -> None:
    """The agent, then NGINX with all its workers, and supervisord last."""
    process = running.up()
    pids = (process.pid, running.master().pid, running.master().children()[0].pid, running.agent())
    first, master, worker, agent = (int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in pids)
    assert first < master == worker < agent


@pytest.mark.parametrize(("name", "said"), [("agent", "killed the agent,"), ("worker", "a worker of NGINX's,")])
def test_killed_for_memory(running: Running, tmp_path: Path, name: str, said: str) -> None:
    """What the kernel kills in a control group of its own with a limit is said, with the limit, and comes back."""
    group = _limited(tmp_path.name)
    if group is None:
        pytest.skip("no control group can be made here")
    running.before = ["sh", "-c", 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', "sh", str(group)]
    try:
        process = running.up()
        victim = running.agent() if name == "agent" else running.master().children()[0].pid
        Path(f"/proc/{victim}/oom_score_adj").write_text("1000")
        until(lambda: _eats(group, victim), "its end")
        until(lambda: said in running.text("err"), "the reason in the log")
        assert "the memory limit of 256 MiB" in running.text("err")
        assert process.poll() is None
        until(lambda: accepts(running.port), "an answer")
    finally:
        running.stop()
        until(lambda: _removed(group), "an empty group")


@pytest.mark.parametrize("limit", ["nofile=40", "nofile=256", "nofile=1023", "nofile=100:256", "nproc=150"])
def test_low_limits(running: Running, limit: str) -> None:
    """supervisord takes what there is, and the children have it as well."""
    running.before = ["prlimit", f"--{limit}", "--"]
    running.up()
    found = Path(f"/proc/{running.master().pid}/limits").read_text()
    row = "Max open files" if "nofile" in limit else "Max processes"
    most = limit.rpartition("=")[2].rpartition(":")[2]
    assert next(line.split()[-2] for line in found.splitlines() if line.startswith(row)) == most


def _limited(name: str) -> Path | None:
    """A control group, version 1 or 2, with a limit; None where none can be made."""
    mounted = Path("/sys/fs/cgroup")
    old = (mounted / "memory" / "memory.oom_control").exists()
    group = (mounted / "memory" if old else mounted) / f"certfront-{name}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(256 << 20))
    except OSError:
        return None
    return group


def _eats(group: Path, victim: int) -> bool:
    """Something in the group takes all memory; whether the victim is gone."""
    script = "import sys; open(sys.argv[1], 'w').write('0'); data = [b'x' * (1 << 20) for _ in range(400)]"
    subprocess.run([sys.executable, "-c", script, str(group / "cgroup.procs")], check=False)
    return not Path(f"/proc/{victim}").exists()


def _removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()
