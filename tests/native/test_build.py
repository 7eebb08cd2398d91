"""Compiled programs give what the interpreter gives: golden functions, every rule, guards, callbacks that raise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.frontend.golden_functions import GOLDEN
from tests.native.programs import compare, same
from tests.rules.points import cases

import chainrule as cr
from chainrule import native
from chainrule.build import Builder
from chainrule.containers import flatten
from chainrule.program import array_type
from chainrule.rule import RULES, Control, rule_named

rule_named("erf")


def floats(point: Any) -> list[Any]:
    return [leaf for one in point for leaf in flatten(one)[0] if not isinstance(leaf, int)]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_functions_and_their_gradients(name):
    function, point = GOLDEN[name]
    for program in (cr.trace(function, *point), cr.grad(function).program(*point)):
        compare(program, floats(point), 1e-12)


#: What compiled code still asks Python for. The list shrinks.
CALLED_BACK = frozenset(
    "angle argmax argmin argpartition argsort binary_exponent bitwise_count cholesky cofactor cofactor_change convolve "
    "cosine_integral det eigh eigvalsh expm fractional_part gcd inv isin kn last_write lcm ldexp left_shift lexsort "
    "nextafter pinv polygamma qr ravelled right_shift round running_place scipy_eigh searchsorted sinc sinc_derivative "
    "sine_integral slogdet solve solve_triangular spacing svd svdvals unravelled yn "
    # Half and extended precision, and conversions to integers that C leaves open.
    "as_float128 as_float16 as_int16 as_int8 as_uint16 as_uint32 as_uint64 as_uint8 "
    # Only in a loop, where the number of the iteration is known to be one.
    "add_at assign_at index_at".split()
)


@pytest.mark.parametrize("name", sorted(name for name, rule in RULES.items() if not isinstance(rule, Control)))
def test_every_rule(name):
    rule = RULES[name]
    for arguments, params in cases(rule):
        builder = Builder(name)
        values = [builder.input(array_type(np.shape(one), np.asarray(one).dtype)) for one in arguments]
        made = builder.record(rule, values, params)
        program = builder.finish(made if isinstance(made, tuple) else [made]).verify()
        compiled = compare(program, list(arguments), 1e-13)
        assert not compiled.callbacks or name in CALLED_BACK


def test_a_value_that_was_asked_for_is_guarded():
    def f(x):
        return x * 2 if x > 1 else x * 3

    compiled = native.build(cr.trace(f, 2.0))
    assert compiled.run([5.0]) == [10.0]
    with pytest.raises(native.GuardFailed, match="guard 0"):
        compiled.run([0.5])


def test_what_a_callback_raises_comes_out():
    def f(a):
        return np.linalg.inv(a)

    compiled = native.build(cr.trace(f, np.eye(2)))
    if compiled.callbacks:
        with pytest.raises((np.linalg.LinAlgError, native.Withdrawn)):
            compiled.run([np.zeros((2, 2))])
    same(compiled.run([2 * np.eye(2)])[0], 0.5 * np.eye(2), 1e-15)


def test_results_that_are_inputs_literals_or_the_same():
    builder = Builder()
    x = builder.input(array_type((3,), np.dtype(float)))
    y = x * 2
    program = builder.finish([x, 2.5, y, y, x[::-1], np.transpose(x)])
    given = np.arange(3.0)
    results = compare(program, [given], 0.0).run([given])
    assert all(not np.shares_memory(one, given) for one in results)
    assert not np.shares_memory(results[2], results[3])


def test_captured_arrays_are_read_at_each_call():
    kept = np.array([1.0, 2.0])
    compiled = native.build(cr.trace(lambda x: x * kept, 1.0))
    same(compiled.run([3.0])[0], np.array([3.0, 6.0]), 0.0)
    same(compiled.run([3.0], [np.array([5.0, 7.0])])[0], np.array([15.0, 21.0]), 0.0)
