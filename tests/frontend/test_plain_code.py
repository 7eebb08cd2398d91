"""Plain Python and NumPy as people write it: each differentiates as it stands. In-place writes: test_writes."""

# ruff: noqa: B006, B009, B023, ICN001, PIE804, PLC3002, PLW0108, PLW0603, RET505, UP031, UP032 - as people write it

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import functools
import importlib
import io
import itertools
import math
import numbers
import operator
import random
import sys
import textwrap
import warnings
from functools import reduce
from math import exp, log, pi, sqrt
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy
import scipy.linalg
import scipy.special
from numpy import array, concatenate, zeros
from numpy import sin as sine
from numpy.linalg import norm, solve
from scipy import special
from scipy.special import expit, gammaln
from tests.frontend.agreement import agrees, close, right_or_refused

import chainrule as cr

X = np.array([0.7, 1.3, 0.4, 2.1])


# --- branches and loops on values -------------------------------------------------------------------------------------


def test_if_on_a_value():
    def f(x):
        if x[0] > 1:
            return x[0] ** 3
        elif x.sum() > 3:
            return x[1] * x[0]
        return x[2]

    agrees(f, X)
    agrees(f, X * 2)
    agrees(f, X * 0.1)


def test_conditional_expression_and_boolean_operators():
    def f(x):
        a = x[0] if x[0] > x[1] and not x[2] > 3 else x[1] * x[2]
        b = x[3] if x[0] or x[1] else 0.0
        return a * b if 0 < x[0] < 1 < x[3] else 0.0 * a

    agrees(f, X)


def test_while_on_a_value():
    def f(x):
        y = x[0] * 1.0
        while y < 10:
            y = y * (1 + x[1])
        return y

    agrees(f, X)


def test_newton_iteration_until_convergence():
    def f(x):
        root = 1.0
        while abs(root * root - x[0]) > 1e-14:
            root = 0.5 * (root + x[0] / root)
        return root * x[1]

    close(agrees(f, X)[:2], np.array([0.5 * 1.3 / math.sqrt(0.7), math.sqrt(0.7)]), 1e-9)


def test_loop_with_break_continue_and_else():
    def f(x):
        total = 0.0
        for i, one in enumerate(x):
            if i == 1:
                continue
            total = total + one**2
            if total > 0.6:
                break
        else:
            total = total * 100
        return total * x[3]

    agrees(f, X)
    agrees(f, X * 0.1)


def test_nested_loops():
    def f(x):
        total = 0.0
        for i in range(4):
            for j in range(i):
                total += x[i] * x[j] / (1 + i + j)
            while total > 2:
                total = total / 2
        return total

    agrees(f, X)


def test_match_statement_on_a_kind_of_step():
    def f(x):
        total = x[0]
        for step in ("square", "add", "other"):
            match step:
                case "square":
                    total = total**2
                case "add":
                    total = total + x[1]
                case _:
                    total = total * x[2]
        return total

    agrees(f, X)


def test_walrus():
    def f(x):
        if (norm_of_x := np.sqrt(np.sum(x**2))) > 1:
            return norm_of_x * x[0]
        return x[0]

    agrees(f, X)


# --- math, float and their kin ----------------------------------------------------------------------------------------


def test_math_sin_of_an_element():
    agrees(lambda x: math.sin(x[0]) * math.cos(x[1]) + math.atan2(x[2], x[3]), X)


def test_names_imported_from_math():
    agrees(lambda x: exp(-(x[0] ** 2)) * sqrt(x[1]) + log(x[3]) * pi, X)


@pytest.mark.parametrize(
    "name",
    "acos acosh asin asinh atan atanh cbrt cos cosh degrees erf erfc exp exp2 expm1 fabs gamma lgamma log log10 log1p "
    "log2 radians sin sinh sqrt tan tanh".split(),
)
def test_each_function_of_math(name):
    shift = 1.5 if name == "acosh" else 0.0
    function = getattr(math, name)
    agrees(lambda x: function(x[0] + shift) * x[1], X)


def test_functions_of_math_with_several_arguments():
    def f(x):
        return (
            math.hypot(x[0], x[1])
            + math.hypot(x[0], x[1], x[2])
            + math.pow(x[0], x[1])
            + math.log(x[3], 3.0)
            + math.fmod(x[3], 1.5)
            + math.copysign(x[0], -1.0) * x[2]
            + math.dist(x[:2], x[2:])
            + math.prod(x)
            + math.fsum(x * x)
            + math.ldexp(x[0], 3)
            + math.modf(x[3])[0] * x[1]
        )

    agrees(f, X)


def test_math_floor_and_ceil_in_a_shape():
    def f(x):
        count = math.floor(x[3]) + math.ceil(x[0])
        return sum(x[i] ** 2 for i in range(count))

    agrees(f, X)


def test_constants_and_questions_of_math():
    def f(x):
        if math.isnan(x[0]) or math.isinf(x[1]) or not math.isfinite(x[2]) or math.isclose(x[0], x[1]):
            return math.inf * x[0]
        return x[0] * math.pi + math.e * x[1] ** math.tau

    agrees(f, X)


def test_from_math_import_inside_the_function():
    def f(x):
        from math import exp as exponential
        from math import sin

        return exponential(x[0]) * sin(x[1])

    agrees(f, X)


def test_import_of_math_inside_the_function():
    def f(x):
        import math as m

        return m.exp(x[0]) * m.log(x[1])

    agrees(f, X)


def test_import_of_numpy_inside_the_function():
    def f(x):
        import numpy as anp

        y = anp.zeros(2)
        y[0] = x[0]
        y[1] = x[1] ** 2
        return anp.sum(anp.array([y[0] * y[1], x[2]]))

    agrees(f, X)


def test_import_of_names_of_numpy_inside_the_function():
    def f(x):
        from numpy import array as arr
        from numpy import zeros as z
        from numpy.linalg import norm as length

        y = z(2)
        y[:] = x[:2] ** 2
        return length(arr([y[0], x[3], y[1]]))

    agrees(f, X)


def test_import_of_scipy_inside_the_function():
    def f(x):
        import scipy.special as sp
        from scipy.special import gammaln as lg

        return sp.expit(x[0]) * lg(x[3]) + sp.erf(x[1])

    agrees(f, X)


def test_import_inside_a_helper():
    def helper(a):
        import math

        import numpy as np

        out = np.empty(2)
        out[0] = math.exp(a)
        out[1] = a
        return out

    agrees(lambda x: np.prod(helper(x[0] * x[1])), X)


def test_float_of_an_element():
    agrees(lambda x: float(x[0]) * x[1] + float(x[2] ** 2), X)


def test_float_beside_comparisons_of_types():
    def scale(a):
        return 2.0 if type(a) is float else 3.0

    right_or_refused(lambda x: float(x[0]) * x[1] * scale(1.0), X)


def test_float_of_an_array_of_one_element():
    def f(x):
        return float(x.reshape(2, 2)[:1, 0].sum()) * x[1]

    agrees(f, X)


def test_numpy_scalar_types():
    agrees(lambda x: np.float64(x[0]) * np.double(x[1]) + np.float64(x[2] * x[3]), X)


def test_item_and_tolist():
    def f(x):
        a, b, c, d = x.tolist()
        return x[0].item() * x.item(1) + a * b**2 + np.sum(x * x).item() + c * d

    agrees(f, X)


def test_builtins_abs_pow_round_divmod():
    def f(x):
        whole, rest = divmod(x[3], 1.5)
        return abs(-x[0]) * pow(x[1], 2) + pow(2.0, x[2]) + rest * whole + round(x[3]) * x[1]

    agrees(f, X)


def test_builtins_sum_min_max_sorted():
    def f(x):
        small, *_, large = sorted(x)
        return sum(x) * max(x[0], x[1], x[2]) + min(x) * small + max(x) * large + max(x[0], 0.0) + sum(x[:2], x[3])

    agrees(f, X)


def test_builtins_with_a_key_and_a_default():
    def f(x):
        nearest = min(range(4), key=lambda i: abs(x[i] - 1.2))
        order = sorted(range(4), key=lambda i: -x[i])
        return x[nearest] * x[order[0]] + max((one for one in x if one > 100), default=x[2]) ** 2

    agrees(f, X)


def test_builtins_all_any_map_filter_zip_enumerate_reversed():
    def f(x):
        total = x[0] if all(one > 0 for one in x) and any(x > 2) else 0.0
        total = total + sum(map(lambda a, b: a * b, x, x[1:]))
        total = total + sum(filter(lambda one: one > 0.5, x))
        for i, (a, b) in enumerate(zip(x, reversed(x), strict=True)):
            total = total + i * a * b**2
        return total

    agrees(f, X)


def test_reduce_and_itertools():
    def f(x):
        product = reduce(operator.mul, x)
        horner = functools.reduce(lambda total, one: total * x[1] + one, x)
        pairs = sum(a * b for a, b in itertools.combinations(x, 2))
        running = list(itertools.accumulate(x, lambda a, b: a * b + 1))
        return product + horner + pairs + running[-1] + sum(a * b for a, b in itertools.pairwise(x))

    agrees(f, X)


def test_operator_module():
    def f(x):
        return operator.add(operator.getitem(x, 0), operator.pow(x[1], 2)) + operator.itemgetter(1, 2)(x)[1] * x[3]

    agrees(f, X)


# --- arrays of values -------------------------------------------------------------------------------------------------


def test_array_of_elements():
    agrees(lambda x: np.sum(np.array([x[0] ** 2, x[1] * x[2], 3.0]) ** 2), X)


def test_array_of_nested_lists():
    def f(x):
        rotation = np.array([[np.cos(x[0]), -np.sin(x[0])], [np.sin(x[0]), np.cos(x[0])]])
        return np.sum(rotation @ x[1:3]) + np.sum(np.array([x, x**2]) @ x)

    agrees(f, X)


def test_array_of_mixed_rows():
    def f(x):
        m = np.array([[x[0], 1, 2.0, 0], x, np.ones(4), list(x)])
        return np.linalg.det(m + np.eye(4)) + m[0, 1]

    agrees(f, X)


def test_asarray_of_a_list_with_dtype():
    agrees(
        lambda x: np.prod(np.asarray([x[0], x[1], 2], dtype=float)) + np.array((x[2], x[3]), dtype=np.float64) @ x[:2],
        X,
    )


def test_array_by_bare_names():
    def f(x):
        y = zeros(2)
        y[0] = sine(x[0])
        return norm(concatenate([y, array([x[1], x[2]])])) + solve(array([[2.0, x[0]], [0.0, 1.0]]), x[:2])[0]

    agrees(f, X)


def test_list_of_arrays_as_an_array():
    def f(x):
        rows = [x * i for i in range(1, 4)]
        return np.sum(np.array(rows) ** 2) + np.mean(rows) + np.max([x[0], x[1]]) + np.dot([x[0], 1.0], [2.0, x[1]])

    agrees(f, X)


def test_r_and_c():
    def f(x):
        a = np.r_[x[0], 1.0, x[1:3] ** 2, 5]
        b = np.c_[x, x**2, np.ones(4)]
        return np.sum(a * a) + np.sum(b @ np.array([1.0, 2.0, 3.0]))

    agrees(f, X)


def test_stack_concatenate_append_insert():
    def f(x):
        a = np.vstack([x, np.ones(4), [x[0], x[1], 0, 1]])
        b = np.append(x, x[0] * x[1])
        c = np.concatenate([x[:2], [x[3], 2.0]])
        d = np.hstack((x[0], x[1:], 0.0))
        return np.sum(a @ c) + b[-1] * np.sum(b) + np.sum(d**2) + np.sum(np.insert(x, 1, x[3]))

    agrees(f, X)


def test_where_with_sqrt():
    def f(x):
        return np.sum(np.where(x > 1, np.sqrt(np.abs(x - 1)), x**2))

    agrees(f, X)


def test_where_does_not_leak_nan():
    found = cr.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)))(np.array([4.0, 0.0, -1.0]))
    close(found, np.array([0.25, 0.0, 0.0]))


def test_where_with_one_argument_and_boolean_index():
    def f(x):
        rows = np.where(x > 1)[0]
        return np.sum(x[rows] ** 2) * np.sum(x[x < 1]) + x[np.argmax(x)] * x[np.argsort(x)[0]]

    agrees(f, X)


def test_linspace_between_values():
    agrees(lambda x: np.sum(np.linspace(x[0], x[1], 5) ** 2) + np.sum(np.linspace(0, 1, 3) * x[0]), X)


def test_meshgrid_outer_broadcast():
    def f(x):
        a, b = np.meshgrid(x, x[:2])
        return (
            np.sum(np.sin(a * b)) + np.sum(np.outer(x, x) * np.add.outer(x, x)) + np.sum(x[:, None] * x[None, :] ** 2)
        )

    agrees(f, X)


def test_vectorize_of_a_python_function():
    step = np.vectorize(lambda a, b: a * b if a > b else math.exp(a))
    agrees(lambda x: np.sum(step(x, 1.0)), X)


def test_vectorize_as_a_decorator():
    @np.vectorize
    def step(a):
        return a**2 if a > 1 else math.sin(a)

    agrees(lambda x: np.sum(step(x) * x), X)


def test_vectorize_inside_the_function():
    def f(x):
        return np.sum(np.vectorize(lambda a: a * x[0] if a > 1 else a**3)(x))

    agrees(f, X)


def test_vectorize_with_otypes_and_excluded_plain_data():
    step = np.vectorize(lambda a, k: a**k, otypes=[float])
    agrees(lambda x: np.sum(step(x, np.array([1, 2, 3, 2]))), X)


def test_frompyfunc_or_an_error():
    step = np.frompyfunc(lambda a: a * a, 1, 1)
    try:
        found = cr.grad(lambda x: np.sum(step(x)))(X)
    except cr.ChainruleError:
        return
    close(found, 2 * X)


def test_apply_along_axis():
    def f(x):
        return np.sum(np.apply_along_axis(lambda row: row[0] * row, 1, x.reshape(2, 2)))

    try:
        agrees(f, X)
    except cr.NoRule:
        pytest.skip("no rule yet")


def test_piecewise_and_select():
    def f(x):
        a = np.select([x < 0.5, x < 1.5], [x**2, x**3], default=1.0)
        return np.sum(a * x)

    agrees(f, X)


def test_einsum_and_tensordot():
    def f(x):
        m = x.reshape(2, 2)
        return np.einsum("ij,jk->", m, m) + np.sum(np.tensordot(m, m, 1)) + np.einsum("ii", m) + np.trace(m @ m)

    agrees(f, X)


# --- SciPy as imported ------------------------------------------------------------------------------------------------


def test_scipy_special_in_every_way_of_import():
    def f(x):
        return np.sum(expit(x)) + scipy.special.erf(x[0]) * special.gammaln(x[1] + 2) + gammaln(x[3])

    agrees(f, X)


def test_scipy_special_with_lists_and_keywords():
    def f(x):
        return special.logsumexp(x) + special.logsumexp(x.reshape(2, 2), axis=1)[0] + special.softmax(x)[1] * x[0]

    agrees(f, X)


def test_scipy_linalg_solve():
    def f(x):
        a = np.array([[2.0 + x[0], x[1]], [x[1], 3.0]])
        return np.sum(scipy.linalg.solve(a, x[2:]))

    try:
        agrees(f, X)
    except cr.NoRule:
        pytest.skip("no rule yet")


def test_numpy_linalg():
    def f(x):
        a = np.outer(x, x) + np.eye(4)
        return np.sum(np.linalg.solve(a, x)) + np.linalg.slogdet(a)[1] + np.linalg.norm(x) + np.linalg.inv(a)[0, 1]

    agrees(f, X)


# --- state ------------------------------------------------------------------------------------------------------------


def test_random_generator_inside():
    def f(x):
        rng = np.random.default_rng(7)
        noise = rng.normal(size=(3, 4))
        y = noise @ x + rng.uniform(1.0, 2.0) * x[0]
        return np.sum(y**2)

    agrees(f, X)


def test_legacy_random_state_inside():
    def f(x):
        state = np.random.RandomState(3)
        random.seed(4)
        return np.sum((state.randn(4) * x) ** 2) + random.gauss(0, 1) * x[0] + random.random() * x[1]

    agrees(f, X)


def test_random_array_that_is_written_to():
    def f(x):
        y = np.random.default_rng(1).normal(size=4)
        y[0] = x[0] * x[1]
        y += x
        return np.sum(y**2)

    right_or_refused(f, X)


def test_class_with_state():
    class Network:
        def __init__(self, hidden):
            self.w = np.linspace(-1, 1, hidden * 4).reshape(hidden, 4)
            self.calls = 0

        def _activate(self, z):
            return np.tanh(z)

        def forward(self, x):
            self.calls += 1
            self.z = self.w @ x
            self.a = self._activate(self.z)
            return self.a

        def loss(self, x):
            return np.sum((self.forward(x) - 0.5) ** 2) + np.sum(self.z * self.a)

    network = Network(3)
    agrees(network.loss, X)
    assert network.calls > 2
    agrees(Network(2).loss, X)


def test_bound_method_differentiated_by_its_own_attribute():
    class Model:
        def __init__(self):
            self.theta: Any = None

        def fit_value(self, theta):
            self.theta = theta
            return self.penalty() + self.theta @ self.theta

        def penalty(self):
            return np.abs(self.theta).sum() * 0.1

    agrees(Model().fit_value, X)


def test_object_with_a_call_method_and_a_property():
    class Quadratic:
        scale = 2.0

        def __init__(self, a):
            self.a = a

        @property
        def matrix(self):
            return math.exp(self.scale) * np.diag(self.a)

        @staticmethod
        def half(v):
            return 0.5 * math.fabs(v)

        @classmethod
        def make(cls, n):
            return cls(np.arange(1.0, n + 1))

        def __call__(self, x):
            return self.half(x @ self.matrix @ x)

    agrees(Quadratic.make(4), X)


def test_subclass_with_super():
    class Base:
        def value(self, x):
            return math.exp(x[0]) + self.extra(x)

        def extra(self, x):
            return 0.0

    class Derived(Base):
        def extra(self, x):
            return super().extra(x) + math.sin(x[1]) * x[2]

    agrees(Derived().value, X)


def test_operators_of_a_user_class():
    class Dual:
        def __init__(self, a, b):
            self.a, self.b = a, b

        def __add__(self, other):
            return Dual(self.a + other.a, self.b + other.b)

        def __mul__(self, other):
            return Dual(self.a * other.a, self.a * other.b + self.b * other.a)

        def __getitem__(self, i):
            return (self.a, self.b)[i]

    def f(x):
        y = Dual(x[0], x[1]) * Dual(x[2], x[3]) + Dual(x[0], 1.0)
        return y[0] * y[1]

    agrees(f, X)


def test_context_manager_and_slots():
    class Scope:
        __slots__ = ("total",)

        def __enter__(self):
            self.total = 0.0
            return self

        def __exit__(self, *exception):
            self.total = self.total * 2

    def f(x):
        with Scope() as scope:
            scope.total = scope.total + math.exp(x[0]) * x[1]
        return scope.total

    agrees(f, X)


def test_closure_over_data_that_changes_between_calls():
    data = np.array([1.0, 2.0, 3.0, 4.0])
    scale = 2.0

    def f(x):
        return scale * np.sum(data * x**2)

    gradient = cr.grad(f)
    close(gradient(X), 2 * scale * data * X)
    data[:] = 7.0
    close(gradient(X), 2 * scale * data * X)
    scale = -1.0
    close(gradient(X), 2 * scale * data * X)
    data = np.array([0.0, 1.0, 0.0, 1.0])
    close(gradient(X), 2 * scale * data * X)


def test_closure_over_a_large_array_that_changes_between_calls():
    data = np.ones(5000)

    def f(x):
        return np.sum(data) * x[0] + np.sum(data[:4] * x)

    gradient = cr.grad(f)
    close(gradient(X), np.array([5001.0, 1, 1, 1]))
    data[1] = 11.0
    close(gradient(X), np.array([5011.0, 11, 1, 1]))


_FACTOR = 3.0


def _scaled_by_a_global(x):
    return _FACTOR * np.sum(x**2)


def test_global_that_changes_between_calls():
    global _FACTOR
    gradient = cr.grad(_scaled_by_a_global)
    try:
        for _FACTOR in (3.0, -2.0, np.float64(5.0)):
            close(gradient(X), 2 * float(_FACTOR) * X)
    finally:
        _FACTOR = 3.0


def _first_helper(x):
    return x**2


def _second_helper(x):
    return np.sin(x) * math.exp(x[0])


_CHOSEN = _first_helper


def _calls_a_chosen_helper(x):
    return np.sum(_CHOSEN(x))


def test_global_function_that_is_replaced_between_calls():
    global _CHOSEN
    try:
        agrees(_calls_a_chosen_helper, X)
        _CHOSEN = _second_helper
        agrees(_calls_a_chosen_helper, X)
    finally:
        _CHOSEN = _first_helper


def test_attribute_that_changes_between_calls():
    class Model:
        power = 2

    model = Model()
    gradient = cr.grad(lambda x: np.sum(x**model.power))
    close(gradient(X), 2 * X)
    model.power = 3
    close(gradient(X), 3 * X**2)


def test_default_argument_that_is_written_to_between_calls():
    def f(x, weights=[1.0, 2.0]):
        return weights[0] * x[0] + weights[1] * x[1] ** 2

    gradient = cr.grad(f)
    close(gradient(X), np.array([1.0, 5.2, 0, 0]))
    defaults: Any = f.__defaults__
    defaults[0][0] = 9.0
    close(gradient(X), np.array([9.0, 5.2, 0, 0]))


def test_counter_that_changes_the_function():
    state = {"n": 0}

    def f(x):
        state["n"] += 1
        return x[0] ** state["n"]

    gradient = cr.grad(f)
    for n in (1, 2, 3):
        close(gradient(np.array([2.0]))[0], float(n * 2 ** (n - 1)))


_WORK = np.zeros(4)


def _uses_a_global_work_array(x):
    _WORK[:] = 0.0
    _WORK[0] = 3.0
    return np.sum(x * _WORK) + np.sum(x)


def test_global_work_array_with_plain_writes():
    agrees(_uses_a_global_work_array, X)


def test_partial():
    def f(a, b, x, *, c):
        return a * np.sum(x**b) + c * math.exp(x[0])

    agrees(functools.partial(f, 2.0, 3, c=0.5), X)
    inner = functools.partial(f, 1.0)
    agrees(lambda x: inner(2, x, c=1.0), X)


def test_partial_with_a_plain_array():
    def f(data, x):
        work = data.copy()
        work[0] = x[0]
        return math.exp(np.sum(work * x))

    right_or_refused(functools.partial(f, np.full(4, 0.1)), X)


def test_recursive_function():
    def power(x, n):
        if n == 0:
            return 1.0
        half = power(x, n // 2)
        return half * half * (x if n % 2 else 1.0)

    agrees(lambda x: power(x[0], 5) * math.cos(x[1]), X)


def test_recursion_until_a_value():
    def grow(y, rate):
        return y if y > 5 else grow(y * (1 + rate), rate)

    agrees(lambda x: grow(x[0], x[1]), X)


def test_mutual_recursion_over_halves():
    def total(v):
        return v[0] ** 2 if len(v) == 1 else other(v[: len(v) // 2]) * total(v[len(v) // 2 :])

    def other(v):
        return math.exp(v[0]) if len(v) == 1 else total(v[: len(v) // 2]) + other(v[len(v) // 2 :])

    agrees(total, X)


def test_generator_function():
    def orbit(x):
        y = x[0]
        for one in x[1:]:
            y = y * one + math.sin(y)
            yield y

    agrees(lambda x: sum(orbit(x)), X)


def test_generator_expression_and_comprehensions():
    def f(x):
        a = sum(one**2 for one in x)
        b = {i: x[i] * a for i in range(4)}
        c = [b[i] for i in b if x[i] > 0.5]
        return sum([one * 2 for one in c]) + sum(v for v in b.values())

    agrees(f, X)


def test_decorated_function():
    def doubled(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return 2 * function(*args, **kwargs)

        return wrapper

    @doubled
    def f(x):
        return math.exp(x[0]) * np.array([x[1], x[2]]).sum()

    agrees(f, X)


def test_decorated_by_a_class():
    class Logged:
        def __init__(self, function):
            self.function = function
            self.calls = 0

        def __call__(self, *args):
            self.calls += 1
            return self.function(*args)

    @Logged
    def f(x):
        return math.exp(x[0]) * x[1]

    agrees(f, X)
    agrees(lambda x: f(x * 2), X)


def test_cached_helper_on_plain_arguments():
    @functools.lru_cache
    def binomial(n, k):
        return math.comb(n, k)

    agrees(lambda x: sum(binomial(3, k) * x[0] ** k * x[1] ** (3 - k) for k in range(4)), X)


def test_cached_helper_on_values():
    @functools.cache
    def g(a):
        return math.exp(a) * a

    agrees(lambda x: g(x[0]) * g(x[1]) + g(x[0]), X)
    assert g(1.0) == math.e


def test_cached_helper_of_a_module():
    agrees(lambda x: _cached_square(x[0]) + _cached_square(2.0) * x[1], X)
    assert type(_cached_square(3.0)) is float


@functools.cache
def _cached_square(a):
    return a * a * math.exp(0.0)


def test_cached_property():
    class Model:
        def __init__(self, x):
            self.x = x

        @functools.cached_property
        def energy(self):
            return math.exp(self.x[0]) * np.sum(self.x)

    agrees(lambda x: Model(x).energy ** 2 / Model(x).energy, X)


def test_singledispatch():
    @functools.singledispatch
    def size(a):
        return 0.0

    @size.register
    def _(a: np.ndarray):
        return np.sum(a**2)

    @size.register
    def _(a: list):
        return sum(size(one) for one in a)

    agrees(lambda x: size([x, x * 2]), X)


def test_function_held_in_a_dictionary_or_list():
    table = {"a": lambda v: math.exp(v), "b": math.sin}
    steps: list[Any] = [np.tanh, lambda v: v * math.cos(v[0])]

    def f(x):
        y = x
        for step in steps:
            y = step(y)
        return table["a"](y[0]) + table["b"](x[1])

    agrees(f, X)


def test_function_given_as_an_argument():
    def integrate(g, a, b, n=8):
        h = (b - a) / n
        return h * sum(g(a + (i + 0.5) * h) for i in range(n))

    agrees(lambda x: integrate(lambda t: math.exp(-t * x[0]), x[1], x[3]), X)


def test_math_function_given_as_an_argument():
    def twice(g, v):
        return g(g(v))

    agrees(lambda x: twice(math.sin, x[0]) + twice(np.tanh, x[1]), X)


def test_closure_that_holds_modules():
    def make(xp, m):
        def f(x):
            y = xp.zeros(2)
            y[0] = m.exp(x[0])
            y[1] = x[1]
            return xp.prod(y)

        return f

    agrees(make(np, math), X)


def test_class_that_holds_modules():
    class Backend:
        xp = np

        def __init__(self):
            self.m = math

        def value(self, x):
            y = self.xp.zeros(2)
            y[0] = self.m.exp(x[0])
            y[1] = x[1]
            return self.xp.prod(y)

    agrees(Backend().value, X)


def test_default_argument_that_holds_a_function():
    def f(x, activation=math.tanh, maker=np.array):
        return activation(x[0]) * maker([x[1], x[2]]).sum()

    agrees(f, X)


def test_module_found_by_getattr():
    def f(x):
        return getattr(math, "ex" + "p")(x[0]) * getattr(np, "array")([x[1], 1.0]).sum()

    agrees(f, X)


# --- functions of other modules ---------------------------------------------------------------------------------------

_PACKAGE = {
    "__init__.py": """
        from .model import energy
        from . import util
        CONSTANT = 2.0
    """,
    "model.py": """
        import numpy as np
        from math import exp
        from .util import weights, norm_of as length
        from . import util
        import planetary.deep.inner as inner

        def energy(x):
            w = weights(len(x))
            w[0] = x[0] * exp(-x[1])
            return length(w) + util.penalty(x) + inner.core(x)
    """,
    "util.py": """
        import math
        from numpy import zeros, array, sqrt

        def weights(n):
            return zeros(n)

        def norm_of(v):
            return sqrt(sum(one ** 2 for one in v)) + 0.1

        def penalty(x):
            import numpy
            return math.log(array([x[0], x[1]]).sum()) * float(x[2]) + numpy.zeros(2).sum()
    """,
    "deep/__init__.py": "",
    "deep/inner.py": """
        from __future__ import annotations
        import math as m
        import numpy as np
        from ..util import zeros as make

        class Core:
            def __init__(self, x):
                self.state = make(3)
                self.x = x

            def run(self):
                for i in range(3):
                    self.state[i] = m.sin(self.x[i])
                return np.prod(self.state)

        def core(x):
            return Core(x).run()
    """,
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, text in _PACKAGE.items():
        path = tmp_path / "planetary" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("planetary")
    for name in [one for one in sys.modules if one.partition(".")[0] == "planetary"]:
        del sys.modules[name]


def test_function_of_another_package(package):
    agrees(package.energy, X)


def test_function_of_another_package_called_by_ours(package):
    agrees(lambda x: package.model.energy(x) * package.util.penalty(x), X)


def test_function_of_another_package_imported_inside(package):
    def f(x):
        from planetary.deep.inner import core  # type: ignore[import-not-found]
        from planetary.util import penalty  # type: ignore[import-not-found]

        return core(x) * penalty(x)

    agrees(f, X)


def test_package_imported_for_the_first_time_inside(package):
    for name in [one for one in sys.modules if one.partition(".")[0] == "planetary"]:
        del sys.modules[name]

    def f(x):
        import planetary.model  # type: ignore[import-not-found]

        return planetary.model.energy(x)

    agrees(f, X)


def test_class_of_another_package(package):
    agrees(lambda x: package.model.inner.Core(x * 2).run(), X)


def test_modules_of_a_package_are_as_before(package):
    before = {name: dict(vars(module)) for name, module in sys.modules.items() if name.partition(".")[0] == "planetary"}
    cr.grad(package.energy)(X)
    for name, names in before.items():
        after = vars(sys.modules[name])
        assert set(names) == set(after)
        assert all(after[key] is value for key, value in names.items())


def test_code_made_by_exec():
    space: dict[str, Any] = {}
    exec(
        textwrap.dedent(
            """
            import math
            from numpy import zeros
            def f(x):
                y = zeros(2)
                y[0] = math.exp(x[0])
                y[1] = x[1]
                return y[0] * y[1]
            """
        ),
        space,
    )
    agrees(space["f"], X)


def test_code_made_by_eval():
    def f(x):
        return eval("math.exp(x[0]) * np.array([x[1], 2.0]).sum()")

    agrees(f, X)


# --- exceptions -------------------------------------------------------------------------------------------------------


def test_except_branch_of_failing_maths():
    def f(x):
        try:
            return math.log(x[0] - 1.0)
        except ValueError:
            return math.exp(x[0]) * x[1]

    agrees(f, X)
    agrees(f, X + 1)


def test_except_branch_of_a_square_root_and_a_power():
    def f(x):
        total = 0.0
        for one in x:
            try:
                total = total + math.sqrt(one - 1.0)
            except ValueError:
                total = total + one**2
            try:
                total = total + math.exp(one * 2000)
            except OverflowError:
                total = total + one
        return total

    agrees(f, X)


def test_zero_division_of_python_numbers():
    def f(x):
        try:
            return x[0] * (1 / 0)
        except ZeroDivisionError:
            return x[0] * x[1]

    agrees(f, X)


def test_exceptions_as_control_flow():
    class Done(Exception):
        def __init__(self, value):
            self.value = value

    def search(x):
        for one in x:
            if one > 1:
                raise Done(one * x[0])

    def f(x):
        try:
            search(x)
        except Done as found:
            return found.value
        finally:
            x = None
        return 0.0

    agrees(f, X)


def test_index_error_and_attribute_error():
    def f(x):
        total = 0.0
        try:
            for i in range(100):
                total = total + x[i] ** 2
        except IndexError:
            total = total * x[0]
        try:
            total = total + x.no_such_thing
        except AttributeError:
            total = total + x[1]
        return total

    agrees(f, X)


def test_linalg_error_falls_back():
    def f(x):
        a = np.zeros((2, 2))
        a[0, 0] = x[0]
        try:
            return np.sum(np.linalg.solve(a, x[:2]))
        except np.linalg.LinAlgError:
            return np.sum(x**2)

    agrees(f, X)


def test_suppress_and_finally():
    def f(x):
        y = x[0] * 1.0
        with contextlib.suppress(ValueError):
            y = y + math.log(-x[1])
        try:
            y = y * x[2]
        finally:
            y = y + x[3] ** 2
        return y

    agrees(f, X)


def test_assert_on_values():
    def f(x):
        assert np.all(x > 0), "positive"
        assert x.shape == (4,)
        assert x[0] < x[1]
        return np.sum(np.log(x))

    agrees(f, X)


def test_errstate_and_warnings():
    def f(x):
        with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = np.log(x)
        with np.errstate(all="raise"):
            z = y * x
        return np.sum(z)

    agrees(f, X)


# --- looking at values ------------------------------------------------------------------------------------------------


def test_printing(capsys):
    def f(x):
        print(x[0], "and", x[1:3])
        print(f"{x[0]:.3f} {x[1]!r} {x[2]:>8.2e}", "%.2f" % x[3], "{:.1f}".format(x[0]))
        return np.sum(x**2)

    cr.grad(f)(X)
    shown = capsys.readouterr().out
    f(X)
    assert capsys.readouterr().out == shown


def test_printing_of_derived_arrays(capsys):
    def f(x):
        y = np.zeros((2, 2))
        y[0, 0] = x[0]
        print(y, x.reshape(2, 2) @ y, np.sum(x), [x[0], x[1]])
        print(str(y), repr(x[1]), np.array2string(x, precision=2), sep="\n")
        return np.sum(y)

    try:
        cr.grad(f)(X)
    except cr.ChainruleError as refusal:
        pytest.fail(f"printing is refused: {refusal}")
    shown = capsys.readouterr().out
    f(X)
    assert capsys.readouterr().out == shown


def test_log_of_values_to_a_stream():
    def f(x):
        stream = io.StringIO()
        for one in x:
            stream.write(f"{one:.6f}\n")
        return np.sum(x) * len(stream.getvalue().splitlines())

    agrees(f, X)


def test_isinstance():
    def f(x):
        assert isinstance(x, np.ndarray)
        assert not isinstance(x, float | list | tuple)
        assert isinstance(x[0], float)
        assert isinstance(x[0], np.floating)
        assert isinstance(x[0], np.float64)
        assert isinstance(x[0], numbers.Real)
        assert isinstance(x[0], numbers.Number)
        assert not isinstance(x[0], int | str)
        assert isinstance(np.sum(x), np.generic)
        assert isinstance(x[:2], collections.abc.Iterable)
        assert isinstance(np.zeros(3), np.ndarray)
        assert np.isscalar(x[0])
        assert not np.isscalar(x)
        assert isinstance(1.0, float)
        assert not isinstance(1, float)
        return x[0] * x[1]

    agrees(f, X)


def test_isinstance_of_a_number_argument():
    def f(x):
        if isinstance(x, float | int):
            return math.exp(x)
        return 0.0 * x

    close(cr.grad(f)(0.5), math.exp(0.5))


def test_duck_typing():
    def f(x):
        if (
            hasattr(x, "__len__")
            and hasattr(x, "shape")
            and not hasattr(x, "keys")
            and np.iterable(x)
            and not callable(x)
        ):
            return sum(one * one for one in x)
        return x[0]

    agrees(f, X)


def test_shape_and_size_attributes():
    def f(x):
        m = x.reshape(2, 2)
        rows, columns = m.shape
        assert (len(x), x.size, x.ndim, m.ndim, np.shape(m), np.ndim(x), np.size(x)) == (4, 4, 1, 2, (2, 2), 1, 4)
        assert x.dtype == float
        assert x.dtype == np.float64
        assert np.issubdtype(x.dtype, np.floating)
        assert x.itemsize * x.size == x.nbytes
        assert bool(x[0] == x[0])
        n = rows * columns / x.shape[0]
        return np.sum(x) / x.size * n + np.zeros(x.shape).sum() + np.finfo(x.dtype).eps * x[0]

    agrees(f, X)


def test_copies():
    def f(x):
        a, b, c, d = copy.copy(x), copy.deepcopy(x), x.copy(), np.copy(x)
        a[0] = 0.0
        b[1] = x[0] ** 2
        c *= 2.0
        d[2] = 1.0
        held = copy.deepcopy({"v": x, "w": [x[0], 2.0]})
        held["v"][3] = 5.0
        return np.sum(x * x) + np.sum(a) + np.sum(b) + np.sum(c) + np.sum(d) + np.sum(held["v"]) + held["w"][0]

    agrees(f, X)


def test_iteration_in_every_way():
    def f(x):
        total = 0.0
        m = x.reshape(2, 2)
        for one in x:
            total += one**2
        for row in m:
            for one in row:
                total += one * x[0]
        for one in m.flat:
            total += one**3
        for index, one in np.ndenumerate(m):
            total += one * (1 + sum(index))
        for index in np.ndindex(2, 2):
            total += m[index] ** 2
        for i in reversed(range(len(x))):
            total += x[i] * i
        return total

    agrees(f, X)


def test_nditer_or_an_error():
    def f(x):
        total: Any = 0.0
        for one in np.nditer(x):
            total = total + np.square(one)
        return total

    try:
        found = cr.grad(f)(X)
    except cr.ChainruleError:
        return
    close(found, 2 * X)


def test_unpacking():
    def f(x):
        a, b, *rest = x
        (c, d), (e, g) = x.reshape(2, 2)
        return a * b + sum(rest) + c * g + d * e + operator.mul(*x[:2])

    agrees(f, X)


def test_membership_and_equality():
    def f(x):
        if 1.3 in x and x[0] == 0.7 and x[1] != 0 and (x == X).all() and np.array_equal(x, X) and np.allclose(x, X):
            return x[0] * x[1]
        return x[2]

    close(cr.grad(f)(X), np.array([1.3, 0.7, 0, 0]))


# --- arguments and results --------------------------------------------------------------------------------------------


class Parameters(NamedTuple):
    weight: Any
    bias: Any


@dataclasses.dataclass
class State:
    position: Any
    velocity: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    scale: Any
    shape: Any


def test_dictionary_argument():
    def f(p):
        return np.sum(np.tanh(p["w"] @ X + p["b"]) ** 2) * p["s"]

    found = agrees(f, {"w": np.ones((2, 4)) * 0.1, "b": np.array([0.1, 0.2]), "s": 0.5})
    assert list(found) == ["w", "b", "s"]


def test_nested_list_and_tuple_argument():
    found = agrees(lambda p: sum(np.sum(w * b) for w, b in p), [(np.ones(2), 2.0), (np.array([1.0, 3.0]), 0.5)])
    assert type(found) is list
    assert type(found[0]) is tuple


def test_named_tuple_argument():
    found = agrees(lambda p: np.sum(p.weight**2) * p.bias, Parameters(X, 2.0))
    assert type(found) is Parameters


@pytest.mark.parametrize("kind", [State, Frozen])
def test_dataclass_argument(kind):
    def f(s):
        a, b = (getattr(s, field.name) for field in dataclasses.fields(s))
        return 0.5 * np.sum(a**2) * b

    assert type(cr.grad(f)(kind(X, 2.0))) is kind
    found = cr.grad(f)(kind(X, 2.0))
    close(dataclasses.astuple(found), (2.0 * X, 0.5 * float(X @ X)))


def test_dataclass_replaced_in_a_loop():
    def f(x):
        state = State(x[:2], x[2:])
        for _ in range(5):
            state = dataclasses.replace(state, velocity=state.velocity - 0.1 * state.position)
            state.position = state.position + 0.1 * state.velocity
        return np.sum(state.position**2 + state.velocity**2)

    agrees(f, X)


def test_containers_inside_the_function():
    def f(x):
        queue = collections.deque(x)
        queue.rotate(1)
        counts: Any = collections.defaultdict(float)
        for i, one in enumerate(queue):
            counts[i % 2] += one**2
        pair = Parameters(counts[0], bias=counts[1])
        stack = [pair.weight]
        stack.append(stack.pop() * pair._replace(bias=x[0]).bias)
        ordered = collections.OrderedDict(a=stack[0], b=x[1])
        ordered.move_to_end("a")
        return sum(ordered.values())

    agrees(f, X)


def test_variable_arguments_and_keywords():
    def g(*args, scale=1.0, **kwargs):
        return sum(args) * scale + kwargs["shift"]

    agrees(lambda x: g(*x, scale=x[0], shift=x[1] ** 2), X)
    agrees(lambda x: g(*list(x[:2]), **{"scale": 2.0, "shift": x[3]}), X)


def test_keyword_and_default_arguments_pass_through():
    def f(x, power=2, *, scale=1.0, data=None):
        return scale * np.sum(x**power) + (0.0 if data is None else np.sum(data * x))

    close(cr.grad(f)(X), 2 * X)
    close(cr.grad(f)(X, 3, scale=2.0), 6 * X**2)
    close(cr.grad(f)(X, data=np.ones(4)), 2 * X + 1)


def test_argument_used_twice():
    agrees(lambda x: (lambda a, b: np.sum(a * b**2))(x, x), X)


def test_argument_that_is_not_used():
    assert cr.grad(lambda x, y: x * x, argnums=1)(3.0, 2.0) == 0.0
    close(cr.grad(lambda x: 5.0)(X), np.zeros(4))
    close(cr.grad(lambda x: np.sum(np.ones(3)))(X), np.zeros(4))


def test_results_in_containers():
    value, pullback = cr.vjp(lambda x: {"a": x[0] * x[1], "b": [x, (x[2],)]}, X)
    assert type(value["b"][1]) is tuple
    close(pullback({"a": 1.0, "b": [np.zeros(4), (2.0,)]}), (np.array([1.3, 0.7, 2.0, 0.0]),))


def test_scalar_argument_in_every_form():
    def f(x):
        return math.sin(x) * x**2

    expected = math.cos(0.7) * 0.49 + 2 * 0.7 * math.sin(0.7)
    for given in (0.7, np.float64(0.7), np.array(0.7)):
        found = cr.grad(f)(given)
        close(found, np.float64(expected))
        assert isinstance(found, np.floating | np.ndarray)


def test_float32_stays_float32():
    x = X.astype(np.float32)

    def f(x):
        y = np.zeros_like(x)
        y[0] = x[0] * x[1]
        y[1:] = np.sin(x[1:]) * 2.0
        return np.sum(y**2)

    value, found = cr.value_and_grad(f)(x)
    assert value.dtype == np.float32
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, cr.grad(f)(x.astype(float)), rtol=1e-5)


def test_lambda_in_a_default_and_late_binding():
    functions = [lambda v, k=k: v**k * math.exp(k) for k in (1, 2)]
    late = [lambda v: v * scale for scale in (2.0, 3.0)]
    agrees(lambda x: sum(g(x[0]) for g in functions) + late[0](x[1]), X)


def test_nonlocal_variable():
    def f(x):
        total = 0.0

        def add(one):
            nonlocal total
            total += one**2

        for one in x:
            add(one)
        return total

    agrees(f, X)


_TOTAL: Any = 0.0


def _accumulates_in_a_global(x):
    global _TOTAL
    _TOTAL = 0.0
    for one in x:
        _TOTAL = _TOTAL + one**2
    result, _TOTAL = _TOTAL, 0.0
    return result


def test_global_variable_as_an_accumulator():
    agrees(_accumulates_in_a_global, X)
    assert type(_TOTAL) is float


def test_string_keys_made_of_shapes():
    def f(x):
        table = {f"{x.shape[0]}": x[0], f"k{int(x[3])}": x[1]}
        return table["4"] * table["k2"]

    agrees(f, X)


def test_large_function_of_many_kinds():
    """A small simulation: a class, a loop, in-place writes, math, a branch on a value."""

    class Body:
        def __init__(self, position, mass):
            self.position = position
            self.velocity = np.zeros(2)
            self.mass = mass

        def step(self, force, dt):
            self.velocity += dt * force / self.mass
            self.position = self.position + dt * self.velocity

    def f(x):
        bodies = [Body(x[:2], 1.0), Body(np.array([x[2], -0.5]), float(x[3]))]
        energy = 0.0
        for _ in range(6):
            forces = [np.zeros(2) for _ in bodies]
            for i, a in enumerate(bodies):
                for j, b in enumerate(bodies):
                    if i != j:
                        d = b.position - a.position
                        r = math.sqrt(d[0] ** 2 + d[1] ** 2 + 0.1)
                        forces[i] += a.mass * b.mass * d / r**3
            for body, force in zip(bodies, forces, strict=True):
                body.step(force, 0.05)
                if body.position[0] > 2:
                    body.velocity[0] *= -1
            energy = energy + sum(0.5 * body.mass * np.dot(body.velocity, body.velocity) for body in bodies)
        return energy

    agrees(f, X)
