"""Programs written out as C99: compiled with warnings as errors, they give the same numbers within their memory."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.derive.functions import FUNCTIONS
from tests.derive.loops import LOOPS
from tests.frontend.golden_functions import GOLDEN
from tests.rules.points import cases

import chainrule as cr
from chainrule.build import Builder
from chainrule.containers import flatten
from chainrule.derive.c_source import c_source
from chainrule.errors import NoRule
from chainrule.program import Program, array_type
from chainrule.rule import RULES, Control, Rule, load_module

compiled = pytest.importorskip("tests.derive.compiled")
if compiled.COMPILER is None:
    pytest.skip("no C compiler", allow_module_level=True)

load_module("scipy.special")
load_module("scipy.linalg")
WRITTEN = [name for name, rule in RULES.items() if not isinstance(rule, Control)]
GALLERY = sorted((Path(__file__).resolve().parents[2] / "docs" / "gallery").glob("[!_]*.py"))


def one_step(rule: Rule, case: Any) -> tuple[Program, list[Any]]:
    """The program of one application of a rule."""
    arguments = [np.asarray(one)[()] for one in case.arguments]
    builder = Builder("one_step")
    given = [
        builder.input(array_type(np.shape(one), np.asarray(one).dtype), f"a{k}") for k, one in enumerate(arguments)
    ]
    made = builder.record(rule, given, case.params)
    return builder.finish(made if isinstance(made, tuple) else (made,)), arguments


def same(found: Any, wanted: Any, name: str, digits: float = 1e-12) -> None:
    for one, other in zip(found, wanted, strict=True):
        other = np.asarray(other)
        rounding = 2e-5 if other.dtype == np.float32 else digits
        scale = np.max(np.abs(other[np.isfinite(other)]), initial=0) if other.dtype.kind == "f" else 0
        np.testing.assert_allclose(
            np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64), rtol=rounding,
            atol=rounding * max(float(scale), 1e-300), err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(GOLDEN) | set(FUNCTIONS)))
def test_gradients_are_those_of_chainrule(name, tmp_path):
    function, point = GOLDEN.get(name) or FUNCTIONS[name]
    scalar = name not in {"number_to_array", "several_results"}
    program = cr.grad(function).program(*point) if scalar else cr.trace(function, *point)
    inputs = [leaf for one in point for leaf in flatten(one)[0] if getattr(leaf, "dtype", np.dtype(float)).kind == "f"]
    inputs = inputs[: len(program.inputs)]
    same(compiled.run_in_c(program, inputs, tmp_path), program.run(inputs), name)
    code = re.sub(r"/\*.*?\*/", "", c_source(program), flags=re.DOTALL)
    assert code.isascii()


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_loops(name, tmp_path):
    program, inputs = LOOPS[name]
    same(compiled.run_in_c(program, inputs, tmp_path), program.run(inputs), name)


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_the_gallery(path, tmp_path):
    spec = importlib.util.spec_from_file_location(f"written.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function, point = module.problem()
    program = cr.grad(function, argnums=module.ARGNUMS).program(*point)
    leaves = [leaf for one in point for leaf in flatten(one)[0]]
    inputs = [one for one in leaves if isinstance(one, float) or getattr(one, "dtype", np.dtype(int)).kind == "f"]
    same(compiled.run_in_c(program, inputs, tmp_path), program.run(inputs), path.stem)


def test_every_rule_is_written_or_refused(tmp_path):
    refused = set()
    texts: list[tuple[str, Program, list[Any]]] = []
    for name in WRITTEN:
        if name.startswith("user."):
            continue
        for case in cases(RULES[name])[:1]:
            try:
                program, arguments = one_step(RULES[name], case)
                c_source(program)
            except NoRule:
                refused.add(name)
                continue
            texts.append((name, program, arguments))
    assert refused == REFUSED
    for name, program, arguments in texts:
        folder = tmp_path / name
        folder.mkdir()
        found, wanted = compiled.run_in_c(program, arguments, folder), program.run(arguments)
        if name in FREE_SIGNS:
            found, wanted = [np.abs(one) for one in found], [np.abs(one) for one in wanted]
        same(found, wanted, name, 1e-10)


#: Factorisations into vectors whose signs nothing determines.
FREE_SIGNS = {"svd", "eigh"}
#: What has no form in C, as docs/derive.md lists it.
REFUSED = set(
    """
    argpartition as_float128 as_float16 beta betainc betaln binom cosine_integral dawsn erfcinv erfcx erfi
    erfinv exp1 expi gammainc gammaincc hyp1f1 hyperu i0 i0e i1 i1e iv ive j0 j1 jv k0 k0e k1 k1e kn kv kve
    log_ndtr ndtri numpy_i0 poch polygamma sine_integral y0 y1 yn yv
    """.split()
)


def test_a_branch_that_would_be_another_is_told(tmp_path):
    def branch(x):
        return np.sum(x) if x[0] > 0 else np.sum(x * x)

    made = compiled.Compiled(cr.grad(branch).program(np.ones(2)), tmp_path)
    code, (found,) = made([np.array([2.0, -3.0])])
    assert code == 0
    np.testing.assert_array_equal(found, [1.0, 1.0])
    assert made([np.array([-2.0, 3.0])])[0] != 0


def test_to_c_documents_its_arguments():
    text = cr.to_c(cr.grad(lambda p: np.sum(p["W"] @ p["b"])), {"W": np.ones((2, 3)), "b": np.ones(3)})
    assert "double [2][3]" in text
    assert "workspace" in text
    assert cr.derive(lambda x: x * x, 3.0).c_source().count("int ") >= 1


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("psi", [-7.3, -0.5, 1e-8, 0.1, 1.0, 1.4616321449683622, 3.7, 9.99, 10.0, 123.4, 1e6]),
        ("ndtr", [-37.0, -8.0, -1.0, -1e-9, 0.0, 0.5, 3.0, 9.0]),
        ("gamma", [-3.7, -0.5, 0.1, 1.0, 4.5, 100.3]),
        ("rgamma", [-3.0, -0.5, 0.0, 0.1, 4.5, 50.0]),
        ("loggamma", [1e-9, 0.1, 1.0, 2.0, 30.5, 1e8]),
    ],
)
def test_special_functions_have_their_digits(name, points, tmp_path):
    import scipy.special

    function = getattr(scipy.special, name)
    program = cr.trace(function, np.array(points))
    (found,) = compiled.run_in_c(program, [np.array(points)], tmp_path)
    np.testing.assert_allclose(found, function(points), rtol=4e-14, atol=1e-15)
