"""The judge on JAX: custom derivatives that are right, and the same with one thing wrong."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from chainrule.check import check

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

RNG = np.random.default_rng(12)
LOGITS = RNG.standard_normal((6, 5))
LABELS = np.array([0, 3, 1, 4, 4, 2])
X = RNG.standard_normal((4, 6))
GAIN, BIAS = 1 + 0.3 * RNG.standard_normal(6), RNG.standard_normal(6)
Q, K, V = (RNG.standard_normal((5, 3)) for _ in range(3))


def cross_entropy(bug=""):
    @jax.custom_vjp
    def loss(logits, labels):
        return -jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels].mean()

    def forward(logits, labels):
        value = loss(logits, labels)
        return (2 * value if bug == "forward" else value), (logits, labels)

    def backward(saved, g):
        logits, labels = saved
        p = jax.nn.softmax(logits)
        if bug != "label":
            p = p - jax.nn.one_hot(labels, p.shape[1])
        return (p if bug == "cotangent" else g * p) / (1 if bug == "mean" else len(labels)), None

    loss.defvjp(forward, backward)
    return loss


@pytest.mark.parametrize("bug", ["", "label", "mean", "cotangent", "forward"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fused_softmax_cross_entropy(bug, dtype):
    report = check(cross_entropy(bug), LOGITS.astype(dtype), LABELS, backend="jax")
    assert report.verdict == ("FAIL" if bug else "PASS"), str(report)
    if not bug:
        assert report.lifted == (dtype is np.float32)
        assert report.resolution < 1e-4
    if bug == "mean":
        assert report.worst[0]["ratio"] == pytest.approx(6, rel=1e-4)
        assert report.worst[0]["name"].startswith("logits[")
    if bug == "forward":
        assert "does not return the value of f" in report.sentence


def layer_norm(bug=""):
    def normal(x):
        std = jnp.sqrt(x.var(1, keepdims=True) + 1e-5)
        return (x - x.mean(1, keepdims=True)) / std, std

    @jax.custom_vjp
    def norm(x, gain, bias):
        return normal(x)[0] * gain + bias

    def backward(saved, g):
        x, gain = saved
        xhat, std = normal(x)
        d = g * gain
        dx = d - d.mean(1, keepdims=True)
        if bug != "variance":
            dx = dx - xhat * (d * xhat).mean(1, keepdims=True)
        dgain = (g * xhat).mean(0) if bug == "gain" else (g * xhat).sum(0)
        return dx / std, dgain, jnp.zeros_like(gain) if bug == "bias" else g.sum(0)

    norm.defvjp(lambda x, gain, bias: (norm(x, gain, bias), (x, gain)), backward)
    return norm


@pytest.mark.parametrize("bug", ["", "variance", "gain", "bias"])
def test_layer_norm(bug):
    report = check(layer_norm(bug), X, GAIN, BIAS, argnums=(0, 1, 2), backend="jax")
    assert report.verdict == ("FAIL" if bug else "PASS"), str(report)
    if bug in {"gain", "bias"}:
        assert report.worst[0]["name"].startswith(f"{bug}[")


def attention(bug=""):
    @jax.custom_vjp
    def attend(q, k, v):
        return jax.nn.softmax(q @ k.T / 3**0.5) @ v

    def backward(saved, g):
        q, k, v = saved
        p = jax.nn.softmax(q @ k.T / 3**0.5)
        dp = g @ v.T
        ds = p * (dp if bug == "softmax" else dp - (dp * p).sum(1, keepdims=True))
        ds = ds if bug == "scale" else ds / 3**0.5
        return ds @ k, (ds if bug == "transpose" else ds.T) @ q, p.T @ g

    attend.defvjp(lambda q, k, v: (attend(q, k, v), (q, k, v)), backward)
    return attend


@pytest.mark.parametrize(("bug", "where"), [("", ""), ("softmax", "qk"), ("scale", "qk"), ("transpose", "k")])
def test_attention(bug, where):
    report = check(attention(bug), Q, K, V, argnums=(0, 1, 2), backend="jax")
    assert report.verdict == ("FAIL" if bug else "PASS"), str(report)
    if bug:
        assert report.worst[0]["name"][0] in where


def test_a_straight_through_estimator_is_no_gradient():
    def f(x):
        return x + jax.lax.stop_gradient(jnp.round(4 * x) / 4 - x)

    report = check(f, X, backend="jax")
    assert report.verdict == "WARN", str(report)
    assert "straight-through estimator" in report.pattern
    assert report.worst[0]["numeric"] == pytest.approx(0, abs=1e-9)


def scan(bug=""):
    def run(a, x):
        def step(h, row):
            h = a * h + row
            return h, h

        return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]

    @jax.custom_vjp
    def states(a, x):
        return run(a, x)

    def backward(saved, g):
        a, out = saved

        def step(carry, g):
            carry = g + (carry if bug == "decay" else a * carry)
            return carry, carry

        dx = jax.lax.scan(step, jnp.zeros_like(g[0]), g, reverse=bug != "order")[1]
        before = out if bug == "shift" else jnp.concatenate([jnp.zeros_like(out[:1]), out[:-1]])
        return (dx * before).sum(0), dx

    states.defvjp(lambda a, x: (states(a, x), (a, states(a, x))), backward)
    return states


@pytest.mark.parametrize("bug", ["", "decay", "shift", "order"])
@pytest.mark.parametrize("compiled", [False, True])
def test_scan(bug, compiled):
    f = jax.jit(scan(bug)) if compiled else scan(bug)
    report = check(f, np.array([0.9, 0.5, -0.3]), Q, argnums=(0, 1), backend="jax")
    assert report.verdict == ("FAIL" if bug else "PASS"), str(report)
    if bug == "shift":
        assert report.worst[0]["name"].startswith("a[")


@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_custom_jvp(factor):
    @jax.custom_jvp
    def log1pexp(x):
        return jnp.logaddexp(x, 0.0)

    @log1pexp.defjvp
    def _(primals, tangents):
        return log1pexp(*primals), factor * jax.nn.sigmoid(primals[0]) * tangents[0]

    report = check(log1pexp, X, backend="jax")
    assert report.verdict == ("PASS" if factor == 1 else "FAIL"), str(report)


class Params(NamedTuple):
    w: object
    b: float


def test_containers_keys_and_the_precision_outside():
    def f(params, x, key, power):
        t = jnp.tanh(x @ params.w + params.b) ** power * jax.random.uniform(key, (2,))
        return {"loss": t.sum(), "top": t[0], "index": t.argmax()}

    before = jnp.ones(1).dtype
    params = Params(jnp.asarray(RNG.standard_normal((6, 2)), dtype=jnp.float32), 0.25)
    x = X.astype(np.float32)
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        report = check(f, params, x, key, 2, argnums=(0, 1), backend="jax")
        assert report.verdict == "PASS", str(report)

    def half(params, *rest):
        return f(params._replace(b=(params.b + jax.lax.stop_gradient(params.b)) / 2), *rest)

    report = check(half, params, x, jax.random.key(0), 2, backend="jax")
    assert report.verdict == "FAIL", str(report)
    assert report.worst[0]["name"] == "params.b"
    assert jnp.ones(1).dtype == before


def test_second_order():
    assert check(lambda x: (x**4).sum() + x.prod(), Q[0], backend="jax", order=2).verdict == "PASS"

    @jax.custom_vjp
    def cube(x):
        return (x**3).sum()

    cube.defvjp(lambda x: (cube(x), x), lambda x, g: (g * 3 * x * jax.lax.stop_gradient(x),))
    assert check(cube, Q[0], backend="jax").verdict == "PASS"
    assert check(cube, Q[0], backend="jax", order=2).verdict == "FAIL"


def test_integers_out_and_errors():
    report = check(jnp.argmax, Q[0], backend="jax")
    assert report.verdict != "FAIL", str(report)
    report = check(lambda x: jnp.asarray(np.asarray(x) ** 2), Q[0], backend="jax")
    assert report.verdict == "FAIL"
    assert "TracerArrayConversionError" in report.sentence
