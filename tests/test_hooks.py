"""What hooks in /docker-entrypoint.d write: with LOG_FORMAT=json an object a line, otherwise as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until

SCRIPT = Path(__file__).parent.parent / "entrypoint" / "container.sh"
CERTFRONT = f"""#!/bin/sh
[ "$1" = run ] || exec {sys.executable} -Ic 'from entrypoint.launch import main; raise SystemExit(main())' "$@"
echo "now $GREETING"
"""
SAYS = '#!/bin/sh\necho out\necho \'a "b" \\ c\' >&2\nprintf "no end"\n'
EXPORTS = 'echo sourced\nexport GREETING=hello\nprintf "asks: " >&2\n'
DAEMON = "#!/bin/sh\necho up\n(while [ ! -e {folder}/go ]; do sleep 0.05; done; echo later) &\n"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts container.sh with these hooks; its output goes to `log`."""
    started: list[subprocess.Popen[str]] = []

    def begin(style: str, **hooks: str) -> subprocess.Popen[str]:
        paths = [tmp_path / name.replace("_", ".") for name in hooks]
        listed = "\n".join(map(str, paths))
        texts = {"certfront": CERTFRONT, "find": f"#!/bin/sh\necho '{listed}'\n"}
        texts |= {path.name: text for path, text in zip(paths, hooks.values(), strict=True)}
        for name, text in texts.items():
            (tmp_path / name).write_text(text.replace("{folder}", str(tmp_path)))
            (tmp_path / name).chmod(0o755)
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG_FORMAT": style}
        with (tmp_path / "log").open("w") as log:
            command = ["env", "--default-signal", "/bin/sh", str(SCRIPT), "run"]
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True))
        return started[-1]

    yield begin
    (tmp_path / "go").touch()
    for process in started:
        process.kill()
        process.wait()


def _entries(log: Path, name: str) -> list[str]:
    """The messages of a hook; raises where a line but certfront's own is no object."""
    lines = [line for line in log.read_text().splitlines() if not line.startswith("now ")]
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [entry["message"] for entry in entries if entry["logger"] == str(log.parent / name)]


def test_objects(tmp_path: Path, start: Start) -> None:
    """Both kinds of hooks, both kinds of output, in order; what a hook exports is there, and certfront comes last."""
    log = tmp_path / "log"
    assert start("json", a_envsh=EXPORTS, b_sh=SAYS, c_sh="#!/bin/sh\necho '{\"own\":1}'").wait(30) == 0
    *lines, last = log.read_text().splitlines()
    assert json.loads(lines.pop()) == {"own": 1}
    entries = [json.loads(line) for line in lines]
    assert last == "now hello"
    assert [entry["message"] for entry in entries if entry["logger"].endswith("/a.envsh")] == ["sourced", "asks: "]
    said = [entry["message"] for entry in entries if entry["logger"] == str(tmp_path / "b.sh")]
    assert said == ["out", 'a "b" \\ c', "no end"]
    kinds = [Path(entry["logger"]).name for entry in entries]
    assert kinds == ["certfront.container", *["a.envsh"] * 2, "certfront.container", *["b.sh"] * 3, kinds[-1]]


def test_text(tmp_path: Path, start: Start) -> None:
    """Without LOG_FORMAT=json every byte is the hook's own, and its pipe is the container's."""
    assert start("text", a_envsh=EXPORTS, b_sh=SAYS).wait(30) == 0
    first, second = (f"certfront: running {tmp_path}/{name}\n" for name in ("a.envsh", "b.sh"))
    assert (tmp_path / "log").read_text() == f'{first}sourced\nasks: {second}out\na "b" \\ c\nno endnow hello\n'


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize(
    ("name", "hook", "status"),
    [
        ("a_sh", "#!/bin/sh\necho why\nexit 3\n", 1),
        ("a_sh", "#!/bin/sh\necho why\nkill -9 $$\n", 1),
        ("a_sh", "echo why\nexit 3\n", 1),  # for want of a first line the shell runs it
        ("a_envsh", "echo why\nexit 3\n", 3),
        ("a_envsh", "echo why\nfalse\n", 1),
        ("a_envsh", "echo why\n: ${nobody:?set it}\n", 2),
    ],
)
def test_a_failing_hook(tmp_path: Path, start: Start, style: str, name: str, hook: str, status: int) -> None:
    """Its status and its last words are the same in both forms, and certfront never starts."""
    assert start(style, **{name: hook}).wait(30) == status
    text = (tmp_path / "log").read_text()
    assert "why" in text
    assert "now" not in text
    if style == "json":
        assert "why" in _entries(tmp_path / "log", name.replace("_", "."))
    assert ("failed with status" in text) is name.endswith("_sh")


@pytest.mark.parametrize("name", ["a_sh", "a_envsh"])
def test_what_a_hook_leaves_behind(tmp_path: Path, start: Start, name: str) -> None:
    """The start does not wait for it, and what it writes later is an object as well."""
    assert start("json", **{name: DAEMON}).wait(30) == 0
    assert _entries(tmp_path / "log", name.replace("_", ".")) == ["up"]
    (tmp_path / "go").touch()
    until(lambda: _entries(tmp_path / "log", name.replace("_", ".")) == ["up", "later"], "what it writes later")


def test_much_output(tmp_path: Path, start: Start) -> None:
    """More than any pipe holds comes through, in order."""
    assert start("json", a_sh="#!/bin/sh\nseq 1 50000\n").wait(60) == 0
    assert _entries(tmp_path / "log", "a.sh") == [str(number) for number in range(1, 50001)]


def test_a_stop(tmp_path: Path, start: Start) -> None:
    """A stop while a hook runs is heard when it has ended, with 0, and nothing of its words is lost."""
    process = start("json", a_sh="#!/bin/sh\necho up\nkill -TERM $PPID\nsleep 0.2\necho end\n")
    assert process.wait(30) == 0
    assert _entries(tmp_path / "log", "a.sh") == ["up", "end"]
    assert "now" not in (tmp_path / "log").read_text()
