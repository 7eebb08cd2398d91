"""The faulty step of a JAX program: rules of custom functions, right and with one thing wrong, lost paths."""

from __future__ import annotations

import re

import numpy as np
import pytest

from chainrule.check import check

jax = pytest.importorskip("jax")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

from jax import numpy as jnp  # noqa: E402
from tests.interop import test_check_jax as components  # noqa: E402 - it needs JAX itself

RNG = np.random.default_rng(12)
X = RNG.standard_normal((4, 6))
LABELS = np.array([0, 3, 1, 5])
GAIN = 1 + 0.3 * RNG.standard_normal(6)
Q, K, V = (RNG.standard_normal((5, 3)) for _ in range(3))
A = np.array([0.9, 0.5, -0.3])


def cross_entropy(bug=""):
    @jax.custom_vjp
    def nll(logits):
        return -jax.nn.log_softmax(logits)[jnp.arange(4), LABELS].mean()

    def backward(logits, g):
        p = jax.nn.softmax(logits)
        if bug != "label":
            p = p.at[jnp.arange(4), LABELS].add(-1)
        return (g * (p if bug == "mean" else p / 4),)

    nll.defvjp(lambda logits: (nll(logits), logits), backward)
    return lambda x: jnp.exp(nll(jnp.tanh(x) * 2))


def layer_norm(bug=""):
    @jax.custom_vjp
    def norm(x, gain):
        return (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-5) * gain

    def backward(kept, g):
        x, gain = kept
        std = jnp.sqrt(x.var(1, keepdims=True, ddof=int(bug == "unbiased")) + (0 if bug == "eps" else 1e-5))
        xhat = (x - x.mean(1, keepdims=True)) / std
        d = g * gain
        dx = d - d.mean(1, keepdims=True)
        if bug != "variance":
            dx = dx - xhat * (d * xhat).mean(1, keepdims=True)
        return dx / std, (g * xhat).mean(0) if bug == "gain" else (g * xhat).sum(0)

    norm.defvjp(lambda x, gain: (norm(x, gain), (x, gain)), backward)
    return lambda x, gain: jnp.cos(norm(jnp.sin(x), gain)).sum()


def attention(bug=""):
    @jax.custom_vjp
    def attend(q, k, v):
        return jax.nn.softmax(q @ k.T / 3**0.5) @ v

    def backward(kept, g):
        q, k, v = kept
        p = jax.nn.softmax(q @ k.T / 3**0.5)
        dp = g @ v.T
        ds = p * (dp - (dp * p).sum(1, keepdims=True))
        ds = ds if bug == "scale" else ds / 3**0.5
        return ds @ k, (ds if bug == "transpose" else ds.T) @ q, (p if bug == "value" else p.T) @ g

    attend.defvjp(lambda q, k, v: (attend(q, k, v), (q, k, v)), backward)
    return lambda q, k, v: jax.nn.sigmoid(attend(jnp.tanh(q), k * k, v))


def straight_through(bug=""):
    @jax.custom_vjp
    def rounded(x):
        return jnp.round(4 * x) / 4

    rounded.defvjp(lambda x: (rounded(x), None), lambda _, g: (g if bug else jnp.zeros_like(g),))
    return lambda x: (rounded(jnp.tanh(x) * 3) ** 2).sum() + x.sum()


def scan(bug=""):
    states = components.scan(bug)
    return lambda a, x: (states(jnp.tanh(a), jnp.sin(x)) ** 2).sum()


CASES = [
    (cross_entropy, "label", (X,), "nll", "the true one plus .*: a term is missing or extra"),
    (cross_entropy, "mean", (X,), "nll", "a factor n = 4 too much: a sum for a mean"),
    (layer_norm, "unbiased", (X, GAIN), "norm", "n - 1 and n = 6 exchanged|multiple of"),
    (layer_norm, "variance", (X, GAIN), "norm", "multiple of (the output|x less its mean)"),
    (layer_norm, "gain", (X, GAIN), "norm", "a missing factor n = 4: a mean for a sum"),
    (layer_norm, "eps", (X, GAIN), "norm", "an eps forgotten"),
    (attention, "scale", (Q, K, V), "attend", r"a factor sqrt\(3\) too much"),
    (attention, "transpose", (Q, K, V), "attend", "only where i = j|transposed"),
    (attention, "value", (Q, K, V), "attend", "wrong|couples"),
    (straight_through, "yes", (X,), "rounded", "a straight-through estimator"),
    (scan, "decay", (A, Q), "states", "right only at the last index along axis 0|wrong in"),
    (scan, "shift", (A, Q), "states", "wrong in"),
    (scan, "order", (A, Q), "states", "couples|wrong in"),
]


@pytest.mark.parametrize(("make", "bug", "args", "step", "pattern"), CASES, ids=[f"{c[3]}-{c[1]}" for c in CASES])
def test_a_wrong_rule_inside_of_a_program(make, bug, args, step, pattern):
    argnums = tuple(range(len(args))) if len(args) > 1 else 0
    report = check(jax.jit(make(bug)), *args, argnums=argnums, backend="jax")
    # That a function of jumps has a slope of its own is a design, which differences do not call wrong.
    assert report.verdict in ({"FAIL", "WARN"} if make is straight_through else {"FAIL"}), str(report)
    row = report.steps[0]
    assert row["step"] == step, str(report)
    assert re.search(pattern, row["pattern"]), str(report)
    assert row["share"] == pytest.approx(1, rel=1e-6)
    assert row["place"].startswith("test_localise_jax.py:")
    assert row["rule"].startswith(("test_localise_jax.py:", "test_check_jax.py:"))
    right = check(make(), *args, argnums=argnums, backend="jax")
    assert right.verdict in {"PASS", "PASS*"}, str(right)
    assert right.steps == []


def test_a_custom_jvp_and_float32():
    @jax.custom_jvp
    def log1pexp(x):
        return jnp.logaddexp(x, 0.0)

    @log1pexp.defjvp
    def _(primals, tangents):
        return log1pexp(*primals), 1.001 * jax.nn.sigmoid(primals[0]) * tangents[0]

    for dtype in (np.float64, np.float32):
        report = check(lambda x: jnp.tanh(log1pexp(x * 2)).sum(), X.astype(dtype), backend="jax")
        assert report.verdict == "FAIL"
        assert report.steps[0]["step"] == "log1pexp"
        assert "1.001 x the true one" in report.steps[0]["pattern"]


def test_a_stopped_gradient():
    report = check(lambda x: (jax.lax.stop_gradient(jnp.sin(x)) * x).sum(), X, backend="jax")
    assert report.steps[0]["step"] == "stop_gradient"
    assert "detached" in report.steps[0]["pattern"]


def test_a_step_inside_of_a_scan_and_of_a_branch():
    @jax.custom_vjp
    def product(a, b):
        return a @ b

    product.defvjp(lambda a, b: (product(a, b), (a, b)), lambda kept, g: (g @ kept[1].T, 0.5 * kept[0].T @ g))

    def looped(w):
        def cell(h, x):
            h = jnp.tanh(product(h, w) + x)
            return h, h**2

        return jax.lax.scan(cell, jnp.zeros((2, 3)), jnp.ones((4, 2, 3)))[1].sum() + jnp.sin(w).sum()

    def branched(w):
        return jax.lax.cond(w.sum() > 0, lambda w: w, lambda w: product(w.T, jnp.sin(w)), w).sum()

    for f, name in ((looped, "scan > product"), (branched, "cond > product")):
        report = check(jax.jit(f), -np.abs(Q[:3]), backend="jax")
        assert report.verdict == "FAIL"
        row = report.steps[0]
        assert row["step"] == name, str(report)
        assert row["share"] == pytest.approx(1, rel=1e-4)
        assert "a missing factor 2" in row["pattern"], str(report)
        assert row["rule"].startswith("test_localise_jax.py:")
