"""The layers hold: who imports whom, who reaches LLVM, what an import loads, and that nothing takes a step."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chainrule.operators import trace  # noqa: F401 - fills the table of rules
from chainrule.rule import RULES

SRC = Path(__file__).resolve().parents[1] / "src"

# What a module of chainrule may import, beside the standard library and itself: other modules of chainrule (named with
# a leading dot), then packages. A module that is not listed here may import anything but what FORBIDDEN says.
MAY_IMPORT = {
    "errors": frozenset[str](),
    "rule": frozenset[str](),
    "containers": frozenset({".errors", "numpy"}),
    "numerical": frozenset({".errors", ".containers", "numpy", "scipy", "rich"}),
    # pytest and Hypothesis are the hosts of check.assertion and check.strategies, which nothing else here imports.
    "check": frozenset(
        {".numerical", ".errors", ".containers", ".provider", "numpy", "matplotlib", "pytest", "hypothesis"}
    ),
    "provider": frozenset[str](),
    "source": frozenset[str](),
    "program": frozenset({".errors", ".rule", ".containers", ".source", ".program_text", ".run", "numpy"}),
    "program_text": frozenset({".errors", ".rule", ".source", ".program", "numpy"}),
    "run": frozenset({".errors", ".program", "numpy"}),
    "build": frozenset({".errors", ".rule", ".containers", ".source", ".program", "numpy"}),
    "expand": frozenset({".rule", ".program", ".build"}),
    "loops": frozenset({".rule", ".program", ".build", ".expand"}),
    # What repeats is a fact of the program alone; what is made of it is a transform.
    "repetition": frozenset({".rule", ".program", "numpy"}),
    "rules": frozenset({".errors", ".rule", "numpy", "scipy"}),
    "transforms": frozenset(
        {".errors", ".rule", ".source", ".program", ".build", ".expand", ".loops", ".repetition", "numpy"}
    ),
    "native": frozenset({".errors", ".rule", ".program", "numpy", "scipy", "llvmlite"}),
    # derive reads a traced call (arguments), asks backprop for formulas, and holds them against the witness.
    "derive": frozenset(
        {
            ".errors",
            ".containers",
            ".rule",
            ".source",
            ".program",
            ".build",
            ".expand",
            ".export",
            ".repetition",
            ".arguments",
            ".operators",
            ".transforms",
            ".numerical",
            "numpy",
            "rich",
            "latex2mathml",
        }
    ),
}
FORBIDDEN = {"derive": frozenset({".native"})}

# Each of these is one concept a file: its files do not know each other (the folder's own __init__ may name them all).
STRANGERS = frozenset({"transforms"})

HEAVY = ("llvmlite", "matplotlib", "rich", "scipy.optimize", "scipy.stats")

# The words of an optimiser, each a run of words as `words` splits them. The package differentiates; it takes no step.
OPTIMISER_WORDS = (
    ("lr",),
    ("momentum",),
    ("epoch",),
    ("epochs",),
    ("optimiser",),
    ("optimisers",),
    ("optimizer",),
    ("optimizers",),
    ("adam",),
    ("sgd",),
    ("rmsprop",),
    ("learning", "rate"),
    ("weight", "decay"),
    ("gradient", "descent"),
    ("descent", "step"),
    ("step", "size"),
)
# The witness has a step too, and it is no optimiser's: the h of a difference quotient.
DIFFERENCE_QUOTIENTS = frozenset({"numerical", "check"})


class Import(NamedTuple):
    """One imported module, where it is imported, and by which part of chainrule."""

    path: Path
    line: int
    target: str


def sources(root: Path) -> list[Path]:
    """The files of the package under ``root`` (the folder that holds ``chainrule``)."""
    return sorted((root / "chainrule").rglob("*.py"))


def dotted(root: Path, path: Path) -> list[str]:
    """``["chainrule", "rules", "linalg"]`` for ``chainrule/rules/linalg.py``; a folder's ``__init__`` is the folder."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


@functools.cache
def nodes(text: str) -> list[ast.AST]:
    """Every node of a file's syntax tree; the copies that violations are planted in are mostly the same text."""
    return list(ast.walk(ast.parse(text)))


def imports(root: Path, path: Path) -> Iterator[Import]:
    """Every import of a file, at any depth, by statement or by ``import_module`` of a literal name."""
    package = dotted(root, path) if path.name == "__init__.py" else dotted(root, path)[:-1]
    for node in nodes(path.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(path, node.lineno, f"{origin}.{alias.name}")
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0].value
            if called in {"import_module", "__import__"} and isinstance(name, str):
                yield Import(path, node.lineno, name if not name.startswith(".") else "chainrule" + name)


def layer_violations(root: Path) -> list[str]:
    """The imports that the table of layers does not allow."""
    return [
        f"{found.path.relative_to(root)}:{found.line} imports {found.target}"
        for path in sources(root)
        for found in imports(root, path)
        if not allowed(dotted(root, path), found.target.split("."))
    ]


def allowed(importer: list[str], target: list[str]) -> bool:
    """Whether the module with these parts may import the module with those."""
    if len(importer) < 2:
        return True
    layer = importer[1]
    if target[0] != "chainrule":
        name = target[0]
        foreign = name not in sys.stdlib_module_names
    elif len(target) < 2:
        return layer not in MAY_IMPORT and layer not in FORBIDDEN  # the whole package, which knows every arrow
    elif target[1] == layer:
        return layer not in STRANGERS or len(importer) < 3 or importer[2:3] == target[2:3]
    else:
        name = "." + target[1]
        foreign = True
    if name in FORBIDDEN.get(layer, ()):
        return False
    return not foreign or layer not in MAY_IMPORT or name in MAY_IMPORT[layer]


def llvmlite_importers(root: Path) -> list[str]:
    """The files that import llvmlite."""
    return [
        str(path.relative_to(root))
        for path in sources(root)
        if any(found.target.split(".")[0] == "llvmlite" for found in imports(root, path))
    ]


def words(text: str) -> list[str]:
    """The words of an identifier or of a sentence, in lower case: ``learningRate`` and ``learning_rate`` have two."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)]


def spoken(text: str) -> Iterator[tuple[int, str]]:
    """Every identifier, argument name and string of a file with its line; bare strings (docstrings) are not."""
    documentation = {id(node.value) for node in nodes(text) if isinstance(node, ast.Expr)}
    for node in nodes(text):
        line = getattr(node, "lineno", 0)
        for field in ("id", "attr", "arg", "name", "asname", "module", "rest", "kwd_attrs", "names"):
            value = getattr(node, field, None)
            for said in value if isinstance(value, list) else [value]:
                if isinstance(said, str):
                    yield line, said
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield line, node.value


def optimiser_words(root: Path) -> list[str]:
    """Where the package speaks of learning rates, momentum, epochs and their kin."""
    found: list[str] = []
    for path in sources(root):
        place = str(path.relative_to(root))
        layer = [*dotted(root, path), ""][1]
        texts = [(0, path.stem), *spoken(path.read_text(encoding="utf-8"))]
        for line, text in texts:
            said = words(text)
            for phrase in OPTIMISER_WORDS:
                if phrase == ("step", "size") and layer in DIFFERENCE_QUOTIENTS:
                    continue
                if any(tuple(said[i : i + len(phrase)]) == phrase for i in range(len(said))):
                    found.append(f"{place}:{line} says {' '.join(phrase)}")
    return found


# The sum and the broadcast by which the chain rule itself adds, and the operator that drops a path.
NAMED_OUTSIDE = frozenset({"broadcast_to", "sum", "stop_gradient"})


def named_primitives(root: Path) -> list[str]:
    """Places outside of ``rules/`` that know one primitive by its name: ``RULES["tanh"]``, ``rule.name == "tanh"``."""
    found: list[str] = []
    for path in sources(root):
        if "rules" in path.relative_to(root).parts:
            continue
        for node in nodes(path.read_text(encoding="utf-8")):
            named: list[ast.expr] = []
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "RULES":
                named = [node.slice]
            elif isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                if any(isinstance(one, ast.Attribute) and one.attr == "name" for one in sides):
                    named = sides
            found.extend(
                f"{path.relative_to(root)}:{one.lineno} names the primitive {one.value}"
                for one in named
                if isinstance(one, ast.Constant) and one.value in RULES and one.value not in NAMED_OUTSIDE
            )
    return found


def heavy_modules(root: Path) -> list[str]:
    """Which of the heavy modules a fresh ``import chainrule`` loads."""
    program = f"import sys; sys.path.insert(0, {str(root)!r}); import chainrule; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return [name for name in HEAVY if name in done.stdout.split()]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, to plant violations in."""
    shutil.copytree(SRC / "chainrule", tmp_path / "chainrule", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def plant(root: Path, place: str, text: str) -> None:
    """Add a line to a file of the package, which is made if it does not exist."""
    path = root / "chainrule" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{text}\n", encoding="utf-8")


def new(check: Callable[[Path], list[str]], root: Path, place: str, text: str) -> list[str]:
    """What a check finds after a violation was planted and did not find before."""
    before = check(root)
    plant(root, place, text)
    return [found for found in check(root) if found not in before]


def test_each_module_imports_only_what_its_layer_may() -> None:
    assert layer_violations(SRC) == []


@pytest.mark.parametrize(
    ("place", "text", "target"),
    [
        ("errors.py", "import numpy", "numpy"),
        ("rule.py", "from chainrule.program import Program", "chainrule.program.Program"),
        ("numerical/planted.py", "import chainrule.trace", "chainrule.trace"),
        ("numerical/planted.py", "from chainrule import grad", "chainrule.grad"),
        ("numerical/planted.py", "import chainrule", "chainrule"),
        ("numerical/planted.py", "def late():\n    from ..rules import linalg", "chainrule.rules.linalg"),
        ("numerical/planted.py", "from importlib import import_module as m; import_module('chainrule.rule')", "rule"),
        ("check/planted.py", "from chainrule.transforms.backprop import backprop", "backprop.backprop"),
        ("check/planted.py", "import scipy.stats", "scipy.stats"),
        ("program.py", "from chainrule import rules", "chainrule.rules"),
        ("rules/planted.py", "from chainrule.build import Builder", "chainrule.build.Builder"),
        ("transforms/planted.py", "from chainrule.transforms.other import other", "transforms.other.other"),
        ("transforms/planted.py", "from .other import other", "transforms.other.other"),
        ("transforms/planted.py", "from chainrule import transforms", "chainrule.transforms"),
        ("transforms/planted.py", "from chainrule.rules import table", "chainrule.rules.table"),
        ("native/planted.py", "from chainrule.transforms import simplify", "chainrule.transforms.simplify"),
        ("derive/planted.py", "from chainrule.native import lower", "chainrule.native.lower"),
        ("containers.py", "import scipy", "scipy"),
    ],
)
def test_a_planted_import_is_caught(copy: Path, place: str, text: str, target: str) -> None:
    (found,) = new(layer_violations, copy, place, text)
    assert found.startswith(f"chainrule/{place}:")
    assert found.endswith(target)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("numerical/planted.py", "import math\nimport numpy as np\nfrom chainrule.errors import ArgumentError"),
        ("numerical/planted.py", "from .other import line\nfrom . import other"),
        ("transforms/__init__.py", "from chainrule.transforms.planted import planted"),
        ("rules/planted.py", "from chainrule.rules.elementwise import tanh"),
        ("derive/planted.py", "from chainrule.program import Program"),
    ],
)
def test_an_allowed_import_is_not_caught(copy: Path, place: str, text: str) -> None:
    assert new(layer_violations, copy, place, text) == []


def test_no_module_outside_of_the_rules_names_a_primitive() -> None:
    assert named_primitives(SRC) == []


@pytest.mark.parametrize(
    "text",
    ['from chainrule.rule import RULES\n\ntanh = RULES["tanh"]\n', 'def f(rule):\n    return rule.name == "tanh"\n'],
)
def test_a_planted_name_of_a_primitive_is_caught(copy: Path, text: str) -> None:
    assert new(named_primitives, copy, "transforms/planted.py", text)


def test_at_most_one_file_imports_llvmlite_and_it_is_native() -> None:
    importers = llvmlite_importers(SRC)
    assert len(importers) <= 1
    assert all(name.startswith("chainrule/native") for name in importers)


def test_a_second_importer_of_llvmlite_is_caught(copy: Path) -> None:
    plant(copy, "native/planted_llvm.py", "import llvmlite.binding as llvm")
    assert "chainrule/native/planted_llvm.py" in llvmlite_importers(copy)
    plant(copy, "native/planted_again.py", "def late():\n    from llvmlite import ir")
    assert len(llvmlite_importers(copy)) >= 2


def test_nothing_in_the_package_has_an_optimisers_word() -> None:
    assert optimiser_words(SRC) == []


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("def descend(f, learning_rate=0.1): ...", "learning rate"),
        ("def descend(f, *, lr): ...", "lr"),
        ("descend(f, lr=0.1)", "lr"),
        ("baseLR = 1", "lr"),
        ("class SomeOptimizer: ...", "optimizer"),
        ("state.momentum = 0", "momentum"),
        ("for epoch in range(3): ...", "epoch"),
        ("def move(step_size): ...", "step size"),
        ("message = 'give an optimiser'", "optimiser"),
        ("message = f'{1} with learning rate {2}'", "learning rate"),
        ("def f():\n    global momentum", "momentum"),
        ("from torch.optim import sgd", "sgd"),
    ],
)
def test_a_planted_optimisers_word_is_caught(copy: Path, text: str, phrase: str) -> None:
    found = new(optimiser_words, copy, "planted.py", text)
    assert found
    assert all(line.startswith("chainrule/planted.py:") and line.endswith(f"says {phrase}") for line in found)


@pytest.mark.parametrize(
    "text",
    [
        "clr = slr = lri = color = 1",
        "'''This is no optimiser: it has no learning rate.'''",
        "def f():\n    '''Nothing for an optimizer.'''",
        "import scipy.optimize",
        "rate = learning = 1",
    ],
)
def test_other_words_are_not_caught(copy: Path, text: str) -> None:
    assert new(optimiser_words, copy, "planted.py", text) == []


def test_a_difference_quotient_may_have_a_step_size(copy: Path) -> None:
    assert new(optimiser_words, copy, "numerical/planted.py", "def slope(f, step_size): ...") == []


def test_importing_chainrule_loads_nothing_heavy() -> None:
    assert heavy_modules(SRC) == []


def test_a_planted_heavy_import_is_caught(tmp_path: Path) -> None:
    plant(tmp_path, "__init__.py", "import rich.table")
    assert heavy_modules(tmp_path) == ["rich"]
