"""supervisord as PID 1: NGINX and the agent as its children.

What differs from stock supervisord, and why:

- children write to our own standard output and error, unaltered and without a copy through this process (but for
  LOG_FORMAT=json: then lines on standard error become JSON, and those on standard output are NGINX's JSON already);
- the loop wakes at once for signals and for its first turn, instead of after its poll of a second;
- SIGHUP means "check now" and goes to the agent; stock supervisord restarts everything;
- SIGUSR1 means "reopen the logs" and goes to NGINX; all other signals do nothing;
- what a killed NGINX master left of its process group is killed before the next start: orphans keep the ports;
- an NGINX that cannot be kept running ends the whole with a status.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.options import ProcessConfig, ServerOptions
from supervisor.process import Subprocess
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from entrypoint.core.settings import NGINX_SOCKET
from entrypoint.edges.supervisor.relay import Relay, Wakeup
from entrypoint.system import memory, reserve, signals

log = logging.getLogger("certfront.supervisord")

_LOGGERS = {"nginx": "nginx", "agent": "certfront"}  # by program, for lines that are none of our own log
_PR_SET_PDEATHSIG = 1  # prctl(2)
_GROUP_POLLS, _GROUP_POLL = 100, 0.01  # seconds: killed processes are gone at once, or hang in the kernel
_libc = ctypes.CDLL(None)
# NGINX takes them when it has read its configuration, the agent when it is up: before that they must not end either.
_PASSED_ON = {signal.SIGHUP: "agent", signal.SIGUSR1: "nginx"}


def run(config: Path, *, json: bool = False) -> int:
    """Supervise until a signal or NGINX ends it; returns the exit status for the container.

    With ``json`` the children's lines on standard error become JSON.
    """
    tempfile.tempdir = str(config.parent)  # supervisord insists on one, and a read-only root may have no /tmp
    options = _Options(config.parent)
    options.relays = {name: Relay(logger) for name, logger in _LOGGERS.items()} if json else {}
    options.realize(args=["-c", str(config), "-n"])
    options.first, options.test = True, False  # what supervisord.main() sets
    supervisor = _Supervisor(options)
    memory.settle()
    with contextlib.suppress(asyncore.ExitNow):
        supervisor.main()
    for relay in options.relays.values():
        relay.drain()
    return 1 if supervisor.nginx_gave_up else 0


class _Log:
    """supervisord's log messages in certfront's log: warnings and worse, and the rest at level debug."""

    handlers: tuple[()] = ()

    def debug(self, message: str, **values: Any) -> None:
        log.debug(message % values if values else message)

    info = trace = blather = debug

    def warn(self, message: str, **values: Any) -> None:
        log.info(message % values if values else message)

    def critical(self, message: str, **values: Any) -> None:
        if "HTTP authentication" in message or "running as root" in message:
            self.debug(message)  # the socket's mode 0600 is the authentication
        else:
            log.error(message % values if values else message)

    error = critical

    def close(self) -> None:
        pass


class _Process(Subprocess):  # type: ignore[misc]
    def spawn(self) -> Any:
        if reserve.is_full(self.config.options.run_dir):  # NGINX has to write its pid there; the agent takes it again
            reserve.give_up(self.config.options.run_dir)
        # Between fork and exec a child would take a signal to end for its parent's, and lose it: it waits.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.ENDING)
        try:
            return super().spawn()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def finish(self, pid: int, status: int) -> None:
        super().finish(pid, status)
        self.config.options.shortage.ended(self.config.name, status)
        _end_group(pid)
        if self.config.directory:  # NGINX's: one that was killed leaves its socket, and the next could not bind it
            Path(self.config.directory, NGINX_SOCKET).unlink(missing_ok=True)
        self.config.options.wakeup.wake()

    def _prepare_child_fds(self) -> None:
        signals.restore(ignored=_PASSED_ON)
        memory.take_place(self.config.name, self.config.options.shortage.base)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.ENDING)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        if relay := self.config.options.relays.get(self.config.name):
            os.dup2(relay.writer, 2)
        os.closerange(3, self.config.options.minfds)
        # A run that is killed takes its children along, so that the next start finds its ports free.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _ProcessConfig(ProcessConfig):  # type: ignore[misc]
    def make_process(self, group: Any = None) -> _Process:
        process = _Process(self)
        process.group = group
        return process

    def make_dispatchers(self, _process: Any) -> tuple[dict[int, Any], dict[str, int]]:
        return {}, {}


class _Options(ServerOptions):  # type: ignore[misc]
    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.shortage = _Shortage()
        self.relays: dict[str, Relay] = {}
        self.wakeup = Wakeup()
        self.wakeup.wake()

    def processes_from_section(self, parser: Any, section: Any, group_name: Any, klass: Any = None) -> Any:
        own = _ProcessConfig if klass in (None, ProcessConfig) else klass
        return super().processes_from_section(parser, section, group_name, own)

    def setsignals(self) -> None:
        taken = (*signals.ENDING, *_PASSED_ON, signal.SIGCHLD)
        signals.ignore_all_but(taken)
        for number in taken:
            signal.signal(number, self.signal_receiver.receive)

    def make_logger(self) -> None:
        self.logger = _Log()

    def get_socket_map(self) -> dict[int, Any]:
        sockets: dict[int, Any] = super().get_socket_map()  # the very dictionary that connections are added to
        pipes: list[Wakeup | Relay] = [self.wakeup, *self.relays.values()]
        for pipe in pipes:
            sockets.setdefault(pipe.reader, pipe)
        return sockets


class _Shortage:
    """Log messages about processes that the kernel killed for lack of memory: a child, or a worker of NGINX's."""

    def __init__(self) -> None:
        self.base, self.kills = memory.go_last(), memory.Kills()

    def ended(self, name: str, status: int) -> None:
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and self.kills.news():
            self._say("the agent" if name == "agent" else "NGINX's master")

    def look(self, *_: Any) -> None:
        if self.kills.news():
            self._say("a process of this container, most likely a worker of NGINX's,")

    def _say(self, who: str) -> None:
        log.error("the kernel killed %s, because %s was used up: it needs more memory", who, self.kills.limit())


def _end_group(leader: int) -> None:
    """Kill the rest of a dead process's group, and wait for its end: the next process needs its ports."""
    for _ in range(_GROUP_POLLS):
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            return
        with contextlib.suppress(ChildProcessError):  # as PID 1 the orphans are ours to reap
            os.waitpid(-leader, os.WNOHANG)
        time.sleep(_GROUP_POLL)


class _Supervisor(Supervisor):  # type: ignore[misc]
    nginx_gave_up = False

    def runforever(self) -> None:
        events.subscribe(events.ProcessStateFatalEvent, self._gave_up)
        events.subscribe(events.Tick5Event, self.options.shortage.look)
        super().runforever()

    def _gave_up(self, event: Any) -> None:
        # One that ends soon after its start, and before it is told to, counts as given up by a stop as well.
        if event.process.config.name == "nginx" and self.options.mood > SupervisorStates.SHUTDOWN:
            log.error("NGINX cannot be kept running: see its messages above. Ending with status 1.")
            self.nginx_gave_up = True
            self.options.mood = SupervisorStates.SHUTDOWN

    def handle_signal(self) -> None:
        """Handle all pending signals at once: HUP goes to the agent, USR1 (reopen the logs) to NGINX."""
        received = self.options.signal_receiver._signals_recvd
        while received:
            if received[0] in _PASSED_ON:
                self._pass_on(received.pop(0))
            else:
                super().handle_signal()

    def _pass_on(self, number: signal.Signals) -> None:
        for process in self.process_groups[_PASSED_ON[number]].processes.values():
            if process.pid:
                os.kill(process.pid, number)
