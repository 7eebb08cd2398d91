"""Shapes, axes, joining, splitting, padding, diagonals, arrays made of arrays: each held against NumPy."""

# ruff: noqa: PLW0108 - a list of calls reads best as calls
# mypy: disable-error-code="arg-type,call-overload"

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rules.moves import moves_as_numpy, number

import chainrule as cr
from chainrule.errors import NoRule

RESHAPES = [
    lambda x: np.reshape(x, (4, 6)),
    lambda x: np.reshape(x, -1),
    lambda x: x.reshape(6, -1),
    lambda x: x.reshape((2, 2, 6)),
    lambda x: np.reshape(x, (4, 6), order="F"),
    lambda x: np.reshape(x, (-1, 3), "F"),
    lambda x: x.reshape(-1, order="F"),
    lambda x: np.reshape(x, (4, 6), copy=True),
    lambda x: np.ravel(x),
    lambda x: x.ravel(order="F"),
    lambda x: x.flatten(),
    lambda x: x.flatten(order="F"),
    lambda x: np.reshape(x, np.array([4, 6])),
    lambda x: np.copy(x),
    lambda x: x.copy(),
    lambda x: np.ravel(x.ravel(), order="K"),
    lambda x: x[:1, :1].reshape((4, 1), order="A"),
    lambda x: np.transpose(x),
    lambda x: x.T,
    lambda x: np.transpose(x, (2, 0, 1)),
    lambda x: x.transpose(1, -1, 0),
    lambda x: np.permute_dims(x, (0, 2, 1)),
    lambda x: np.swapaxes(x, 0, -1),
    lambda x: x.swapaxes(1, 2),
    lambda x: np.moveaxis(x, 0, -1),
    lambda x: np.moveaxis(x, (0, 1), (-1, 0)),
    lambda x: np.moveaxis(x, [2, 0], [0, 1]),
    lambda x: np.rollaxis(x, 2),
    lambda x: np.rollaxis(x, 0, 3),
    lambda x: np.rollaxis(x, -1, 1),
    lambda x: np.matrix_transpose(x),
    lambda x: x.mT,
    lambda x: np.linalg.matrix_transpose(x),
    lambda x: np.squeeze(x[:, :1, :1]),
    lambda x: np.squeeze(x[:, :1, :1], axis=1),
    lambda x: x[:1].squeeze(axis=(0,)),
    lambda x: np.expand_dims(x, 0),
    lambda x: np.expand_dims(x, (0, -1, 2)),
    lambda x: np.expand_dims(x[0], axis=-1),
    lambda x: np.atleast_1d(x[0, 0, 0]),
    lambda x: np.atleast_1d(x),
    lambda x: np.atleast_2d(x[0, 0]),
    lambda x: np.atleast_2d(x, x[0, 0, 0]),
    lambda x: np.atleast_3d(x[0, 0]),
    lambda x: np.atleast_3d(x[0, 0, 0], x[0]),
    lambda x: np.broadcast_to(x, (2, *x.shape)),
    lambda x: np.broadcast_to(x[:, :1], (5, 2, 3, 4)),
    lambda x: np.broadcast_arrays(x[0], x[:, :1, :1]),
    lambda x: np.broadcast_to(x[0, 0, 0], 3),
    lambda x: np.meshgrid(x[0, 0], x[0, :, 0]),
    lambda x: np.meshgrid(x[0, 0], x[0, :, 0], indexing="ij"),
    lambda x: np.meshgrid(x[0, 0], x[0, :, 0], x[:, 0, 0], sparse=True),
    lambda x: np.meshgrid(x[0, 0], copy=False),
]

ORDERS = [
    lambda x: np.flip(x),
    lambda x: np.flip(x, 1),
    lambda x: np.flip(x, (0, -1)),
    lambda x: np.fliplr(x),
    lambda x: np.flipud(x),
    lambda x: np.rot90(x),
    lambda x: np.rot90(x, 2, (1, 2)),
    lambda x: np.rot90(x, 3),
    lambda x: np.rot90(x, -1, (2, 0)),
    lambda x: np.rot90(x, 4),
    lambda x: np.roll(x, 5),
    lambda x: np.roll(x, -1, axis=1),
    lambda x: np.roll(x, 7, axis=2),
    lambda x: np.roll(x, (1, -2), axis=(0, 2)),
    lambda x: np.roll(x, (1, 1), axis=(1, 1)),
    lambda x: np.roll(x, 0),
    lambda x: np.roll(x, 1, axis=(0, 1)),
    lambda x: np.roll(x[:0], 3),
    lambda x: np.repeat(x, 2),
    lambda x: x.repeat(3, axis=1),
    lambda x: np.repeat(x, [2, 0], axis=0),
    lambda x: np.repeat(x, np.array([1, 0, 2]), axis=-2),
    lambda x: np.repeat(x[0, 0, 0], 4),
    lambda x: np.repeat(x, 0, axis=0),
    lambda x: np.repeat(x, [2], axis=0),
    lambda x: np.tile(x, 2),
    lambda x: np.tile(x, (2, 1, 3)),
    lambda x: np.tile(x, (2, 1, 1, 2)),
    lambda x: np.tile(x[0, 0], (3, 1)),
    lambda x: np.tile(x, 1),
    lambda x: np.tile(x, (0, 2)),
    lambda x: np.resize(x, (5, 7)),
    lambda x: np.resize(x, 3),
    lambda x: np.resize(x, (0,)),
    lambda x: np.lib.stride_tricks.sliding_window_view(x[0, 0], 2),
    lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 3), axis=(1, 2)),
    lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=0),
    lambda x: np.lib.stride_tricks.sliding_window_view(x[0], (2, 2)),
]

JOINS = [
    lambda x, y: np.concatenate([x, y]),
    lambda x, y: np.concatenate((x, y[:2], x), axis=-1 + 1),
    lambda x, y: np.concatenate([x, y.T[:3]], axis=1),
    lambda x, y: np.concatenate([x, y], axis=None),
    lambda x, y: np.concatenate([x]),
    lambda x, y: np.concatenate([x, np.zeros((2, 4))]),
    lambda x, y: np.stack([x, y[:3]]),
    lambda x, y: np.stack([x, y[:3], x], axis=1),
    lambda x, y: np.stack([x, y[:3]], axis=-1),
    lambda x, y: np.stack([x[0, 0], y[0, 0]]),
    lambda x, y: np.hstack([x, y[:3]]),
    lambda x, y: np.hstack([x[0], y[0, 0]]),
    lambda x, y: np.vstack([x, y[0]]),
    lambda x, y: np.vstack([x[0], y[0]]),
    lambda x, y: np.dstack([x, y[:3]]),
    lambda x, y: np.dstack([x[0], y[0]]),
    lambda x, y: np.column_stack([x[:, 0], y[:3]]),
    lambda x, y: np.column_stack([x[0], y[0]]),
    lambda x, y: np.block([[x, x], [y, y]]),
    lambda x, y: np.block([x[0], y[0, 0]]),
    lambda x, y: np.block(x),
    lambda x, y: np.block([[x, np.zeros((3, 1))], [0.0, 0.0, y[:1, :3]]]),
    lambda x, y: np.append(x, y),
    lambda x, y: np.append(x, y, axis=0),
    lambda x, y: np.append(x[0], y[0, 0]),
    lambda x, y: np.split(x, 2, axis=1),
    lambda x, y: np.split(x, [1, 1, 2]),
    lambda x, y: np.array_split(x, 2),
    lambda x, y: np.array_split(x, [1, 9], axis=1),
    lambda x, y: np.hsplit(x, 2),
    lambda x, y: np.vsplit(y, 5),
    lambda x, y: np.hsplit(x[0], [1]),
    lambda x, y: np.dsplit(x[None], 2),
    lambda x, y: np.unstack(x),
    lambda x, y: np.unstack(x, axis=1),
    lambda x, y: np.insert(x, 1, y[0], axis=0),
    lambda x, y: np.insert(x, 1, y[:2, 0], axis=None),
    lambda x, y: np.insert(x, [0, 2], y[:2], axis=0),
    lambda x, y: np.insert(x, [1], y[:3, :2], axis=1),
    lambda x, y: np.insert(x, 1, y[:3, 0], axis=1),
    lambda x, y: np.insert(x, slice(0, 4, 2), y[:3, :2], axis=1),
    lambda x, y: np.insert(x, [3, 1, 1], 0.0, axis=1),
    lambda x, y: np.insert(x[0], -1, y[0, 0]),
    lambda x, y: np.insert(np.zeros(3), 1, y[0]),
    lambda x, y: np.insert(x[0], np.array([True, False, False, True]), y[0, :2]),
    lambda x, y: np.insert(x, 1, y[:2], axis=0),
    lambda x, y: np.delete(x, 1, axis=0),
    lambda x, y: np.delete(x, [0, -1]),
    lambda x, y: np.delete(x, slice(None, None, 2), axis=1),
    lambda x, y: np.delete(x, [], axis=0),
    lambda x, y: np.delete(x, np.array([True, False, True]), axis=0),
    lambda x, y: np.r_[x[0], 0.0, y[0]],
    lambda x, y: np.r_[x, y],
    lambda x, y: np.c_[x[0], y[0]],
    lambda x, y: np.c_[x, y[:3]],
    lambda x, y: np.r_[x[0, 0], y[0, 1]],
    lambda x, y: np.c_[x[0, 0], y[:1]],
]

PADS = [
    lambda x: np.pad(x, 1),
    lambda x: np.pad(x, ((1, 2), (0, 3))),
    lambda x: np.pad(x, (2, 1), mode="edge"),
    lambda x: np.pad(x, ((2, 1), (1, 0)), mode="reflect"),
    lambda x: np.pad(x, 5, "reflect"),
    lambda x: np.pad(x, (1, 2), mode="symmetric"),
    lambda x: np.pad(x, 7, mode="symmetric"),
    lambda x: np.pad(x, ((0, 4), (6, 1)), mode="wrap"),
    lambda x: np.pad(x, 0),
    lambda x: np.pad(x, 1, constant_values=x[0, 0]),
    lambda x: np.pad(x, 1, constant_values=(x[0, 1], 0)),
    lambda x: np.pad(x, 1, constant_values=((x[0, 1], 0), (x[1, 1], x[0, 2]))),
    lambda x: np.pad(x, 2, mode="maximum"),
    lambda x: np.pad(x, {0: 1, -1: (2, 0)}),
    lambda x: np.pad(x, 2, mode="minimum", stat_length=2),
    lambda x: np.pad(x, (1, 2), mode="maximum", stat_length=((1, 2), (2, 9))),
    lambda x: np.pad(x[0], 1),
    lambda x: np.pad(x[:0], 1),
]

DIAGONALS = [
    *[lambda x, k=k: np.diagonal(x, k) for k in (-4, -3, -1, 0, 1, 3, 5)],
    *[lambda x, k=k: np.diag(x, k) for k in (-2, 0, 2, 9)],
    *[lambda x, k=k: np.diag(x[0], k) for k in (-2, 0, 1)],
    *[lambda x, k=k: np.tril(x, k) for k in (-1, 0, 2)],
    *[lambda x, k=k: np.triu(x, k) for k in (-1, 0, 2)],
    lambda x: np.diagflat(x),
    lambda x: np.diagflat(x[0, 0], 1),
    lambda x: np.diagonal(np.stack([x, 0 * x]), 1, 2, 1),
    lambda x: np.diagonal(np.stack([x, 0 * x])),
    lambda x: x.diagonal(offset=-1),
    lambda x: np.linalg.diagonal(x, offset=1),
    lambda x: np.tril(x[0]),
    lambda x: np.diag(x[:0, 0]),
    lambda x: np.triu(np.stack([x, 0 * x])),
]

ARRAYS = [
    lambda x: np.array([x[0, 0], x[1, 2], 0.0]),
    lambda x: np.array([[x[0, 0], 0], [x[1, 1], x[0, 1]]]),
    lambda x: np.array([x[0], x[1]]),
    lambda x: np.array([x[0], [0.0, x[0, 0], 0, 0]]),
    lambda x: np.array([(x[0], x[1]), (x[2], x[0])]),
    lambda x: np.array(x),
    lambda x: np.asarray(x),
    lambda x: np.array([x[0, 0]], ndmin=3),
    lambda x: np.array(x, copy=False, ndmin=3),
    lambda x: np.array([[x[0, 0]], [x[1, 1]]]),
    lambda x: np.asarray([x[0, 0], x[1, 1]]),
    lambda x: np.ascontiguousarray(x.T),
    lambda x: np.asanyarray([x[0, 0]]),
    lambda x: np.full((2, 3), x[0, 0]),
    lambda x: np.full_like(x, x[1, 1]),
    lambda x: np.full(3, x[0, :3]),
    lambda x: np.zeros_like(x),
    lambda x: 0 * np.ones_like(x),
    lambda x: np.full_like(x, x[1, 1], shape=(2,)),
    lambda x: np.array([np.zeros(4), x[0]]),
    lambda x: np.array([0, 0, x[0, 0]]),
    lambda x: np.require(x),
    lambda x: np.array([list(row) for row in x]),
    lambda x: np.array([[], []]) + x[0, 0],
]

MAPS = [
    lambda x: np.apply_along_axis(lambda row: row[::-1], 1, x),
    lambda x: np.apply_along_axis(lambda row: row[0], 0, x),
    lambda x: np.apply_along_axis(lambda row: np.stack([row, row]), 0, x),
    lambda x: np.apply_over_axes(np.max, x, [0, 1]),
]


@pytest.mark.parametrize("f", [*RESHAPES, *ORDERS])
def test_three_axes(f: Any) -> None:
    moves_as_numpy(f, (2, 3, 4))


@pytest.mark.parametrize("f", JOINS)
def test_joining_and_splitting(f: Any) -> None:
    moves_as_numpy(f, (3, 4), (5, 4))


@pytest.mark.parametrize("f", [*PADS, *DIAGONALS, *ARRAYS, *MAPS])
def test_matrices(f: Any) -> None:
    moves_as_numpy(f, (3, 4))


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (2, 6), (1, 1), (0, 3)])
@pytest.mark.parametrize("k", [-7, -2, -1, 0, 1, 2, 7])
def test_diagonals_of_any_matrix(shape: Any, k: int) -> None:
    for f in (np.diagonal, np.diag, np.tril, np.triu):
        moves_as_numpy(lambda x, f=f: f(x, k), shape)


# --- composites that compute ----------------------------------------------------------------------------------------


def close_to_numpy(f: Any, *arrays: Any) -> None:
    """Value, gradient (complex step is no use here: central differences of a quadratic are exact) and batch."""
    wanted = f(*arrays)
    found = cr.trace(f, *arrays).run(arrays)[0]
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-14)
    weights = np.cos(number(wanted.shape))
    report = cr.grad(lambda *given: np.sum(f(*given) * weights), argnums=tuple(range(len(arrays))))(*arrays)
    for place, gradient in enumerate(report):

        def along(one: Any, place: int = place) -> float:
            return float(np.sum(f(*[one if rank == place else other for rank, other in enumerate(arrays)]) * weights))

        witness = cr.numerical.grad(along, arrays[place])
        assert np.all(np.abs(gradient - witness.value) <= witness.error + 1e-11 * (1 + np.abs(witness.value)))


X = np.random.default_rng(0).normal(size=(4, 5))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.diff(x),
        lambda x: np.diff(x, 2, axis=0),
        lambda x: np.diff(x, n=0),
        lambda x: np.diff(x, prepend=1.0),
        lambda x: np.diff(x, axis=0, prepend=x[:1], append=x[-1:] * 2),
        lambda x: np.ediff1d(x),
        lambda x: np.ediff1d(x, to_begin=[1.0, 2.0], to_end=x[0, 0]),
        lambda x: np.gradient(x[0]),
        lambda x: np.gradient(x, axis=1),
        lambda x: np.gradient(x, 2.0, axis=0, edge_order=2),
        lambda x: np.gradient(x, np.array([0.0, 1, 3, 4.5, 6]), axis=1),
        lambda x: np.gradient(x, np.array([0.0, 1, 3, 4.5, 6]), axis=1, edge_order=2),
        lambda x: np.stack(np.gradient(x, 2.0, 3.0)),
        lambda x: np.gradient(np.sin(x[0]), np.cumsum(1.5 + np.tanh(x[1]))),
        lambda x: np.gradient(x[0], 1.5 + x[0, 0] ** 2, edge_order=2),
        lambda x: np.trapezoid(x),
        lambda x: np.trapezoid(x, dx=0.5, axis=0),
        lambda x: np.trapezoid(x, x=np.array([0.0, 1, 1.5, 4, 5])),
        lambda x: np.trapezoid(x, x=x**2),
        lambda x: np.trapezoid(x[0], x[1]),
        lambda x: np.cross(x[:, :3], x[:, 1:4]),
        lambda x: np.cross(x[:3], x[1:], axis=0),
        lambda x: np.cross(x[:3, :3], x[:3, 1:4], axisa=0, axisb=1, axisc=0),
        lambda x: np.cross(x[0, :3], x[:, 2:]),
        lambda x: np.linalg.cross(x[:, :3], x[:, 2:]),
        lambda x: np.vander(x[0]),
        lambda x: np.vander(x[0], 3, increasing=True),
        lambda x: np.vander(x[0], 1),
        lambda x: np.pad(x, (2, 1), mode="mean"),
        lambda x: np.pad(x, (2, 1), mode="mean", stat_length=2),
        lambda x: np.pad(x, (2, 1), mode="linear_ramp"),
        lambda x: np.pad(x, ((3, 1), (0, 2)), mode="linear_ramp", end_values=((1.0, 2.0), (3.0, 4.0))),
        lambda x: np.pad(x, 2, mode="linear_ramp", end_values=x[0, 0]),
        lambda x: np.pad(x, 2, mode="median"),
        lambda x: np.pad(x, (3, 2), mode="reflect", reflect_type="odd"),
        lambda x: np.pad(x, (3, 2), mode="symmetric", reflect_type="odd"),
        lambda x: np.arange(0, 3, 1.0) * np.sum(x),
        lambda x: np.arange(x[0, 0], x[0, 0] + 3, 0.4),
        lambda x: np.apply_along_axis(np.sum, 0, x),
        lambda x: np.apply_over_axes(np.sum, x, (0, -1)),
    ],
)
def test_composites(f: Any) -> None:
    close_to_numpy(f, X)


# --- details --------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_pad_has_numpys_meaning_in_every_mode_of_its_own_elements(data: Any) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    widths = [tuple(data.draw(st.integers(0, 9)) for _ in range(2)) for _ in shape]
    mode = data.draw(st.sampled_from(["edge", "reflect", "symmetric", "wrap", "constant"]))
    moves_as_numpy(lambda x: np.pad(x, widths, mode=mode), shape)


@settings(max_examples=40)
@given(st.data())
def test_roll_repeat_and_tile(data: Any) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    shift = data.draw(st.integers(-7, 7))
    counts = data.draw(st.lists(st.integers(0, 2), min_size=shape[axis], max_size=shape[axis]))
    reps = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
    moves_as_numpy(lambda x: np.roll(x, shift, axis), shape)
    moves_as_numpy(lambda x: np.repeat(x, np.array(counts, int), axis), shape)
    moves_as_numpy(lambda x: np.tile(x, reps), shape)


@pytest.mark.parametrize(
    "f",
    [
        np.copy,
        np.roll,
        np.repeat,
        np.tile,
        np.flatten if hasattr(np, "flatten") else lambda x: x.flatten(),
        np.sort,
        lambda x: np.take(x, 0, axis=0),
        lambda x: np.concatenate([x]),
        lambda x: np.pad(x, 0),
        lambda x: np.array(x),
        lambda x: np.compress([True, True, True], x, axis=0),
        lambda x: x[np.array([0, 1])],
        lambda x: x[np.array(0)],
        lambda x: np.delete(x, [], axis=0),
        lambda x: np.diag(x[0]),
        lambda x: np.sort(x[:1], axis=0),
        lambda x: np.tril(x),
    ],
)
def test_a_copy_does_not_see_later_writes(f: Any) -> None:
    if f is np.roll:
        f = lambda x: np.roll(x, 0)  # noqa: E731
    elif f in (np.repeat, np.tile):
        f = lambda x, g=f: g(x, 1)  # noqa: E731

    def reads(x: Any) -> Any:
        y = x * 1.0
        made = f(y)
        y[...] = 0.0
        return np.sum(made)

    x = number((3, 4))
    assert cr.trace(reads, x).run([x])[0] == reads(x)
    assert np.any(cr.grad(reads)(x))

    def writes(x: Any) -> Any:
        y = x * 1.0
        made = f(y)
        made[...] = 0.0
        return np.sum(y)

    assert cr.trace(writes, x).run([x])[0] == writes(x)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.reshape(-1),
        np.ravel,
        np.transpose,
        lambda x: x.T[1:],
        lambda x: x[::-1],
        lambda x: np.flip(x, 1),
        lambda x: np.expand_dims(x, 0),
        lambda x: np.squeeze(x[:1]),
        lambda x: np.swapaxes(x, 0, 1),
        lambda x: np.rot90(x),
        lambda x: np.moveaxis(x, 0, 1),
        lambda x: np.split(x, 3)[1],
        lambda x: np.asarray(x),
        lambda x: np.atleast_3d(x),
        lambda x: np.hsplit(x, 2)[0],
        lambda x: x[1],
        lambda x: x[..., 1, None],
        lambda x: np.rot90(x, 4),
        lambda x: np.squeeze(x),
        lambda x: np.unstack(x)[2],
    ],
)
def test_a_view_is_written_through(f: Any) -> None:
    def writes(x: Any) -> Any:
        y = x * 1.0
        made = f(y)
        made[...] = 7.0
        y[0, 1] = 3.0
        return np.sum(y * number((3, 4))) + np.sum(made)

    x = -number((3, 4))
    assert cr.trace(writes, x).run([x])[0] == writes(x)
    probe = x * 1.0
    f(probe)[...] = 7.0
    probe[0, 1] = 3.0
    np.testing.assert_array_equal(cr.grad(writes)(x), np.where(probe < 0, number((3, 4)), 0))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.trim_zeros(x[0]),
        lambda x: np.ravel(x, order="K"),
        lambda x: x.reshape((4, 3), order="A"),
        lambda x: np.pad(x, 1, mode="empty"),
        lambda x: np.pad(x, 1, mode=lambda *a: None),
        lambda x: np.sort_complex(x),
        lambda x: np.pad(x, 9, mode="reflect", reflect_type="odd"),
        lambda x: np.lib.stride_tricks.sliding_window_view(x[0], 2, writeable=True),
    ],
)
def test_what_has_no_rule_says_so(f: Any) -> None:
    with pytest.raises(NoRule, match="What to do"):
        cr.grad(lambda x: np.sum(f(x)))(number((3, 4)))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.reshape(5, 2),
        lambda x: x.reshape(-1, 5),
        lambda x: x.reshape(-1, -1),
        lambda x: np.transpose(x, (0, 0)),
        lambda x: np.transpose(x, (0,)),
        lambda x: np.swapaxes(x, 0, 2),
        lambda x: np.squeeze(x, 0),
        lambda x: np.flip(x, 2),
        lambda x: np.broadcast_to(x, (3, 5)),
        lambda x: np.concatenate([x, x[0]]),
        lambda x: np.concatenate([x, x[:, 1:]]),
        lambda x: np.concatenate([]),
        lambda x: np.stack([x, x[1:]]),
        lambda x: np.split(x, 2),
        lambda x: np.split(x, 5, axis=1),
        lambda x: np.moveaxis(x, (0, 1), (0,)),
        lambda x: np.diagonal(x[0]),
        lambda x: np.diag(x[None]),
        lambda x: np.vander(x),
        lambda x: np.repeat(x, -1),
        lambda x: np.repeat(x, [1, 2], axis=1),
        lambda x: np.pad(x, -1),
        lambda x: np.pad(x, 1.5),
        lambda x: np.rot90(x, 1, (0, 0)),
        lambda x: np.rot90(x, 1, (0, 5)),
        lambda x: np.rollaxis(x, 0, 5),
        lambda x: np.diff(x, -1),
        lambda x: np.gradient(x[:1], axis=0),
        lambda x: np.gradient(x, 1.0, 2.0, 3.0),
        lambda x: np.take(x, 3, axis=0),
        lambda x: np.take(x, [12]),
        lambda x: np.concatenate([x[0, 0], x[0, 1]]),
        lambda x: np.delete(x, 4, axis=0),
        lambda x: np.array([x[0], x[0, :2]]),
        lambda x: np.expand_dims(x, (0, 0)),
        lambda x: np.insert(x, 5, 0.0, axis=0),
        lambda x: np.fliplr(x[0]),
        lambda x: np.vsplit(x[0], 1),
        lambda x: np.meshgrid(x[0], indexing="no"),
    ],
)
def test_wrong_arguments_are_refused_as_numpy_does(f: Any) -> None:
    x = number((3, 4))
    with pytest.raises((ValueError, IndexError, TypeError)) as wanted:
        f(x)
    with pytest.raises(wanted.type) as seen:
        cr.trace(lambda x: np.sum(f(x)), x)
    first = str(wanted.value).splitlines()[0].partition(" into shape")[0].rstrip(". ")
    assert str(seen.value).splitlines()[0].startswith(first), (str(seen.value), first)


def test_asarray_chkfinite_looks() -> None:
    x = number((3, 4))
    np.testing.assert_array_equal(cr.grad(lambda x: np.sum(np.asarray_chkfinite(x)))(x), np.ones((3, 4)))
    with pytest.raises(ValueError, match="infs or NaNs"):
        cr.grad(lambda x: np.sum(np.asarray_chkfinite(x)))(np.array([1.0, np.inf]))
