"""The written forms: text of any width, LaTeX that compiles, names that are hostile to either."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.derive import Derivation, derive
from chainrule.derive.derivation import WHAT_IT_IS_NOT


def curve(x: Any, a: Any) -> Any:
    r = np.exp(-a * x[1:]) - x[:-1]
    return 0.5 * np.sum(r**2) + np.max(x)


@pytest.fixture(scope="module")
def told() -> Derivation:
    return derive(curve, np.array([0.4, 1.2, 0.3]), 0.7, argnums=(0, 1))


def made_of(source: str, name: str = "f") -> Callable[..., Any]:
    """A function without a file."""
    space: dict[str, Any] = {"np": np}
    exec(source, space)
    found = space[name]
    assert callable(found)
    return found


HOSTILE = {
    "an underscore": "def f(x):\n    _a_ = x * 2\n    b__c = np.sin(_a_)\n    return b__c * _a_",
    "Unicode": "def f(x):\n    θ = x * 2\n    größe = np.sin(θ)\n    变量 = größe * θ\n    return 变量",
    "names of LaTeX": "def f(x):\n    input = x * 2\n    frac = np.sin(input)\n    end = frac * input\n    return end",
    "one letter": "def f(i):\n    j = np.ones(3) * i\n    k = np.sum(j * j)\n    return k",
    "numbers of ours": "def f(x):\n    v2 = x * 2\n    v1 = np.sin(v2) * x\n    return v1 + v2",
    "a keyword of a dict": "def f(p):\n    return p['class'] * p['<script>'] * p[r'\\input{x}&%$#_'] + p['a b']",
}


def hostile(name: str) -> Derivation:
    f = made_of(HOSTILE[name])
    if name == "a keyword of a dict":
        return derive(f, {"class": 1.5, "<script>": 2.0, r"\input{x}&%$#_": 0.3, "a b": 1.0})
    return derive(f, 0.7)


def compile_latex(text: str, folder: Path) -> str:
    """What pdfLaTeX says; fails where it does."""
    (folder / "it.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "it.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-1500:]
    return said


needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")


@pytest.mark.parametrize("width", [40, 72, 100, 200])
def test_no_line_is_wider_than_asked(told: Derivation, width: int) -> None:
    assert max(map(len, told.text(width).splitlines())) <= width


def test_the_text_has_every_part(told: Derivation) -> None:
    text = str(told)
    assert " ".join(WHAT_IT_IS_NOT.split()) in " ".join(text.split())
    for head in ("1. The composition", "2. The local", "3. The chain rule", "4. The gradient", "5. The numbers"):
        assert head in text
    assert "dr = " in text
    assert "NOT VERIFIED" not in text
    assert "\x1b" not in text
    assert "\x1b[" in told.text(colour=True)


def test_the_text_says_the_numbers_of_this_call() -> None:
    one, other = (str(derive(lambda x: np.sum(x**3), np.array(at))) for at in ([1.0, 2.0], [1.0, 3.0]))
    assert "dx = [3, 12]" in one
    assert "dx = [3, 27]" in other


def test_latex_is_balanced(told: Derivation) -> None:
    fragment = told.latex()
    assert "\\documentclass" not in fragment
    bare = re.sub(r"\\[{}\\]", "", fragment)
    assert bare.count("{") == bare.count("}")
    assert fragment.count(r"\(") == fragment.count(r"\)")
    assert fragment.count(r"\left") == fragment.count(r"\right")


@needs_tex
def test_latex_compiles(told: Derivation, tmp_path: Path) -> None:
    said = compile_latex(told.latex(standalone=True), tmp_path)
    assert "Missing character" not in said


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(name: str, tmp_path: Path) -> None:
    d = hostile(name)
    assert d.unverified == ()
    assert len({item.name for item in d.walk() if item.kind != "group"}) == len(
        [item for item in d.walk() if item.kind != "group"]
    )
    document = d.latex(standalone=True)
    assert r"\input{" not in document
    assert str(d)
    if shutil.which("pdflatex") is not None:
        compile_latex(document, tmp_path)


def test_a_lambda_and_a_function_without_source() -> None:
    d = derive(made_of("def f(x):\n    y = x * x\n    return y + x"), 2.0)
    assert d.listings == ()
    assert [item.name for item in d.items] == ["y", "v2"]
    assert d.gradient[0].value == 5.0
    one = derive(lambda x: x * np.sin(x), 2.0)
    assert one.listings


def test_a_very_long_line_and_a_large_array_are_cut_short() -> None:
    source = "def f(x):\n    return " + " + ".join(["np.sum(x)"] * 150)
    d = derive(made_of(source), np.arange(20_000.0))
    text = d.text(100)
    assert len(text) < 200_000
    assert "0 … 19999" in text
    assert len(repr(d)) < 200
