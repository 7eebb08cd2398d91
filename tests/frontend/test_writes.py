"""In-place writes as NumPy has them: assignment, augmented assignment, views, ``out=``, ``np.add.at`` and their kin."""

# ruff: noqa: B008, PLW0108, PT017 - plain code as people write it; a refusal may be one of two right answers

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.frontend.agreement import agrees, close, right_or_refused

import chainrule as cr

X = np.array([0.7, 1.3, 0.4, 2.1])
M = np.arange(1.0, 13.0).reshape(3, 4) / 7.0


# --- arrays that the function makes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [np.zeros, np.ones, np.empty])
def test_assignment_into_a_new_array(make):
    def f(x):
        y = make(4)
        y[0] = x[0] ** 2
        y[1:] = np.sin(x[1:]) * x[0]
        return y @ y

    agrees(f, X)


def test_assignment_into_zeros_by_name():
    def f(x):
        y = np.zeros(4)
        y[0] = x[0] ** 2
        y[1:] = np.sin(x[1:]) * x[0]
        return y @ y

    agrees(f, X)


def test_assignment_into_empty_by_name():
    def f(x):
        y = np.empty((2, 2))
        y[0, 0] = x[0]
        y[0, 1] = x[1] * x[0]
        y[1] = x[2:] ** 2
        return np.sum(y * y.T)

    agrees(f, X)


def test_assignment_into_ones():
    def f(x):
        y = np.ones(4)
        y[2] = x[2] * x[3]
        return np.prod(y) + np.sum(y * x)

    agrees(f, X)


def test_assignment_into_full():
    def f(x):
        y = np.full((2, 3), 2.5)
        y[1, 1] = x[0] * x[1]
        return np.sum(y**2)

    agrees(f, X)


def test_full_of_a_value():
    def f(x):
        y = np.full((2, 2), x[0] * x[1])
        y[0] = x[2:]
        return np.sum(y**3)

    agrees(f, X)


@pytest.mark.parametrize("like", [np.zeros_like, np.ones_like, np.empty_like])
def test_assignment_into_an_array_like_the_input(like):
    def f(x):
        y = like(x)
        for i in range(len(x)):
            y[i] = x[i] ** 2 * x[0]
        return np.sum(np.exp(-y))

    agrees(f, X)


def test_full_like():
    def f(x):
        y = np.full_like(x, 3.0)
        y[1] = x[1] * x[2]
        return np.prod(y)

    agrees(f, X)


def test_zeros_like_of_a_plain_array():
    data = np.ones((2, 4))

    def f(x):
        y = np.zeros_like(data)
        y[1] = x**2
        return np.sum(y * data)

    agrees(f, X)


def test_assignment_into_arange():
    def f(x):
        y = np.arange(4.0)
        y[0] = x[0]
        return np.sum(y * y * x)

    agrees(f, X)


def test_assignment_into_an_array_from_a_list():
    def f(x):
        y = np.array([1.0, 2.0, 3.0])
        y[1] = x[0] * x[1]
        return y[0] * y[1] + y[2] * y[1] ** 2

    agrees(f, X)


def test_assignment_into_a_copy():
    def f(x):
        y = x.copy()
        y[0] = y[1] * y[2]
        return np.sum(y * x)

    agrees(f, X)


def test_assignment_into_a_copy_of_data():
    data = np.array([1.0, 2.0, 3.0, 4.0])

    def f(x):
        y = data.copy()
        y[1:3] = x[:2] * x[2:]
        return np.sum(y**2)

    right_or_refused(f, X)
    np.testing.assert_array_equal(data, [1, 2, 3, 4])


def test_list_of_indices_and_mask_on_the_left():
    def f(x):
        y = np.zeros(5)
        y[[0, 3]] = x[:2] ** 2
        y[np.array([False, True, False, False, True])] = x[2:] * x[0]
        return np.sum(y * np.arange(5.0) ** 2)

    agrees(f, X)


def test_mask_of_values_on_the_left():
    def f(x):
        y = x * 1.0
        y[x > 1] = 0.0
        y[y == 0] = x[0] ** 2
        return np.sum(y**3)

    agrees(f, X)


def test_repeated_index_on_the_left_keeps_the_last():
    def f(x):
        y = np.zeros(3)
        y[[1, 1, 1]] = x[:3]
        return np.sum(y**2)

    close(agrees(f, X), np.array([0.0, 0.0, 0.8, 0.0]))


def test_two_dimensional_table_filled_in_loops():
    def f(x):
        n = len(x)
        table = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                table[i, j] = np.exp(-((x[i] - x[j]) ** 2)) if i != j else 1.0
        return np.sum(table @ x)

    agrees(f, X)


def test_dynamic_programming_table():
    def f(x):
        cost = np.zeros((5, 3))
        for i in range(1, 5):
            for j in range(3):
                cost[i, j] = x[i - 1] * (j + 1) + min(cost[i - 1, k] + abs(k - j) * 0.3 for k in range(3))
        return cost[-1].min()

    agrees(f, X)


def test_boundary_of_a_grid():
    def f(x):
        grid = np.zeros((4, 4))
        grid[0, :] = x
        grid[:, -1] = x**2
        for _ in range(3):
            grid[1:-1, 1:-1] = 0.25 * (grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:])
        return np.sum(grid**2)

    agrees(f, X)


def test_overwritten_values_lose_their_gradient():
    def f(x):
        y = x**2
        y[0] = 5.0
        return np.sum(y)

    close(agrees(f, X), np.array([0.0, 2.6, 0.8, 4.2]))


def test_written_array_is_one_of_several_results():
    def f(x):
        y = np.zeros(2)
        y[0] = x[0]
        early = y.copy()
        y[1] = x[1]
        return np.sum(early * 10.0) + np.sum(y)

    close(agrees(f, X), np.array([11.0, 1.0, 0.0, 0.0]))


# --- augmented assignment ---------------------------------------------------------------------------------------------


def test_every_augmented_assignment_on_arrays():
    def f(x):
        y = x.copy()
        y += x**2
        y -= 0.3
        y *= x
        y /= 1 + x
        y **= 2
        return np.sum(y)

    agrees(f, X)


def test_every_augmented_assignment_on_elements():
    def f(x):
        y = np.ones(4)
        y[0] += x[0]
        y[1] -= x[1] * x[0]
        y[2] *= x[2]
        y[3] /= x[3]
        y[0] **= 3
        y[1] **= 2.0
        return np.sum(y)

    agrees(f, X)


def test_every_augmented_assignment_on_slices():
    def f(x):
        y = np.ones((2, 4))
        y[0] += x
        y[1, 1:] -= x[:-1] ** 2
        y[:, 2] *= x[3]
        y[:, ::2] /= x[:2]
        y[0, 1:3] **= 2
        return np.sum(y * y)

    agrees(f, X)


def test_shifted_slice_of_itself():
    def f(x):
        y = x.copy()
        y[1:] += x[:-1] ** 2
        return np.sum(y**2)

    agrees(f, X)


def test_shifted_slice_of_the_same_array():
    def f(x):
        y = x.copy()
        y[1:] += y[:-1] ** 2
        return np.sum(y**2)

    agrees(f, X)


def test_shifted_copy_within_one_array():
    def f(x):
        y = x * x
        y[1:] = y[:-1]
        y[:-2] = y[2:] * y[:-2]
        return np.sum(y * np.arange(1.0, 5.0))

    agrees(f, X)


def test_augmented_assignment_on_a_mask():
    def f(x):
        y = x**2
        y[x > 1] *= 3.0
        y[[0, 2]] += x[[2, 0]]
        return np.sum(y)

    agrees(f, X)


def test_augmented_repeated_index_adds_once():
    def f(x):
        y = np.zeros(3)
        y[[0, 0, 1]] += x[:3]
        return np.sum(y * np.array([1.0, 10.0, 100.0]))

    close(agrees(f, X), np.array([0.0, 1.0, 10.0, 0.0]))


def test_augmented_assignment_changes_all_names_of_an_array():
    def f(x):
        y = np.zeros(4)
        z = y
        y += x**2
        z *= 2.0
        return np.sum(y * x)

    agrees(f, X)


def test_augmented_assignment_rebinds_a_number():
    def f(x):
        total = 0.0
        before = total
        for one in x:
            total += one**2
            total *= one
        return total + before

    agrees(f, X)


def test_augmented_assignment_on_a_number_leaves_the_other_name():
    def f(x):
        a = x[0]
        b = a
        a += x[1]
        a *= a
        return a * b

    agrees(f, X)


def test_augmented_assignment_on_a_reduction_leaves_the_array():
    def f(x):
        s = np.sum(x)
        t = s
        s += x[0]
        return s * t

    agrees(f, X)


def test_augmented_matrix_product():
    def f(x):
        a = np.outer(x[:2], x[2:])
        a @= a
        return np.sum(a)

    agrees(f, X)


def test_augmented_assignment_with_broadcast():
    def f(x):
        y = np.zeros((3, 4))
        y += x
        y += x[:3, None] ** 2
        return np.sum(y**2)

    agrees(f, X)


def test_augmented_assignment_that_does_not_fit_raises_as_numpy():
    def f(x):
        y = np.zeros(4)
        y += x[:, None]
        return np.sum(y)

    with pytest.raises(ValueError, match="broadcast"):
        cr.grad(f)(X)


def test_augmented_assignment_on_integers_is_refused_as_by_numpy():
    def f(x):
        y = np.arange(4)
        y += x
        return np.sum(y)

    with pytest.raises(TypeError):
        cr.grad(f)(X)


def test_function_that_writes_into_its_argument():
    def f(x):
        first = x[0] * 1.0
        x[0] = x[1] ** 2
        x *= 2.0
        x[1:] += first
        return np.sum(x**2)

    agrees(f, X)
    np.testing.assert_array_equal(X, [0.7, 1.3, 0.4, 2.1])


def test_helper_that_writes_into_what_it_is_given():
    def scale(a, factor):
        a *= factor
        a[0] = 1.0

    def f(x):
        y = x.copy()
        scale(y, x[1])
        return np.sum(y * x)

    agrees(f, X)


# --- views ------------------------------------------------------------------------------------------------------------


def test_write_through_a_row():
    def f(x):
        y = np.zeros((2, 4))
        row = y[0]
        row[1] = x[0] * x[1]
        y[1] = x
        return np.sum(y**2 * M[:2])

    agrees(f, X)


def test_write_to_the_base_is_seen_by_the_view():
    def f(x):
        y = np.zeros((2, 4))
        row = y[1]
        y[1, 2] = x[2] ** 2
        y[:, 0] = x[:2]
        return np.sum(row * x)

    agrees(f, X)


def test_write_through_the_transpose():
    def f(x):
        y = np.zeros((4, 2))
        y.T[0] = x
        y.T[1, 2:] = x[:2] ** 2
        return np.sum(y @ np.array([[1.0, 2.0], [3.0, 4.0]]))

    agrees(f, X)


def test_write_through_a_reshape():
    def f(x):
        y = np.zeros(4)
        square = y.reshape(2, 2)
        square[0, 1] = x[0] ** 2
        square[1] *= 3.0
        square[1] += x[2:]
        return np.sum(y * x)

    agrees(f, X)


def test_write_through_ravel():
    def f(x):
        y = np.zeros((2, 2))
        flat = y.ravel()
        flat[1:3] = x[:2]
        flat[0] = x[3] * x[3]
        return np.sum(y @ y)

    agrees(f, X)


def test_write_through_flat():
    def f(x):
        y = np.zeros((2, 2))
        y.flat = x**2  # type: ignore[misc]
        y.flat[3] = x[0]
        return np.sum(y @ y)

    agrees(f, X)


@pytest.mark.parametrize(
    "part",
    [
        lambda y: y[::2],
        lambda y: y[::-1],
        lambda y: y.reshape(2, 2)[:, 1],
        lambda y: y[1:3],
        lambda y: y.reshape(2, 2).T[0],
    ],
)
@pytest.mark.parametrize(
    "flat", [lambda v: v.ravel(), np.ravel, lambda v: v.reshape(-1), lambda v: v.flatten(), lambda v: v[...]]
)
def test_ravel_copies_what_is_not_contiguous_and_reshape_does_not(part, flat):
    def f(x):
        y, z = x * 1.0, np.zeros(4)
        flat(part(y))[0] = 100.0
        flat(part(z))[1] = x[0] ** 2
        return np.sum(y * y) + np.sum(z * x)

    agrees(f, X)


def test_flatten_is_a_copy():
    def f(x):
        y = x.reshape(2, 2) * 1.0
        flat = y.flatten()
        flat[0] = 100.0
        return np.sum(y) + flat[1]

    close(agrees(f, X), np.array([1.0, 2.0, 1.0, 1.0]))


def test_chain_of_views():
    def f(x):
        y = np.zeros((4, 4))
        part = y[1:, ::2].T[1]
        part[0] = x[0]
        part[1:] = x[1:3] ** 2
        y.T[0][2] = x[3]
        return np.sum(y @ x)

    agrees(f, X)


def test_view_made_before_the_first_traced_write():
    def f(x):
        y = np.zeros(4)
        tail = y[2:]
        head = y[:2]
        y[1] = x[0]
        head[0] = x[1] ** 2
        tail += x[2:]
        return np.sum(y**2)

    agrees(f, X)


def test_plain_writes_before_and_after_the_first_traced_write():
    def f(x):
        y = np.zeros(4)
        view = y[::-1]
        y[0] = 2.0
        view[0] = 3.0
        y[1] = x[1]
        view[1] = 4.0
        y[0] *= x[0]
        return np.sum(y * view)

    agrees(f, X)


def test_view_read_before_and_after_a_write():
    def f(x):
        y = x**2
        view = y[:2]
        before = np.sum(view)
        y[0] = x[3]
        return before * np.sum(view)

    agrees(f, X)


def test_result_computed_from_a_view_is_not_a_view():
    def f(x):
        y = x * 1.0
        view = y[:2] + 0.0
        y[:] = 0.0
        return np.sum(view)

    close(agrees(f, X), np.array([1.0, 1.0, 0.0, 0.0]))


def test_fancy_index_is_a_copy():
    def f(x):
        y = x * 1.0
        part = y[[0, 1]]
        part[0] = 100.0
        mask = y[y > 1]
        mask[:] = 0.0
        return np.sum(y)

    close(agrees(f, X), np.ones(4))


def test_element_is_not_a_view():
    def f(x):
        y = x * 1.0
        one = y[0]
        y[0] = x[1] * x[2]
        return one * 3.0 + y[0]

    agrees(f, X)


def test_zero_dimensional_view():
    def f(x):
        y = x * 1.0
        one = y[0, ...]
        one[...] = x[1] * x[2]
        one += 1.0
        return np.sum(y)

    agrees(f, X)


def test_view_by_new_axis():
    def f(x):
        y = np.zeros(4)
        column = y[:, None]
        column[1:, 0] = x[1:] ** 2
        return np.sum(y * x)

    agrees(f, X)


def test_view_by_swapaxes_and_moveaxis():
    def f(x):
        y = np.zeros((2, 2, 2))
        np.swapaxes(y, 0, 2)[1, 0] = x[:2]
        np.moveaxis(y, 0, -1)[1, 1] = x[2:]
        return np.sum(y * np.arange(8.0).reshape(2, 2, 2))

    agrees(f, X)


def test_view_by_diagonal_is_read_only_as_in_numpy():
    def f(x):
        y = np.outer(x, x)
        np.diagonal(y)[0] = 1.0
        return np.sum(y)

    with pytest.raises(ValueError, match="read-only"):
        cr.grad(f)(X)


def test_split_gives_views():
    def f(x):
        y = x * 1.0
        head, tail = np.split(y, 2)
        head[0] = x[3] ** 2
        tail *= 2.0
        return np.sum(y * x)

    agrees(f, X)


def test_unpacked_rows_are_views():
    def f(x):
        y = np.zeros((2, 2))
        top, bottom = y
        top[0] = x[0]
        bottom[:] = x[2:]
        return np.sum(y @ y)

    agrees(f, X)


def test_rows_in_a_for_loop_are_views():
    def f(x):
        y = np.zeros((3, 4))
        for row in y:
            row += x
            row[0] *= x[1]
        return np.sum(y**2)

    agrees(f, X)


def test_reshape_of_a_transpose_is_a_copy_or_refused():
    def f(x):
        y = np.outer(x, x)
        flat = y.T.reshape(-1)
        flat[1] = 100.0
        return np.sum(y) + flat[2]

    try:
        agrees(f, X)
    except cr.TraceError as refusal:
        assert "copy" in str(refusal)


def test_ellipsis_and_whole_slice():
    def f(x):
        y = np.zeros((2, 4))
        y[...] = x
        y[:] *= x
        y[..., 1] = x[0]
        z = np.zeros(())
        z[...] = x[1]
        z[()] += x[2]
        return np.sum(y) * z

    agrees(f, X)


def test_view_kept_while_its_base_is_rebound():
    def f(x):
        y = x * 2.0
        view = y[1:]
        y = y * x
        view[0] = 7.0
        return np.sum(y) + np.sum(view)

    agrees(f, X)


def test_two_views_of_one_array_overlap():
    def f(x):
        y = x * 1.0
        a, b = y[:3], y[1:]
        a[1] = x[0] ** 2
        b[0] += a[0]
        a *= b
        return np.sum(y)

    agrees(f, X)


def test_augmented_assignment_from_an_overlapping_view():
    def f(x):
        y = x * 1.0
        y += y[::-1]
        y[:] = y[::-1] * x
        return np.sum(y * np.arange(1.0, 5.0))

    agrees(f, X)


# --- out=, at, and functions that write -------------------------------------------------------------------------------


def test_out_keyword():
    def f(x):
        y = np.zeros(4)
        np.multiply(x, x, out=y)
        np.add(y, x, out=y)
        np.exp(y, out=y)
        return np.sum(y)

    agrees(f, X)


def test_out_positional():
    def f(x):
        y = np.empty(4)
        np.sin(x, y)
        np.multiply(y, x, y)
        return np.sum(y)

    agrees(f, X)


def test_out_is_returned():
    def f(x):
        y = np.empty(4)
        z = np.multiply(x, 2.0, out=y)
        z[0] = x[1] ** 2
        return np.sum(y * x)

    agrees(f, X)


def test_out_into_a_view():
    def f(x):
        y = np.zeros((2, 4))
        np.multiply(x, x, out=y[1])
        np.cumsum(x, out=y[0])
        return np.sum(y**2)

    agrees(f, X)


def test_out_of_reductions_and_products():
    def f(x):
        y = np.zeros(2)
        np.sum(x.reshape(2, 2), axis=0, out=y)
        z = np.zeros((2, 2))
        np.dot(x.reshape(2, 2), x.reshape(2, 2), out=z)
        np.matmul(z, z, out=z)
        return np.sum(z) + np.prod(y)

    agrees(f, X)


def test_out_with_where_keeps_the_old_values():
    def f(x):
        y = np.full(4, 2.0)
        np.log(x, out=y, where=x > 0.5)
        return np.sum(y * x)

    agrees(f, X)


def test_out_with_where_does_not_leak():
    def f(x):
        safe = np.zeros_like(x)
        np.divide(1.0, x, out=safe, where=x != 0)
        return np.sum(safe)

    close(cr.grad(f)(np.array([0.0, 2.0])), np.array([0.0, -0.25]))


def test_add_at_with_repeated_indices():
    def f(x):
        y = np.zeros(3)
        np.add.at(y, [0, 0, 2, 0], x**2)
        return np.sum(y**2)

    agrees(f, X)


def test_subtract_at():
    def f(x):
        y = np.ones(3)
        np.subtract.at(y, np.array([1, 1, 2, 0]), x * x[0])
        return np.sum(y**3)

    agrees(f, X)


def test_multiply_at():
    def f(x):
        y = np.ones(3)
        np.multiply.at(y, np.array([1, 1, 2, 0]), x)
        return np.sum(y**3)

    try:
        agrees(f, X)
    except cr.NoRule:
        pytest.skip("no rule yet")


def test_histogram_by_add_at_on_two_axes():
    def f(x):
        y = np.zeros((2, 2))
        np.add.at(y, (np.array([0, 1, 0, 0]), np.array([1, 1, 1, 0])), x)
        return np.sum(y**2)

    agrees(f, X)


def test_copyto():
    def f(x):
        y = np.zeros((2, 4))
        np.copyto(y, x)
        np.copyto(y[0], x**2, where=x > 1)
        return np.sum(y**2)

    agrees(f, X)


def test_put():
    def f(x):
        y = np.zeros((2, 3))
        np.put(y, [1, 5], x[:2] * x[2])
        return np.sum(y * np.arange(6.0).reshape(2, 3))

    agrees(f, X)


def test_place_and_putmask():
    def f(x):
        y = np.zeros(4)
        np.place(y, np.array([True, False, True, True]), x[:3])
        z = x * 1.0
        np.putmask(z, x > 1, x**2)
        return np.sum(y * z)

    agrees(f, X)


def test_put_along_axis():
    def f(x):
        y = np.zeros((2, 3))
        np.put_along_axis(y, np.array([[1], [2]]), x[:2].reshape(2, 1), axis=1)
        return np.sum(y * np.arange(6.0).reshape(2, 3))

    try:
        agrees(f, X)
    except cr.NoRule:
        pytest.skip("no rule yet")


def test_fill_diagonal():
    def f(x):
        y = np.outer(x, x)
        np.fill_diagonal(y, 1.0 + x[0])
        return np.sum(y @ x)

    agrees(f, X)


def test_diagonal_by_indices():
    def f(x):
        y = np.zeros((4, 4))
        y[np.diag_indices(4)] = x
        y[np.arange(3), np.arange(1, 4)] = x[:3] ** 2
        y[np.triu_indices(4, 2)] = x[0] * x[1]
        return np.sum(y @ y)

    agrees(f, X)


def test_fill_method():
    def f(x):
        y = np.zeros(3)
        y.fill(x[0] * x[1])
        y[0] = x[2]
        return np.sum(y**2)

    agrees(f, X)


def test_sort_in_place():
    def f(x):
        y = x * np.array([1.0, -1.0, 2.0, 0.1])
        y.sort()
        return np.sum(y * np.arange(4.0))

    agrees(f, X)


def test_sort_a_row_in_place():
    def f(x):
        y = np.stack([x, -x])
        y[1].sort()
        return np.sum(y * np.arange(8.0).reshape(2, 4))

    agrees(f, X)


# --- aliases ----------------------------------------------------------------------------------------------------------


def test_one_array_under_two_names():
    def f(x):
        a = np.zeros(4)
        b = a
        a[0] = x[0]
        b[1] = x[1] ** 2
        return np.sum(a * x) + np.sum(b)

    agrees(f, X)


def test_one_array_in_a_list_of_names():
    def f(x):
        rows = [np.zeros(4)] * 3
        rows[0][1] = x[1]
        rows[2][2] = x[2] * x[0]
        return sum(np.sum(row**2) for row in rows)

    agrees(f, X)


def test_array_on_an_object():
    class Holder:
        def __init__(self):
            self.work = np.zeros(4)

    def f(x):
        holder = Holder()
        work = holder.work
        holder.work[0] = x[0] * x[1]
        work[1:] += x[1:]
        holder.work *= x
        return np.sum(work**2)

    agrees(f, X)


def test_array_as_a_default_of_an_inner_function():
    def f(x):
        def step(value, work=np.zeros(4)):
            work += value
            return work

        step(x)
        return np.sum(step(x**2) * x)

    agrees(f, X)


def test_asarray_of_an_array_is_the_same_array():
    def f(x):
        y = np.zeros(4)
        z = np.asarray(y)
        z[0] = x[0]
        w = np.asarray(z, dtype=float)
        w[1] = x[1]
        return np.sum(y * x)

    agrees(f, X)


def test_array_of_an_array_is_a_copy():
    def f(x):
        y = x * 1.0
        z = np.array(y)
        z[0] = 100.0
        w = np.array(y, copy=True)
        w[1] = 50.0
        return np.sum(y) + z[1] + w[0]

    close(agrees(f, X), np.array([2.0, 2.0, 1.0, 1.0]))


def test_asarray_of_the_argument_is_the_argument():
    def f(x):
        y = np.asarray(x)
        y[0] = x[1] * x[2]
        return np.sum(x**2)

    agrees(f, X)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.astype(float, copy=False),
        lambda x: x.astype(float),
        lambda x: np.asarray(x),
        lambda x: np.asanyarray(x),
        lambda x: np.ascontiguousarray(x),
        lambda x: np.array(x, copy=None),
        lambda x: np.array(x, ndmin=2),
        lambda x: x.view(),
        lambda x: np.atleast_1d(x),
        lambda x: np.atleast_2d(x),
        lambda x: np.require(x, requirements="C"),
        lambda x: x.squeeze(),
        lambda x: np.ravel(x),
        lambda x: x.flatten(),
        lambda x: x.real,
        lambda x: np.real(x),
        lambda x: np.flip(x),
        lambda x: np.rot90(x.reshape(2, 2)),
        lambda x: np.transpose(x.reshape(2, 2)),
        lambda x: np.array_split(x, 3)[1],
        lambda x: np.hsplit(x.reshape(2, 2), 2)[1],
        lambda x: np.expand_dims(x, 1),
        lambda x: x[..., None],
        lambda x: x[x > 0],
        lambda x: x[[0, 1, 2]],
        lambda x: np.take(x, [0, 1]),
        lambda x: x.repeat(1),
        lambda x: np.roll(x, 0),
        lambda x: +x,
        lambda x: np.positive(x),
        lambda x: np.pad(x, 0),
        lambda x: np.clip(x, -9, 9),
        lambda x: np.sort(x),
        lambda x: np.unique(x),
        lambda x: np.concatenate([x]),
        lambda x: np.stack([x]),
        lambda x: np.tile(x, 1),
        lambda x: np.where(True, x, 0.0),
        lambda x: np.broadcast_arrays(x, 1.0)[0].copy(),
        lambda x: np.nan_to_num(x),
        lambda x: np.nan_to_num(x, copy=False),
        lambda x: np.moveaxis(x.reshape(2, 2), 0, 1),
        lambda x: np.delete(x, []),
        lambda x: np.append(x, []),
        lambda x: x[:],
        lambda x: x[()],
        lambda x: x[...],
        lambda x: np.compress([True, False], x),
        lambda x: np.diag(x),
        lambda x: x[None][0],
        lambda x: np.cumsum(x, out=x),
        lambda x: np.add(x, 1.0, out=x),
        lambda x: x.clip(0.5, 1.5, out=x),
        lambda x: x.swapaxes(0, 0),
        lambda x: np.rollaxis(x.reshape(2, 2), 1),
        lambda x: np.reshape(x, (2, 2), copy=True),
        lambda x: np.fliplr(x.reshape(2, 2)),
        lambda x: np.trim_zeros(x),
        lambda x: np.ma.getdata(x),
        lambda x: np.squeeze(x[None]),
        lambda x: np.meshgrid(x, x)[0],
        lambda x: np.meshgrid(x, copy=False)[0],
        lambda x: np.copy(x),
        lambda x: x.__array__(),
        lambda x: np.vsplit(x.reshape(2, 2), 2)[0],
        lambda x: np.triu(x.reshape(2, 2)),
        lambda x: np.einsum("i->i", x),
        lambda x: np.einsum("ij->ji", x.reshape(2, 2)),
        lambda x: np.ix_(x > 0)[0] * x,
        lambda x: np.linalg.matrix_transpose(x.reshape(2, 2)),
    ],
)
def test_result_is_a_view_or_a_copy_as_in_numpy(make):
    def f(x):
        y = make(x)
        x[1] = x[0] * 3.0
        y[(0,) * y.ndim] = 2.0 * x[2]
        return np.sum(x * np.array([1.0, 2.0, 3.0, 4.0])) + np.sum(y * y)

    if right_or_refused(f, X, also=(TypeError,)) == "right":
        value, _ = cr.value_and_grad(f)(X)
        assert value == pytest.approx(float(f(X.copy())))


def test_broadcast_to_is_read_only_as_in_numpy():
    def f(x):
        y = np.broadcast_to(x, (2, 4))
        y[0, 0] = 1.0
        return np.sum(y)

    with pytest.raises(ValueError, match="read-only"):
        cr.grad(f)(X)


def test_atleast_and_squeeze_are_views():
    def f(x):
        y = np.zeros(4)
        np.atleast_2d(y)[0, 1] = x[1]
        y.reshape(1, 4, 1).squeeze()[2] = x[2] ** 2
        np.expand_dims(y, 0)[0, 3] = x[3]
        return np.sum(y * x)

    agrees(f, X)


def test_float32_array_takes_the_value_in_its_precision():
    def f(x):
        y = np.zeros(4, dtype=np.float32)
        y[:] = x
        return np.sum(y * y)

    found = cr.grad(f)(X)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 2 * X, rtol=1e-6)


def test_integer_array_takes_the_integer_part():
    def f(x):
        y = np.zeros(4, dtype=int)
        y[0] = x[3]
        return np.sum(y * x)

    right_or_refused(f, X)


def test_layout_of_the_argument_decides_what_is_a_copy():
    def f(x):
        y = x * 1.0
        y.ravel()[1] = 5.0
        return np.sum(y * M[:2, :2])

    for x in (X.reshape(2, 2), np.asfortranarray(X.reshape(2, 2))):
        try:
            value, found = cr.value_and_grad(f)(x)
        except cr.TraceError as refusal:
            assert "layout" in str(refusal)
            continue
        assert value == pytest.approx(f(x))
        expected = M[:2, :2].copy()
        if x.flags.c_contiguous:
            expected[0, 1] = 0.0
        close(found, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: y.T * 1.0,
        lambda y: np.sin(y.T),
        lambda y: y.T.copy(order="K"),
        lambda y: np.copy(y.T),
        lambda y: y.T.copy(),
        lambda y: np.zeros_like(y.T) + y.T,
        lambda y: np.array(y.T),
        lambda y: np.asfortranarray(y),
        lambda y: np.zeros((2, 2), order="F") + y,
        lambda y: y[:, [1, 0]],
        lambda y: y.T[[1, 0]],
        lambda y: y.swapaxes(0, 1) + 0.0,
        lambda y: np.where(y.T > 0, y.T, 0.0),
        lambda y: y.T @ y,
        lambda y: np.stack([y[0], y[1]], axis=1),
        lambda y: np.concatenate([y.T[:1], y.T[1:]]),
        lambda y: -y.T,
        lambda y: y.T.astype(float),
        lambda y: np.exp(y).T,
    ],
)
def test_layout_of_a_result_decides_what_is_a_copy(make):
    def f(x):
        y = make(x.reshape(2, 2))
        y.ravel()[1] = 5.0
        y.reshape(-1)[2] *= 2.0
        return np.sum(y * M[:2, :2])

    try:
        agrees(f, X)
    except cr.TraceError as refusal:
        assert "layout" in str(refusal)


def test_unused_plain_array_stays_plain():
    seen: list[Any] = []

    def f(x):
        y = np.zeros(3)
        y[1] = 2.0
        seen.append(float(y[1]))
        return x[0] * y[1]

    close(agrees(f, X), np.array([2.0, 0.0, 0.0, 0.0]))
    assert seen[0] == 2.0
