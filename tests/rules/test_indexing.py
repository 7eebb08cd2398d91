"""Indexing, assignment and scatter, against NumPy itself: values, adjoints, batches."""

# mypy: disable-error-code="arg-type,call-overload"

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rules.directional import program
from tests.rules.moves import moves_as_numpy, number, weighted

import chainrule as cr
from chainrule.errors import TraceError
from chainrule.rule import FUNCTIONS
from chainrule.transforms.backprop import backprop
from chainrule.transforms.batch import batch
from chainrule.transforms.forward import forward
from chainrule.transforms.simplify import simplify


@st.composite
def shapes(draw: Any, least: int = 0) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 3, 4]), min_size=least, max_size=3)))


@st.composite
def slices(draw: Any, extent: int) -> slice:
    bound = st.none() | st.integers(-extent - 1, extent + 1)
    return slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -2])))


@st.composite
def keys(draw: Any, shape: tuple[int, ...], masks: bool = True) -> tuple[Any, ...]:
    """A key in the whole index language; integer arrays broadcast with one another."""
    wide = draw(st.lists(st.integers(0, 3) if draw(st.booleans()) else st.integers(1, 3), max_size=2))
    key: list[Any] = []
    axis = 0
    has_ellipsis = False
    while axis < len(shape):
        extent = shape[axis]
        kinds = ["slice", "slice", "array", "array", "none", "stop"]
        if extent:
            kinds += ["int", "scalar array"]
        if masks:
            kinds.append("mask")
        if not has_ellipsis:
            kinds.append("ellipsis")
        kind = draw(st.sampled_from(kinds))
        if kind == "stop":
            break
        if kind == "none":
            if len(key) < 6:
                key.append(None)
            continue
        if kind == "ellipsis":
            has_ellipsis = True
            key.append(...)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        if kind == "slice":
            key.append(draw(slices(extent)))
        elif kind == "int":
            key.append(draw(st.integers(-extent, extent - 1)))
        elif kind == "scalar array":
            key.append(np.array(draw(st.integers(-extent, extent - 1))))
        elif kind == "mask":
            hits = draw(st.lists(st.booleans(), min_size=extent, max_size=extent))
            key.append(np.array(hits, dtype=bool))
        else:
            own = tuple(1 if draw(st.booleans()) and one else one for one in wide)[draw(st.integers(0, len(wide))) :]
            count = int(np.prod(own))
            if extent == 0 and count:
                key.append(slice(None))
            else:
                numbers = st.integers(-extent, extent - 1) if extent else st.just(0)
                key.append(np.array(draw(st.lists(numbers, min_size=count, max_size=count)), dtype=int).reshape(own))
        axis += 1
    return tuple(key)


def is_index(one: Any) -> bool:
    return isinstance(one, np.ndarray) and one.dtype.kind == "i"


def filled(key: tuple[Any, ...], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key with its integer arrays replaced, in order."""
    rest = iter(arrays)
    return tuple(next(rest) if is_index(one) else one for one in key)


def indexes(key: tuple[Any, ...]) -> list[Any]:
    return [one for one in key if is_index(one)]


def in_batches(f: Any, arguments: list[Any], others: list[Any]) -> None:
    """A batch is what a loop over its examples gives, whichever of the arguments have the batch's axis."""
    held = program(f, *arguments)
    for flags in itertools.product([False, True], repeat=len(arguments)):
        if not any(flags):
            continue
        made = simplify(batch(held, list(flags), 2)).verify()
        pairs = list(zip(arguments, others, flags, strict=True))
        stacked = [np.stack([one, other]) if yes else one for one, other, yes in pairs]
        (found,) = made.run(stacked)
        for place in range(2):
            one = [(first, other)[place] if yes else first for first, other, yes in pairs]
            np.testing.assert_array_equal(found[place], held.run(one)[0])


@settings(max_examples=60)
@given(st.data())
def test_reading_is_numpys_and_its_adjoint_is_the_scatter(data: Any) -> None:
    shape = data.draw(shapes())
    key = data.draw(keys(shape))
    x = number(shape)
    refusal: IndexError | None = None
    try:
        x[key]
    except IndexError as refused:
        refusal = refused
    if refusal is not None:
        with pytest.raises(IndexError) as seen:
            cr.trace(lambda x: np.sum(x[key]), x)
        assert str(seen.value).splitlines()[0] == str(refusal)
        return
    wanted = x[key]
    has_mask = any(isinstance(one, np.ndarray) and one.dtype == bool for one in key)
    held = cr.trace(lambda x: x[key], x) if has_mask else program(lambda x: FUNCTIONS["getitem"](x, key), x)
    (found,) = held.run([x])
    assert np.shape(found) == wanted.shape
    np.testing.assert_array_equal(found, wanted)
    g = np.arange(1.0, 1.0 + wanted.size).reshape(wanted.shape)
    (adjoint,) = simplify(backprop(held, [0], seeded=True)).verify().run([x, g])
    scattered = np.zeros(x.size + 1)
    np.add.at(scattered, wanted.astype(int), g)
    np.testing.assert_array_equal(adjoint, scattered[1:].reshape(shape))
    made = simplify(batch(held, [True], 3)).verify()
    many = np.stack([x, 2 * x, 3 * x])
    np.testing.assert_array_equal(made.run([many])[0], np.stack([one[key] for one in many]))


@settings(max_examples=60)
@given(st.data())
def test_reading_with_recorded_indices(data: Any) -> None:
    shape = data.draw(shapes(1))
    key = data.draw(keys(shape, masks=False))
    x = number(shape)
    try:
        wanted = x[key]
    except IndexError:
        return

    def f(x: Any, *arrays: Any) -> Any:
        return FUNCTIONS["getitem"](x, filled(key, arrays))

    arrays = indexes(key)
    (found,) = program(f, x, *arrays).run([x, *arrays])
    assert np.shape(found) == wanted.shape
    np.testing.assert_array_equal(found, wanted)
    in_batches(f, [x, *arrays], [x + 100, *[~one for one in arrays]])


@settings(max_examples=60)
@given(st.data())
def test_writing_is_numpys_in_value_adjoint_and_batch(data: Any) -> None:
    shape = data.draw(shapes())
    key = data.draw(keys(shape, masks=False))
    x = number(shape)
    try:
        inside = x[key].shape
    except IndexError:
        return
    own = tuple(1 if data.draw(st.booleans()) else one for one in inside)[data.draw(st.integers(0, len(inside))) :]
    v = -number((1, *own) if inside and len(own) == len(inside) and data.draw(st.booleans()) else own)
    wanted = x.copy()
    wanted[key] = v

    def f(x: Any, v: Any, *arrays: Any) -> Any:
        return FUNCTIONS["setitem"](x, filled(key, arrays) if arrays else key, v)

    for arrays in ([], indexes(key)):
        held = program(f, x, v, *arrays)
        (found,) = held.run([x, v, *arrays])
        np.testing.assert_array_equal(found, wanted)
        g = number(shape) ** 2
        dx, dv = simplify(backprop(held, [0, 1], seeded=True)).verify().run([x, v, *arrays, g])
        # Each number of the result is that of the element it came from: negative ones from v.
        np.testing.assert_array_equal(dx, np.where(wanted > 0, g, 0))
        sums = np.zeros(v.size + 1)
        np.add.at(sums, -np.minimum(wanted, 0).astype(int), g)
        np.testing.assert_array_equal(dv, sums[1:].reshape(v.shape))
        tangent = simplify(forward(held, [0, 1])).verify().run([x, v, *arrays, x, v])[1]
        np.testing.assert_array_equal(tangent, wanted)
    in_batches(f, [x, v, *arrays], [x + 100, v - 100, *[~one for one in arrays]])


@settings(max_examples=60)
@given(st.data())
def test_adding_at_an_index_adds_every_time(data: Any) -> None:
    shape = data.draw(shapes())
    key = data.draw(keys(shape, masks=False))
    x = number(shape)
    try:
        inside = x[key].shape
    except IndexError:
        return
    own = tuple(1 if data.draw(st.booleans()) else one for one in inside)[data.draw(st.integers(0, len(inside))) :]
    v = number(own)
    wanted = x.copy()
    np.add.at(wanted, key, v)

    def f(x: Any, v: Any, *arrays: Any) -> Any:
        return FUNCTIONS["add_at"](x, filled(key, arrays) if arrays else key, v)

    for arrays in ([], indexes(key)):
        held = program(f, x, v, *arrays)
        np.testing.assert_array_equal(held.run([x, v, *arrays])[0], wanted)
        g = number(shape) ** 2
        dx, dv = simplify(backprop(held, [0, 1], seeded=True)).verify().run([x, v, *arrays, g])
        np.testing.assert_array_equal(dx, g)
        taken = g[key]
        summed = np.zeros(v.size)
        np.add.at(summed, np.broadcast_to(np.arange(v.size).reshape(v.shape), taken.shape), taken)
        np.testing.assert_array_equal(dv, summed.reshape(v.shape))
    in_batches(f, [x, v, *arrays], [x + 100, v - 100, *[~one for one in arrays]])


# --- masks ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_writing_through_masks(data: Any) -> None:
    shape = data.draw(shapes(1))
    x = number(shape)
    axis = data.draw(st.integers(0, len(shape) - 1))
    depth = data.draw(st.integers(1, len(shape) - axis))
    inside = shape[axis : axis + depth]
    count = int(np.prod(inside))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=bool).reshape(inside)
    before: tuple[Any, ...] = (slice(None),) * axis
    if data.draw(st.booleans()):
        before = (...,) if axis + depth == len(shape) else before
    key = (*before, mask)
    hit = x[key].shape
    own = tuple(1 if data.draw(st.booleans()) else one for one in hit)[data.draw(st.integers(0, len(hit))) :]
    v = -number(own)
    wanted = x.copy()
    wanted[key] = v
    g = number(shape) ** 2

    def f(x: Any, v: Any) -> Any:
        y = x.copy()
        y[key] = v
        return np.sum(y * g)

    def recorded_mask(x: Any, v: Any) -> Any:
        y = x.copy()
        y[(*before, (mask + 0 * np.sum(x)) > 0.5)] = v
        return np.sum(y * g)

    for code in (f, recorded_mask):
        dx, dv = cr.grad(code, argnums=(0, 1))(x, v)
        np.testing.assert_array_equal(dx, np.where(wanted > 0, g, 0))
        sums = np.zeros(v.size + 1)
        np.add.at(sums, -np.minimum(wanted, 0).astype(int), g)
        np.testing.assert_array_equal(dv, sums[1:].reshape(v.shape))


def test_a_recorded_mask_that_is_read() -> None:
    x = np.array([3.0, -1.0, 2.0, -5.0])
    np.testing.assert_array_equal(cr.grad(lambda x: np.sum(x[x > 0] ** 2))(x), [6, 0, 4, 0])
    np.testing.assert_array_equal(cr.grad(lambda x: np.sum(x[np.nonzero(x > 0)]))(x), [1, 0, 1, 0])
    np.testing.assert_array_equal(cr.grad(lambda x: np.sum(x[np.where(x > 0)[0]]))(x), [1, 0, 1, 0])
    matrix = x.reshape(2, 2)
    np.testing.assert_array_equal(cr.grad(lambda m: np.sum(m[m[:, 0] > 2.5]))(matrix), [[1, 1], [0, 0]])


@pytest.mark.parametrize(
    "key", [True, False, np.True_, (True, [0, 1]), ([0, 1], True), (slice(None), True), (..., False)]
)
def test_a_single_boolean_is_an_axis_of_extent_one_or_none(key: Any) -> None:
    x = number((2, 3))
    held = cr.trace(lambda x: x[key], x)
    np.testing.assert_array_equal(held.run([x])[0], x[key])
    wanted = x.copy()
    wanted[key] = 7.0

    def f(x: Any) -> Any:
        y = x.copy()
        y[key] = 7.0
        return y

    np.testing.assert_array_equal(cr.trace(f, x).run([x])[0], wanted)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        3,
        -4,
        (0, 0, 0),
        ([0, 3],),
        (slice(None), [[-3]]),
        "a",
        1.0,
        (0.0,),
        ([0.5],),
        (..., ...),
        np.zeros(4, bool),
        np.zeros((3, 3), bool),
        (slice(None), np.zeros(3, bool)),
        ([0, 1], [0, 1, 0]),
        np.array(5),
        ({},),
    ],
)
def test_errors_are_numpys_at_record_time(key: Any) -> None:
    x = number((3, 2))
    with pytest.raises((IndexError, TypeError, ValueError)) as wanted:
        x[key]
    with pytest.raises(wanted.type) as seen:
        cr.trace(lambda x: x[key], x)
    assert str(seen.value).splitlines()[0] == str(wanted.value)


@pytest.mark.parametrize(
    ("key", "v"),
    [
        (slice(0, 2), np.ones(3)),
        ([0, 1], np.ones((3, 2))),
        (0, np.ones((2, 2))),
        (np.array([True, False, True]), np.ones((3, 2))),
    ],
)
def test_values_that_do_not_fit_are_refused_in_numpys_words(key: Any, v: Any) -> None:
    x = number((3, 2))
    with pytest.raises(ValueError, match="broadcast") as wanted:
        x[key] = v

    def f(x: Any) -> Any:
        y = x.copy()
        y[key] = v
        return y

    with pytest.raises(ValueError, match="broadcast") as seen:
        cr.trace(f, number((3, 2)))
    assert str(seen.value).strip().splitlines()[0].strip() == str(wanted.value).strip()


def test_a_derivative_is_not_lost_in_an_array_of_integers() -> None:
    def f(x: Any) -> Any:
        counts = np.zeros(3, dtype=int) + (x > 0)
        counts[0] = x[0]
        return np.sum(counts)

    with pytest.raises(TraceError, match="make the array floating"):
        cr.grad(f)(np.ones(3))


# --- functions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.take(x, [0, 5, 5]),
        lambda x: np.take(x, [[0, -1], [2, 1]], axis=1),
        lambda x: np.take(x, 1, axis=0),
        lambda x: np.take(x, [7, -9, 25], mode="wrap"),
        lambda x: np.take(x, [7, -9, 25], axis=1, mode="clip"),
        lambda x: x.take([1, 1], axis=-1),
        lambda x: np.take(x, []),
        lambda x: np.take(x, np.array(3)),
        lambda x: np.take_along_axis(x, np.array([[0], [2], [1]]), axis=1),
        lambda x: np.take_along_axis(x, np.argsort(-x, axis=0), axis=0),
        lambda x: np.take_along_axis(x, np.array([3, 3, 0]), axis=None),
        lambda x: np.compress([True, False, True], x, axis=0),
        lambda x: np.compress([False, True, True, False], x),
        lambda x: np.choose([0, 2, 1, 0], x),
        lambda x: np.choose([[0], [5]], x, mode="wrap"),
        lambda x: np.choose((x[0] > 2).astype(int), [x[1], x[2]]),
        lambda x: np.choose(7, x, mode="clip"),
        lambda x: x[np.ix_([0, 2], [3, 1])],
        lambda x: x[np.unravel_index([3, 7, 3], (3, 4))],
        lambda x: x.ravel()[np.ravel_multi_index((np.argmax(x, axis=1) * 0, [1, 2, 3]), (3, 4))],
        lambda x: np.array([x[k][np.argmax(x[k])] for k in range(3)]),
        lambda x: x[np.argmin(x, axis=0), np.arange(4)],
        lambda x: x[np.argmax(x[:, 0])],
        lambda x: np.array([row[np.searchsorted(row, 3.5) % 4] for row in x]),
        lambda x: x[np.tril_indices_from(x)],
        lambda x: x[np.triu_indices_from(x, 1)],
        lambda x: x[..., None, 1:3][::-1],
        lambda x: x.flat[3:5],
    ],
)
def test_functions_that_read(f: Any) -> None:
    moves_as_numpy(f, (3, 4))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.compress(x[:, 0] > 1, x, axis=0),
        lambda x: np.extract(x > 4, x),
        lambda x: x[np.argwhere(x > 6)[:, 0]],
        lambda x: x[x > 4],
        lambda x: x[:, x[0] > 1.5],
        lambda x: np.delete(x, np.argmax(x, axis=1), axis=1),
        lambda x: np.repeat(x, (x[0] > 1.5) + 1, axis=1),
    ],
)
def test_functions_whose_result_has_a_shape_by_values(f: Any) -> None:
    moves_as_numpy(f, (3, 4), batched=False)


def written(code: Any) -> Any:
    def f(x: Any) -> Any:
        y = np.copy(x)
        code(y, x)
        return y

    return f


@pytest.mark.parametrize(
    "code",
    [
        lambda y, x: np.put(y, [0, -1], x[0, 1]),
        lambda y, x: np.put(y, [0, 3, 3], x[1, :2]),
        lambda y, x: np.put(y, [0, 50], x[1], mode="wrap"),
        lambda y, x: np.put(y, [-3, 50], x[1], mode="clip"),
        lambda y, x: y.put([1, 2], x[2, :2]),
        lambda y, x: np.put(y, [], x[0]),
        lambda y, x: np.putmask(y, x > 4, x[::-1]),
        lambda y, x: np.putmask(y, x > 4, x[0]),
        lambda y, x: np.putmask(y, x > 4, 0.0),
        lambda y, x: np.copyto(y, x[0]),
        lambda y, x: np.copyto(y, 0.0),
        lambda y, x: np.copyto(y, x[:, ::-1], where=x > 5),
        lambda y, x: np.copyto(y, x[0, 0], where=[True, False] * 2),
        lambda y, x: np.put_along_axis(y, np.array([[0], [2], [1]]), x[:, :1], axis=1),
        lambda y, x: np.put_along_axis(y, np.array([0, 5, 5]), x[0, :3], axis=None),
        lambda y, x: np.fill_diagonal(y, x[1, 1]),
        lambda y, x: np.fill_diagonal(y, x[1, :2]),
        lambda y, x: np.fill_diagonal(y.T, x[1, 1], wrap=True),
        lambda y, x: y.fill(x[1, 1]),
        lambda y, x: y.sort(axis=0),
        lambda y, x: np.fill_diagonal(y, x[2]),
    ],
)
def test_functions_that_write(code: Any) -> None:
    moves_as_numpy(written(code), (3, 4))


@pytest.mark.parametrize("v", [lambda x: x[0, :3], lambda x: 0.0, lambda x: x[0], lambda x: x])
def test_place_begins_its_values_again(v: Any) -> None:
    moves_as_numpy(written(lambda y, x: np.place(y, x > 4, v(x))), (3, 4), batched=False)


@pytest.mark.parametrize("index", [[0, 1, 1], (slice(None), [0, 0]), ([0, 0], [1, 1])])
def test_add_and_subtract_at(index: Any) -> None:
    x = number((3, 4))

    def added(x: Any) -> Any:
        y = np.copy(x)
        np.add.at(y, index, 2 * x[index])
        np.subtract.at(y, index, 0.5 * x[index])
        return y

    def adjoint(g: Any) -> Any:
        made = g.copy()
        np.add.at(made, index, 1.5 * g[index])
        return made

    np.testing.assert_allclose(cr.trace(added, x).run([x])[0], added(x))
    np.testing.assert_allclose(cr.grad(weighted(added))(x), adjoint(number((3, 4))))


def test_of_two_writes_to_one_place_the_last_is_differentiated() -> None:
    def f(v: Any) -> Any:
        y = np.zeros(3)
        y[[0, 2, 0, 0]] = v
        return y[0] * 10 + y[2]

    np.testing.assert_array_equal(cr.grad(f)(np.arange(1.0, 5.0)), [0, 1, 0, 10])


def test_a_program_does_not_overwrite_what_is_still_seen() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        part = y[1:]
        kept = part * 1
        y[1] = 0.0
        flat = y.reshape(-1)
        y[0] = 5.0
        return np.sum(part) + np.sum(kept) + np.sum(flat)

    x = np.array([1.0, 2.0, 3.0])
    assert cr.trace(f, x).run([x])[0] == f(x)
    np.testing.assert_array_equal(x, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(cr.grad(f)(x), [0, 2, 6])


def test_a_row_at_a_recorded_place_is_a_view() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        row = y[np.argmax(x[:, 0])]
        row[0] = 100.0
        y[-1, 1] = -7.0
        return np.sum(y * number((3, 4))) + np.sum(row)

    def from_zeros(x: Any) -> Any:
        y = np.zeros((3, 4))
        row = y[np.argmax(x[:, 0])]
        y[2, 3] = 5.0
        row[1:3] = x[0, :2]
        y[2, 0] = x[1, 1]
        return np.sum(y * number((3, 4))) + np.sum(row**2)

    x = number((3, 4))
    for code in (f, from_zeros):
        assert cr.trace(code, x).run([x])[0] == code(x)
        witness = cr.numerical.grad(code, x)
        np.testing.assert_allclose(cr.grad(code)(x), witness.value, atol=1e-6)
        assert cr.vmap(code)(np.stack([x, -x]))[1] == code(-x)
