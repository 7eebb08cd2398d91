"""Every example runs, its gradient is the witness's, and one sweep costs a small multiple of the function."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import cost_ratio

import chainrule as cr
from chainrule.containers import flatten

pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = cost_ratio.names()
SCRIPTS = [name for name in NAMES if name != "digits"]


@pytest.fixture(autouse=True)
def path_to_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def leaves(tree: Any) -> np.ndarray[Any, Any]:
    return np.concatenate([np.ravel(leaf) for leaf in flatten(tree)[0]])


def test_there_are_examples_for_many_walks_of_life() -> None:
    assert set(NAMES) >= {
        "black_scholes",
        "digits",
        "kalman",
        "least_squares",
        "logistic_regression",
        "mixture",
        "ode_fit",
        "recurrent",
        "rosenbrock",
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_within_the_error_that_the_witness_states(name: str) -> None:
    f, (x, *rest) = cost_ratio.problem(name)
    witness = cr.numerical.grad(lambda x: f(x, *rest), x, progress=False)
    assert witness.ok, witness
    gap = np.abs(leaves(cr.grad(f)(x, *rest)) - leaves(witness.value))
    assert np.all(gap <= leaves(witness.error)), f"{np.max(gap / leaves(witness.error)):.2f} times the stated error"


@pytest.mark.parametrize("name", NAMES)
def test_the_value_is_numpys(name: str) -> None:
    f, args = cost_ratio.problem(name)
    value, _ = cr.value_and_grad(f)(*args)
    np.testing.assert_allclose(value, f(*args), rtol=1e-13)


def test_one_sweep_costs_at_most_five_times_the_function(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [cost_ratio.measure(name, times=1) for name in NAMES]
    with capsys.disabled():
        print("\n" + "\n".join(cost_ratio.table(rows)))
    assert {row.name: row.ratio for row in rows if row.ratio > cost_ratio.BOUND} == {}
    assert all(row.function > 0 for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_says_a_few_lines(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert 2 <= len(lines) <= 12
    assert max(map(len, lines)) <= 160
    assert "nan" not in done.stdout.lower().split()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_importing_an_example_does_nothing_but_define(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(name)
    assert callable(module.main)
    assert module.__doc__
    assert capsys.readouterr().out == ""


def test_the_package_never_imports_an_example() -> None:
    for path in (EXAMPLES.parent / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in {*NAMES, "examples", "tour"}, path
            elif isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & {*NAMES, "examples", "tour"}, path


def test_the_users_file_does_not_mention_chainrule_before_it_is_run_as_a_script() -> None:
    source = (EXAMPLES / "digits.py").read_text(encoding="utf-8").partition("if __name__")[0]
    assert "import chainrule" not in source
