"""The faulty step of a PyTorch program: custom functions right and with one thing wrong, modules, lost paths."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chainrule.check import check

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

from tests.interop import test_check_torch as components  # noqa: E402 - it needs PyTorch itself

Function: Any = torch.autograd.Function
Module: Any = torch.nn.Module
X, GAIN, BIAS = components.X, components.GAIN, components.BIAS
LOGITS, LABELS = components.LOGITS, components.LABELS
Q, K, V = components.Q, components.K, components.V
A = np.array([0.9, 0.5, -0.3])


def loss(kind):
    return lambda logits: torch.exp(kind.apply(torch.tanh(logits) * 2, LABELS))


def normed(kind):
    def f(x, gain, bias):
        h = torch.sin(x)
        z = kind.apply(h, gain, bias)
        return (z * torch.cos(z)).sum()

    return f


def attended(kind):
    return lambda q, k, v: torch.sigmoid(kind.apply(torch.tanh(q), k * k, v))


def scanned(kind):
    return lambda a, x: kind.apply(torch.tanh(a), torch.sin(x)).pow(2).sum()


LOSS, NORM, ATTENTION, SCAN = components.cross_entropy, components.layer_norm, components.attention, components.scan
CASES = [
    (LOSS, "label", loss, (LOGITS,), "CrossEntropy", "", "the true one plus .*: a term is missing or extra"),
    (LOSS, "mean", loss, (LOGITS,), "CrossEntropy", "", "a factor n = 6 too much: a sum for a mean"),
    (LOSS, "cotangent", loss, (LOGITS,), "CrossEntropy", "", "cotangent"),
    (LOSS, "float32", loss, (LOGITS,), "CrossEntropy", "", "float32 inside"),
    (NORM, "unbiased", normed, (X, GAIN, BIAS), "LayerNorm", "gain|input 1", "n - 1 and n = 6 exchanged|multiple of"),
    (NORM, "variance", normed, (X, GAIN, BIAS), "LayerNorm", "input 1", "multiple of (the output|x less its mean)"),
    (NORM, "gain", normed, (X, GAIN, BIAS), "LayerNorm", "gain", "a missing factor n = 4: a mean for a sum"),
    (NORM, "bias", normed, (X, GAIN, BIAS), "LayerNorm", "bias", "detached"),
    (NORM, "eps", normed, (X, GAIN, BIAS), "LayerNorm", "gain|input 1", "an eps forgotten"),
    (ATTENTION, "softmax", attended, (Q, K, V), "Attention", "input [12]", "wrong in"),
    (ATTENTION, "scale", attended, (Q, K, V), "Attention", "input [12]", r"a factor sqrt\(3\) too much"),
    (ATTENTION, "transpose", attended, (Q, K, V), "Attention", "input 2", "only where i = j|transposed"),
    (SCAN, "decay", scanned, (A, Q), "Scan", "input [12]", "right only at the last index along axis 0|wrong in"),
    (SCAN, "shift", scanned, (A, Q), "Scan", "input 1", "wrong in"),
    (SCAN, "order", scanned, (A, Q), "Scan", "input 2", "reversed along axis 0"),
]


@pytest.mark.parametrize(
    ("kind", "bug", "wrap", "args", "step", "label", "pattern"), CASES, ids=[f"{c[4]}-{c[1]}" for c in CASES]
)
def test_a_wrong_function_inside_of_a_program(kind, bug, wrap, args, step, label, pattern):
    argnums = tuple(range(len(args))) if len(args) > 1 else 0
    report = check(wrap(kind(bug)), *args, argnums=argnums, backend="torch")
    assert report.verdict == ("WARN" if bug == "float32" else "FAIL"), str(report)
    row = report.steps[0]
    assert row["step"] == step, str(report)
    assert re.search(label, row["input"]), str(report)
    assert re.search(pattern, row["pattern"]), str(report)
    assert row["place"].startswith("test_localise_torch.py:")
    assert row["rule"].startswith("test_check_torch.py:")
    if report.worst:
        assert row["share"] == pytest.approx(1, rel=1e-3)
    right = check(wrap(kind()), *args, argnums=argnums, backend="torch")
    assert right.verdict == "PASS", str(right)
    assert right.steps == []


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_straight_through_estimator(dtype):
    def f(x):
        y = torch.sin(x) * 3
        z = components.StraightThrough.apply(y)
        return (z**2).sum()

    report = check(f, X.astype(dtype), backend="torch")
    assert report.verdict in {"FAIL", "WARN"}
    assert report.steps[0]["step"] == "StraightThrough"
    assert "a straight-through estimator" in report.steps[0]["pattern"]
    assert "z = components.StraightThrough.apply(y)" in report.steps[0]["text"]


def test_a_parameter_of_a_module():
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.LayerNorm(5), components.Halved(5, 2))
    report = check(net.double(), X, backend="torch")
    row = report.steps[0]
    assert row["step"] == "Product"
    assert row["input"] == "parameters['3.weight']"
    assert "module 3" in row["place"]
    assert "a missing factor 2" in row["pattern"]


def test_one_of_many_custom_steps():
    class Step(Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x)
            ctx.factor = factor
            return torch.sin(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return ctx.factor * g * torch.cos(x), None

    for wrong in range(0, 12, 3):

        def f(x, wrong=wrong):
            for k in range(12):
                x = Step.apply(x + 0.1 * k, 1.0001 if k == wrong else 1.0)
            return x.sum()

        report = check(f, X, backend="torch")
        assert report.verdict == "FAIL"
        assert report.steps[0]["number"] == (2 * wrong + 1 if wrong else 1), str(report)
        assert "1.0001 x the true one" in report.steps[0]["pattern"]


class Reversal(Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return -g


class Stale(Function):
    kept: Any = None

    @staticmethod
    def forward(ctx, x):
        Stale.kept = x
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * Stale.kept * g


def written(x):
    y = x.sin()
    y[0] = y[0] * 2
    y.mul_(3)
    return components.StraightThrough.apply(y).sum()


def hooked(x):
    y = x.sin()
    y.register_hook(lambda g: 2 * g)
    return (y * y).sum()


def quiet(x):
    with torch.no_grad():
        y = torch.sin(x)
        z = y * y
    return (z * x).sum()


LOST = [
    (lambda x: (x.detach() * x.sin()).sum(), "detach", "detached"),
    (lambda x: (x.sin().data * x).sum(), "data", "detached"),
    (quiet, "sin", "detached"),
    (lambda x: (x.sin() * x[0, 0].item()).sum(), "mul", r"path that the backward pass does not know: \.item\(\)"),
    (lambda x: (x.sin() * torch.tensor(x.detach().numpy())).sum(), "mul", r"does not know: \.numpy\(\)"),
    (hooked, "the chaining of the steps", "a hook may change a gradient"),
    (written, "StraightThrough", "straight-through estimator"),
    (lambda x: (Reversal.apply(x.sin()) * x).sum(), "Reversal", "the sign"),
    (lambda x: Stale.apply(x.sin()).sum(), "Stale", "has run at another point"),
]


@pytest.mark.parametrize(("f", "step", "pattern"), LOST, ids=[c[1] + str(k) for k, c in enumerate(LOST)])
def test_lost_paths_and_state(f, step, pattern):
    report = check(f, X, backend="torch")
    assert report.verdict in ({"FAIL", "WARN"} if step == "StraightThrough" else {"FAIL"}), str(report)
    assert report.steps[0]["step"] == step, str(report)
    assert re.search(pattern, report.steps[0]["pattern"]), str(report)


def test_what_can_not_be_taken_to_pieces_is_said():
    def f(x):
        return torch.autograd.grad((x**3).sum(), x, create_graph=True)[0].detach() * x

    report = check(f, X, backend="torch")
    assert report.verdict == "FAIL"
    assert report.steps == []
    assert any("it takes a derivative inside" in note for note in report.notes)


def test_nothing_stays_in_the_place_of_pytorch():
    before = vars(torch.autograd.Function)["apply"], vars(components.StraightThrough)["forward"]
    check(components.StraightThrough.apply, X, backend="torch")
    assert before == (vars(torch.autograd.Function)["apply"], vars(components.StraightThrough)["forward"])


MODULES = {
    "Conv1d": (lambda: torch.nn.Conv1d(3, 4, 3), (2, 3, 10)),
    "Conv2d": (lambda: torch.nn.Conv2d(3, 4, 3), (2, 3, 8, 8)),
    "LSTM": (lambda: torch.nn.LSTM(3, 4, batch_first=True), (2, 5, 3)),
    "transformer": (lambda: torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), (2, 5, 8)),
    "batch norm": (lambda: torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)), (3, 2, 6, 6)),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", list(MODULES))
def test_right_modules_in_float32_pass(name, seed):
    make, shape = MODULES[name]
    torch.manual_seed(seed)
    module, x = make(), torch.randn(shape)
    report = check(module, x, backend="torch", seed=seed)
    assert report.verdict == "PASS", str(report)


def test_a_wrong_entry_of_1e_4_in_a_float32_module_is_seen():
    class Slightly(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            factor = torch.ones_like(g)
            factor[0, 0] = 1 + 1e-4
            return g * factor

    class Layer(Module):
        def forward(self, x):
            return Slightly.apply(x)

    net = torch.nn.Sequential(Layer(), torch.nn.Conv1d(3, 4, 3))
    report = check(net, torch.randn(2, 3, 10), backend="torch")
    assert report.verdict == "FAIL", str(report)
    assert report.steps[0]["step"] == "Slightly"


def test_arguments_in_another_order():
    def f(x, bias):
        return torch.sin(x + bias).sum() + (x**2).sum()

    assert check(f, X, BIAS, argnums=(1, 0), backend="torch").verdict == "PASS"
