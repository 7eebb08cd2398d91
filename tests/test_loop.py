"""The step that repeats a program: its value, its text, its types, and what it is when written out."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.build import Builder, Value
from chainrule.expand import expanded, loop_rule
from chainrule.program import Program, array_type
from chainrule.rule import RULES, apply
from chainrule.run import plan_of_body

F8 = np.dtype(np.float64)
I8 = np.dtype(np.int64)


def body_of(name, kinds, code):
    """The program of ``code`` on the number of the iteration and inputs of these shapes, all float64."""
    builder = Builder(name)
    number = builder.input(array_type((), I8), "l")
    inputs = [builder.input(array_type(shape, F8), label) for label, shape in kinds]
    return builder.finish(code(number, *inputs)).verify()


def looped(builder, body, arguments, trips, carries, sequences, reverse=False):
    made = builder.add(
        loop_rule(), tuple(builder.operand(one) for one in arguments), (body, trips, carries, sequences, reverse)
    )
    return [Value(builder, var) for var in made]


def at(x, number, *key):
    return apply(RULES["index_at"], (x, number), (key,))


def put(x, v, number, *key):
    return apply(RULES["assign_at"], (x, v, number), (key,))


@pytest.fixture
def layers():
    """h = tanh(W[l] @ h + b), L times; the h of all layers are results too."""
    body = body_of("layer", [("h", (3,)), ("W", (3, 3)), ("b", (3,))], lambda l, h, W, b: _twice(np.tanh(W @ h + b)))
    builder = Builder("net")
    x = builder.input(array_type((3,), F8), "x")
    W = builder.input(array_type((4, 3, 3), F8), "W")
    b = builder.input(array_type((3,), F8), "b")
    last, all_of_them = looped(builder, body, [x, W, b], 4, 1, 1)
    return builder.finish([np.sum(last), all_of_them]).verify()


def _twice(h):
    return [h, h]


def point():
    rng = np.random.default_rng(0)
    return rng.normal(size=3), rng.normal(size=(4, 3, 3)), rng.normal(size=3)


def test_value(layers):
    x, W, b = point()
    rows = []
    h = x
    for one in W:
        h = np.tanh(one @ h + b)
        rows.append(h)
    last, every = layers.run([x, W, b])
    assert last == np.sum(h)
    assert np.array_equal(every, rows)


def test_text(layers):
    text = str(layers)
    assert "    h: float64[3]" not in text.splitlines()[0]
    assert "        program layer@1(l: int64[], h: float64[3], W: float64[3,3], b: float64[3]):" in text
    assert Program.parse(text) == layers
    assert layers.cost().calls == 12


def test_written_out(layers):
    flat = expanded(layers)
    assert len(flat) == 4 * 4 + 2
    for one, other in zip(flat.verify().run(point()), layers.run(point()), strict=True):
        assert np.array_equal(one, other)


def test_the_number_of_the_iteration_disappears():
    """y[l] = y[l - 1] + x[l + 2] * l, in an array that the loop carries: the text of it written out is static."""

    def grown(l):
        return apply(RULES["number_at"], (l,), (1, (1,), "float64", True))

    body = body_of(
        "body",
        [("y", (5,)), ("x", (9,))],
        lambda l, y, x: [
            put(y, at(y, l, ("affine", 0, 1)) + at(x, l, ("affine", 2, 1)) * grown(l), l, ("affine", 1, 1))
        ],
    )
    builder = Builder("f")
    x = builder.input(array_type((9,), F8), "x")
    zeros = builder.constant_array(np.float64(0), (5,))
    (y,) = looped(builder, body, [zeros, x], 4, 1, 0)
    rolled = builder.finish([y]).verify()

    def by_hand(x):
        y = np.zeros(5)
        for i in range(1, 5):
            y[i] = y[i - 1] + x[i + 1] * i
        return y

    point = np.arange(9.0)
    assert np.array_equal(rolled.run([point])[0], by_hand(point))
    assert Program.parse(str(rolled)) == rolled
    flat = expanded(rolled).verify()
    assert np.array_equal(flat.run([point])[0], by_hand(point))
    assert [step.params for step in flat.steps[1:6]] == [((0,),), ((2,),), (), (), ((1,),)]
    assert str(flat).count("multiply") == 4
    assert "multiply(v3, 1)" in str(flat)
    assert "affine" not in str(flat)


def test_backwards():
    """The numbers go down, and the results stand in the order of the numbers."""
    body = body_of("body", [("h", ()), ("x", ())], lambda l, h, x: [h * x + 1.0, h])
    builder = Builder("f")
    x = builder.input(array_type((4,), F8), "x")
    last, before = looped(builder, body, [2.0, x], 4, 1, 1, True)
    program = builder.finish([last, before])
    given = np.array([2.0, 3.0, 5.0, 7.0])
    h, rows = 2.0, []
    for one in given[::-1]:
        rows.append(h)
        h = h * one + 1
    for found in (program.run([given]), expanded(program.verify()).verify().run([given])):
        assert found[0] == h
        assert np.array_equal(found[1], rows[::-1])


def test_no_trips():
    body = body_of("body", [("h", ()), ("x", ())], lambda l, h, x: [h * x, np.stack([h, x])])
    builder = Builder("f")
    x = builder.input(array_type((0,), F8), "x")
    program = builder.finish(looped(builder, body, [2.0, x], 0, 1, 1)).verify()
    for found in (program.run([np.zeros(0)]), expanded(program).verify().run([np.zeros(0)])):
        assert found[0] == 2.0
        assert found[1].shape == (0, 2)


def test_arguments_are_not_overwritten():
    """A write into a carry is in place, but never in an argument, and never in a carry that is there twice."""
    body = body_of("body", [("y", (3,)), ("z", (3,))], lambda l, y, z: [put(y, 7.0, l, ("affine", 0, 1)), y])
    builder = Builder("f")
    y = builder.input(array_type((3,), F8), "y")
    program = builder.finish(looped(builder, body, [y, y], 3, 2, 0)).verify()
    given = np.zeros(3)
    found = program.run([given])
    assert not given.any()
    assert np.array_equal(found[0], [7, 7, 7])
    assert np.array_equal(found[1], [7, 7, 0])
    for one, other in zip(expanded(program).run([given]), found, strict=True):
        assert np.array_equal(one, other)


def test_a_write_takes_the_time_of_the_slice():
    """The carried array stays in one place."""
    addresses = set()
    body = body_of("body", [("y", (1000,))], lambda l, y: [put(y, 1.0, l, ("affine", 0, 1))])
    plan, own = plan_of_body(body, 1)
    assert own == [True]
    y = np.zeros(1000)
    for l in range(5):
        (y,) = plan([np.int64(l), y], ())
        addresses.add(y.ctypes.data)
    assert len(addresses) == 1


@pytest.mark.parametrize(
    ("trips", "carries", "sequences", "what"),
    [(3, 1, 1, "argument 1"), (4, 3, 1, "4 trips"), (4, 2, 0, "carry|argument"), (-1, 1, 1, "-1 trips")],
)
def test_the_verifier_refuses(layers, trips, carries, sequences, what):
    step = layers.steps[0]
    layers.steps[0] = step._replace(params=(step.params[0], trips, carries, sequences, False))
    with pytest.raises(cr.ProgramError, match=what):
        layers.verify()


def test_a_slice_that_leaves_the_array_is_refused():
    x = np.arange(6.0)
    with pytest.raises(IndexError, match="beyond"):
        RULES["index_at"].value(x, 4, (("affine", "0:3", 1),))
    with pytest.raises(IndexError, match="before"):
        RULES["index_at"].value(x, 4, (("affine", "0:3", -1),))
    with pytest.raises(IndexError, match="out of bounds"):
        RULES["index_at"].value(x, 4, (("affine", 3, 1),))
