"""Steps that hold programs: printing, parsing, running, and every transform."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.build import Builder, Value
from chainrule.expand import expanded
from chainrule.program import Step, array_type
from chainrule.rule import RULES
from chainrule.transforms.backprop import backprop
from chainrule.transforms.batch import batch
from chainrule.transforms.forward import forward


@pytest.fixture
def outer():
    inner = cr.trace(lambda a: np.tanh(a) * a, np.ones(3))
    builder = Builder("outer")
    x = builder.input(array_type((3,), np.dtype(np.float64)), "x")
    (once,) = builder.add(RULES["call"], (x.var,), (inner,))
    (twice,) = builder.add(RULES["call"], (once,), (inner,))
    return builder.finish([np.sum(Value(builder, twice))]).verify()


def by_hand(x):
    y = np.tanh(x) * x
    return np.sum(np.tanh(y) * y)


def test_it_runs_prints_and_parses(outer):
    x = np.array([0.3, -1.0, 2.0])
    assert outer.run([x])[0] == by_hand(x)
    text = str(outer)
    assert "program=@1" in text
    assert "@2(a: float64[3]):" in text
    assert cr.Program.parse(text) == outer
    assert outer.cost().flops > 0


def test_transforms_enter_it(outer):
    x, t = np.array([0.3, -1.0, 2.0]), np.array([1.0, 2.0, -1.0])
    assert np.allclose(backprop(outer).run([x])[0], cr.grad(by_hand)(x), rtol=1e-14)
    assert np.allclose(forward(outer, [0]).run([x, t])[1], cr.jvp(by_hand, (x,), (t,))[1], rtol=1e-14)
    assert np.allclose(batch(outer, [True], 2).run([np.stack([x, t])])[0], [by_hand(x), by_hand(t)], rtol=1e-14)
    assert all(step.rule.name != "call" for step in expanded(outer).steps)


def test_the_verifier_enters_it(outer):
    held = outer.steps[0].params[0]
    held.steps[0] = Step(held.steps[0].rule, (99,), (), held.steps[0].outputs)
    with pytest.raises(cr.ProgramError, match="used before it is computed"):
        outer.verify()
