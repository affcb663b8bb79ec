"""The direction of imports, the place of pure decisions, and the sizes of modules and functions, read from the source.

Every rule is a function from one module's name and source to a list of faults, so that it can be
shown to fail on a made-up module.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGE = "entrypoint"
ROOT = Path(__file__).parent.parent


def _modules(package: str) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / package).rglob("*.py"))
    }


MODULES, TESTS = _modules(PACKAGE), _modules("tests")

# Which parts of the package a part may import, beside itself. `edges` are stricter: see below.
ALLOWED: dict[str, set[str]] = {
    "": set(),
    "core": set(),
    "system": set(),  # what Linux is asked for
    "log": {"core"},
    "environment": {"core"},
    "edges": {"core", "system"},
    "check": {"core", "edges", "system"},  # the first half of the agent's cycle
    "staging": {"core", "edges"},
    "folders": {"core", "edges", "system"},
    "salvage": {"core", "edges"},
    "verify": {"core", "edges"},
    "rollout": {"core", "edges", "staging", "verify"},  # the second
    "pairs": {"core", "edges", "log"},
    "events": set(),
    "doubts": {"core"},
    "plans": {"core", "edges", "salvage"},
    "attempts": {"core", "edges", "log", "pairs", "rollout"},
    "publisher": {"attempts", "check", "core", "doubts", "edges"},
    "agent": {
        "attempts",
        "check",
        "core",
        "doubts",
        "edges",
        "environment",
        "events",
        "pairs",
        "publisher",
        "rollout",
        "system",
    },
    "boot": {
        "core",
        "edges",
        "folders",
        "plans",
        "staging",
        "system",
    },
    "demo": {"core", "system"},
    "official": {"core", "edges", "plans", "system"},
    "cli": {"agent", "boot", "core", "demo", "edges", "environment", "health", "log", "official", "plans"},
    "health": set(),
    "hook_lines": {"core"},
    "launch": {"cli", "health", "hook_lines", "system"},
    "__main__": {"launch"},
}

# The floors of `core`: a folder imports from lower ones only, and its own modules.
FLOORS = {"": 0, "conf": 1, "x509": 1, "generation": 2}

# `core` takes the time, the files' contents and everything else as arguments.
CORE_LIBRARIES = {"cryptography", "idna"}
IMPURE = {
    "_thread",
    "asyncio",
    "builtins",
    "concurrent",
    "ctypes",
    "fcntl",
    "fileinput",
    "gc",
    "getpass",
    "glob",
    "http",
    "importlib",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
}
IMPURE_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
CLOCKS = {"now", "today", "utcnow"}

# To log alone is no reason to lie outside core. These do without any neighbour, for a reason.
NO_NEIGHBOUR = {"builtins", "importlib", "logging", "time"}
DECIDING = {
    "demo.pki": "it makes keys, by chance, for the demo and the tests alone",
}

MODULE_LINES, TEST_LINES = 300, 500
FUNCTION_LINES = 25

Rule = Callable[[str, str], list[str]]


def _imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """Yields the line and the full dotted name of everything that a module imports, wherever it does."""
    package = module.split(".") if MODULES.get(module, Path()).name == "__init__.py" else module.split(".")[:-1]
    yield from _imported(package, _WithoutStandardTypes().visit(ast.parse(source)))


def _imported(package: list[str], tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


class _WithoutStandardTypes(ast.NodeTransformer):
    """A standard type that is imported for type checkers only (``Path``, say) does nothing at run time."""

    def visit_If(self, node: ast.If) -> ast.If:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            ours = [part for part in node.body if PACKAGE in ast.unparse(part)]
            node.body = ours or [ast.Pass()]
        return node


def _part(name: str) -> str:
    """The part of the package that a dotted name belongs to: ``entrypoint.core.x509.vet`` is in ``core``."""
    return [*name.split("."), ""][1]


def _within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def direction(module: str, source: str) -> list[str]:
    """Imports run downwards only, as ALLOWED says."""
    part = _part(module)
    if part not in ALLOWED:
        return [f"{module}: say in ALLOWED what {PACKAGE}.{part} may import"]
    return [
        f"{module}:{line}: {part or PACKAGE} must not import {name}"
        for line, name in _imports(module, source)
        if _within(name, {PACKAGE})
        and _part(name) not in {part, "", "__version__"}
        and _part(name) not in ALLOWED[part]
    ]


def edges_apart(module: str, source: str) -> list[str]:
    """No edge imports another: what two edges share belongs into core, what joins them into agent."""
    if _part(module) != "edges":
        return []
    own = ".".join(module.split(".")[:3])
    return [
        f"{module}:{line}: an edge must not import another, {name}"
        for line, name in _imports(module, source)
        if _within(name, {f"{PACKAGE}.edges"}) and not _within(name, {own})
    ]


def core_floors(module: str, source: str) -> list[str]:
    """Between the folders of core, imports run downwards."""
    if _part(module) != "core":
        return []
    own = _folder(module)
    return [
        f"{module}:{line}: core.{own} must not import {name}"
        for line, name in _imports(module, source)
        if _within(name, {f"{PACKAGE}.core"}) and (other := _folder(name)) != own and FLOORS[other] >= FLOORS[own]
    ]


def _folder(name: str) -> str:
    """The folder of core that a dotted name lies in, empty for one that lies in none: ``core.x509.vet`` in ``x509``."""
    found = [*name.split("."), "", ""][2]
    return found if found in FLOORS else ""


def core_libraries(module: str, source: str) -> list[str]:
    """Core imports no library that does I/O, reads the clock or the environment, or starts threads."""
    if _part(module) != "core":
        return []
    known = (set(sys.stdlib_module_names) | CORE_LIBRARIES | {PACKAGE}) - IMPURE
    return [
        f"{module}:{line}: core must not import {name}"
        for line, name in _imports(module, source)
        if name.split(".")[0] not in known or _within(name, IMPURE)
    ]


def core_calls(module: str, source: str) -> list[str]:
    """Core neither reads the clock nor does I/O with what needs no import."""
    if _part(module) != "core":
        return []
    return [
        f"{module}:{node.lineno}: core must not use {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS)
        or (isinstance(node, ast.Attribute) and node.attr in CLOCKS and _is_date(node.value))
    ]


def pure_decisions(module: str, source: str) -> list[str]:
    """What decides purely lies in core: outside of it, a module has a neighbour, itself or by what it imports."""
    defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.parse(source).body)
    if _part(module) == "core" or module.partition(".")[2] in DECIDING or not defines or _has_neighbour(module, source):
        return []
    return [f"{module}: it asks nobody, so it belongs into core"]


def _has_neighbour(module: str, source: str, above: frozenset[str] = frozenset()) -> bool:
    """Whether it imports I/O at run time, or a module of ours, outside core, that does."""
    names = [name for _, name in _imports(module, source)]
    ours = {each for name in names for each in (name, name.rpartition(".")[0]) if each in MODULES} - above - {PACKAGE}
    known = set(sys.stdlib_module_names) | CORE_LIBRARIES | {PACKAGE}
    return any(name.split(".")[0] not in known or _within(name, IMPURE - NO_NEIGHBOUR) for name in names) or any(
        _has_neighbour(each, MODULES[each].read_text("utf-8"), above | {module})
        for each in ours
        if _part(each) != "core"
    )


def _is_date(node: ast.expr) -> bool:
    return ast.unparse(node).split(".")[-1] in {"date", "datetime"}


def module_size(module: str, source: str) -> list[str]:
    """A module that has outgrown its one sentence is two modules."""
    lines, most = len(source.splitlines()), MODULE_LINES if _within(module, {PACKAGE}) else TEST_LINES
    return [f"{module}: {lines} lines, at most {most}"] if lines > most else []


def one_sentence(module: str, source: str) -> list[str]:
    """A module says in its first line what it is."""
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return [] if not source.strip() or first.endswith((".", ":")) else [f"{module}: its first line is no sentence"]


def function_size(module: str, source: str) -> list[str]:
    """A function is read in one look."""
    return [
        f"{module}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]


RULES_OF_ALL: list[Rule] = [module_size, one_sentence]
RULES: list[Rule] = [
    *(direction, edges_apart, core_floors, core_libraries, core_calls, pure_decisions, function_size),
    *RULES_OF_ALL,
]


def _faults(rule: Rule, modules: dict[str, Path]) -> str:
    assert modules
    return "\n".join(fault for module, path in modules.items() for fault in rule(module, path.read_text("utf-8")))


@pytest.mark.parametrize("rule", RULES)
def test_package(rule: Rule) -> None:
    """Every module of the package keeps every rule."""
    assert _faults(rule, MODULES) == ""


@pytest.mark.parametrize("rule", RULES_OF_ALL)
def test_tests(rule: Rule) -> None:
    """So do the tests, where a rule is for them as well."""
    assert _faults(rule, TESTS) == ""


def test_exceptions() -> None:
    """Whatever is allowed to decide outside core is there, and would not be allowed to otherwise."""
    for module in (f"{PACKAGE}.{name}" for name in DECIDING):
        assert not _has_neighbour(module, MODULES[module].read_text("utf-8"))


def test_document_names_every_module() -> None:
    """The table of modules in docs/architecture.md has a row for each module, and for nothing else."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.partition("\n## Every module\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?:\*\*)?`([\w/]+)`", table, re.MULTILINE)
    modules = {module.replace(".", "/").removeprefix(f"{PACKAGE}/") for module in MODULES}
    assert len(rows) == len(set(rows)), "a module with two rows"
    assert modules - set(rows) == set(), "docs/architecture.md, Every module: add a row for each of these"
    assert set(rows) - modules == set(), "docs/architecture.md, Every module: remove the rows of these"


DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/architecture.md")
_IN_BACKTICKS = re.compile(r"`((?:core|edges|system|demo|tests|nginx|bench|docs)/[\w/.*-]+)`")
_DEFINED = re.compile(r"`((?:\w+/)*\w+)\.(\w+(?:\.\w+)*)`")
_LINK = re.compile(r"\]\(([\w/.-]+)(?:#[\w-]+)?\)")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_what_exists(document: str) -> None:
    """Every path that a document names in backticks, and every link to a file, leads to one."""
    path = ROOT / document
    text = path.read_text("utf-8").replace("NAME", "*")
    missing = {name for name in _IN_BACKTICKS.findall(text) if not _exists(name)}
    missing |= {link for link in _LINK.findall(text) if not (path.parent / link).exists()}
    assert not missing, f"{document}: correct these"


def _exists(name: str) -> bool:
    """``core/model.Outcome`` is a name in a module of the package."""
    module = name.partition(".")[0]
    return any(ROOT.glob(name)) or any((ROOT / PACKAGE / each).exists() for each in (name, f"{module}.py", module))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_functions_that_exist(document: str) -> None:
    """Every function or class that a document names in backticks behind its module is defined there."""
    named = set(_DEFINED.findall((ROOT / document).read_text("utf-8")))
    sources = {module: MODULES.get(f"{PACKAGE}.{module.replace('/', '.')}") for module, _ in named}
    missing = [
        f"{module}.{names}"
        for module, names in sorted(named)
        if (path := sources[module]) and not _defines(path.read_text("utf-8"), names.split("."))
    ]
    assert not missing, f"{document}: correct these"


def _defines(source: str, names: list[str]) -> bool:
    return all(re.search(rf"^ *(?:(?:async )?def|class) {name}\b", source, re.MULTILINE) for name in names)


BAD: list[tuple[Rule, str, str]] = [
    (direction, "core.vet", "from entrypoint.edges.keys import load"),
    (direction, "core.vet", "from ..environment import Settings"),
    (direction, "core.vet", "def late():\n    import entrypoint.agent"),
    (direction, "environment", "from . import edges"),
    (direction, "edges.keys", "from entrypoint import agent"),
    (direction, "edges.keys", "import entrypoint.boot as boot"),
    (direction, "agent", "from entrypoint.demo import tour"),
    (direction, "agent", "from entrypoint import cli"),
    (direction, "boot", "from entrypoint.agent import run"),
    (direction, "novelty", ""),
    (edges_apart, "edges.keys", "from entrypoint.edges.nginx import probe"),
    (edges_apart, "edges.keys", "from entrypoint.edges import nginx"),
    (edges_apart, "edges.certmgr", "from .nginx import probe"),
    (edges_apart, "edges.certmgr", "from . import nginx"),
    (core_floors, "core.conf.syntax", "from entrypoint.core.x509 import pem"),
    (core_floors, "core.x509.vet", "from entrypoint.core.generation.plan import Plan"),
    (core_floors, "core.model", "from entrypoint.core.x509 import vet"),
    *[(core_libraries, "core.vet", f"import {name}") for name in sorted(IMPURE)],
    (core_libraries, "core.vet", "from os import path"),
    (core_libraries, "core.vet", "import os.path"),
    (core_libraries, "core.vet", "from urllib import request"),
    (core_libraries, "core.vet", "from watchfiles import watch"),
    (core_calls, "core.vet", "moment = datetime.now(UTC)"),
    (core_calls, "core.vet", "moment = datetime.datetime.utcnow()"),
    (core_calls, "core.vet", "def vet(clock=datetime.now): ..."),
    (core_calls, "core.vet", "day = date.today()"),
    (core_calls, "core.vet", "text = open('key.pem').read()"),
    (core_calls, "core.vet", "print('done')"),
    (pure_decisions, "novelty", "def decide(): ..."),
    (pure_decisions, "novelty", "import logging, time\nfrom entrypoint.core import model\nclass Decision: ..."),
    (pure_decisions, "edges.novelty", "from entrypoint.demo import pki\ndef decide(): ..."),
    (module_size, "agent", "\n" * (MODULE_LINES + 1)),
    (one_sentence, "agent", "import os"),
    (one_sentence, "agent", '"""What it is"""'),
    (function_size, "agent", "def cycle():\n" + "    pass\n" * FUNCTION_LINES),
    (function_size, "agent", "class A:\n  async def cycle(self):\n" + "    pass\n" * FUNCTION_LINES),
]


@pytest.mark.parametrize(("rule", "module", "source"), BAD)
def test_rule_can_fail(rule: Rule, module: str, source: str) -> None:
    """Every rule refuses a made-up module that breaks it."""
    assert len(rule(f"{PACKAGE}.{module}", source)) == 1


GOOD: list[tuple[str, str]] = [
    ("core.vet", "import urllib.parse\nimport datetime\nfrom cryptography import x509\nimport idna"),
    (
        "core.vet",
        "from .model import Chain\nfrom entrypoint.core import model\nfrom entrypoint import __version__",
    ),
    ("core.vet", "def vet(plan, now):\n    return plan.now or now"),
    ("environment", "import os\nfrom entrypoint.core.model import Problem"),
    ("edges.keys", "from entrypoint.core.settings import Settings\nfrom entrypoint.system import files"),
    ("edges.nginx.probe", "from entrypoint.edges.nginx import test\nfrom .version import read"),
    ("agent", "from entrypoint.edges import keys, nginx\nfrom datetime import datetime\ndatetime.now()"),
    ("boot", "from entrypoint.core.settings import Settings\nfrom entrypoint.edges import supervisor"),
    ("cli", "from entrypoint.demo import tour\nfrom entrypoint import agent, boot\nprint(open)"),
    ("demo.tour", "from entrypoint.core.model import KeyType\nfrom entrypoint.system import signals"),
    ("agent", "import os\ndef decide(): ..."),
    ("agent", "from entrypoint.edges.keys import load\ndef decide(): ..."),
    ("agent", "\n" * MODULE_LINES),
    ("agent", "import os\ndef cycle():\n" + "    pass\n" * (FUNCTION_LINES - 1)),
]


@pytest.mark.parametrize(("module", "source"), GOOD)
def test_rules_let_pass(module: str, source: str) -> None:
    """No rule refuses what the design allows."""
    said = f'"""What it is."""\n{source}'.removesuffix("\n" * (source.count("\n") == MODULE_LINES))
    assert [fault for rule in RULES for fault in rule(f"{PACKAGE}.{module}", said)] == []
