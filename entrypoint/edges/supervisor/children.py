"""NGINX and the agent as supervisord's programs: commands, limits, and stop signals."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
from pathlib import Path

from entrypoint.system import reserve, sockets

_CAP_SETPCAP = 8  # capabilities(7)
# Whoever owns keys and state; `nginx -t` opens the ports and gives the folders it makes to the workers.
_KEPT = "+dac_override,+net_bind_service,+chown"
_CONFIG = """\
[supervisord]
nodaemon=true
silent=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={run_dir}/supervisord.pid
childlogdir={run_dir}
minfds={minfds}
minprocs={minprocs}
{user}

[unix_http_server]
file={sockets}/supervisor.sock
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[program:nginx]
command={nginx}
directory={run_dir}
priority=1
autorestart=true
; NGINX tries for 2.5 s to bind: one that cannot must not count as started.
startsecs=3
startretries=2
stopsignal=QUIT
; Requests in flight decide how long a stop takes; the container engine's own limit still holds.
stopwaitsecs=86400
stdout_logfile=NONE
stderr_logfile=NONE

[program:agent]
command={agent}
priority=2
autorestart=true
startsecs=1
; The agent is restarted for ever: NGINX serves on without it.
startretries=1000000
stopsignal=TERM
stopwaitsecs=5
stdout_logfile=NONE
stderr_logfile=NONE
"""


def _at_most(wanted: int, limit: int) -> int:
    """The limit to request: supervisord refuses to run where it gets less than it requests."""
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def write_config(run_dir: Path, nginx: list[str], agent: list[str]) -> Path:
    """Write supervisord's configuration; ``nginx`` and ``agent`` are argument vectors."""
    user = "user=root" if os.geteuid() == 0 else ""
    commands = {"nginx": _command(nginx), "agent": _command(agent)}
    path = run_dir / "supervisord.conf"
    short = sockets.reachable(run_dir)
    limits = {"minfds": _at_most(1024, resource.RLIMIT_NOFILE), "minprocs": _at_most(200, resource.RLIMIT_NPROC)}
    values = {"run_dir": str(run_dir).replace("%", "%%"), "sockets": short, "user": user, **limits, **commands}
    text = _CONFIG.format(**values)
    reserve.replace(run_dir, path, text.encode(), mode=0o644)
    return path


def confined(command: list[str]) -> list[str]:
    """The command without the capabilities that the agent never uses, if this process may drop them.

    As root it stays root, for keys that only root may read; see capabilities(7) for what that is worth then.
    """
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or not setpriv or not _may_drop_capabilities():
        return command
    return [setpriv, "--no-new-privs", "--inh-caps=-all", f"--bounding-set=-all,{_KEPT}", *command]


def _may_drop_capabilities() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SETPCAP & 1)


def _command(arguments: list[str]) -> str:
    return shlex.join(arguments).replace("%", "%%")
