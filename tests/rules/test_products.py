"""Products of arrays: the engine of sums of products against einsum, every function against NumPy, plain programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.directional import agrees, gradient, program

from chainrule.rules.index import contract
from chainrule.transforms.backprop import backprop
from chainrule.transforms.simplify import simplify


def normal(*shape):
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


# --- the engine -----------------------------------------------------------------------------------------------------


@st.composite
def contractions(draw):
    extents = {letter: draw(st.sampled_from([0, 1, 2, 3, 2, 3])) for letter in "abcde"}
    words = ["".join(draw(st.lists(st.sampled_from("abcde"), max_size=4))) for _ in range(draw(st.integers(1, 4)))]
    inside = sorted(set("".join(words)))
    output = "".join(draw(st.lists(st.sampled_from(inside), max_size=4, unique=True))) if inside else ""
    return words, output, extents


@pytest.mark.parametrize("output", ["bc", "cb"])
def test_two_factors_of_the_same_letters_summed_in_another_order(output) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 1)), rng.normal(size=(2, 2, 1))
    found = program(lambda a, b: np.einsum(f"cbd,cbd->{output}", a, b), a, b).run([a, b])[0]
    np.testing.assert_allclose(found, np.einsum(f"cbd,cbd->{output}", a, b), rtol=1e-14)


@given(contractions())
def test_contract_is_einsum(contraction) -> None:
    words, output, extents = contraction
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=tuple(extents[letter] for letter in word)) for word in words]
    agrees(
        lambda *factors: contract(words, output, factors, extents), *arrays, exact=False, second=False,
        reference=lambda *factors: np.einsum(f"{','.join(words)}->{output}", *factors),
    )  # fmt: skip


@given(contractions(), st.data())
def test_einsum_with_ellipses_and_extents_of_one(contraction, data) -> None:
    words, output, extents = contraction
    shapes = [
        tuple(1 if word.count(letter) == 1 and data.draw(st.booleans()) else extents[letter] for letter in word)
        for word in words
    ]
    hidden = [(), (1,), (2,), (3, 1), (1, 2)]
    batches = [data.draw(st.sampled_from(hidden)) for _ in words]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(*batch, *shape)) for batch, shape in zip(batches, shapes, strict=True)]
    subscripts = ",".join("..." + word for word in words) + f"->{output}..."
    agrees(lambda *factors: np.einsum(subscripts, *factors), *arrays, exact=False, second=False)


def test_letters_of_the_output_alone_and_diagonals() -> None:
    agrees(
        lambda a: contract(["a"], "bac", [a], {"b": 2, "c": 4}), normal(3),
        reference=lambda a: np.broadcast_to(a[None, :, None], (2, 3, 4)),
    )  # fmt: skip
    agrees(
        lambda a: contract(["ab"], "babc", [a], {"c": 2}), normal(3, 2), exact=False,
        reference=lambda a: np.broadcast_to(np.einsum("ab,cb->bac", a, np.eye(2))[..., None], (2, 3, 2, 2)),
    )  # fmt: skip


def steps(f, *arrays):
    """The steps of the gradient, and what each is computed from."""
    made = simplify(backprop(program(f, *arrays)))
    return [line.split("=", 1)[1].strip() for line in str(made).splitlines()[1:-1]]


def test_gradients_are_written_as_a_person_would() -> None:
    layer = steps(lambda W, x: np.sum(np.exp(W @ x)), normal(3, 2), normal(2))
    assert [one.split("(")[0] for one in layer] == ["matmul", "exp", "reshape", "multiply", "transpose", "matmul"]
    assert layer[-1].startswith("matmul(v6") or "transpose" in layer[-2]
    product = steps(lambda X, W: np.sum(np.exp(X @ W)), normal(5, 3), normal(3, 2))
    assert [one.split("(")[0] for one in product] == ["matmul", "exp", "transpose", "matmul", "transpose", "matmul"]
    row = steps(lambda x, W: np.sum(np.exp(x @ W)), normal(3), normal(3, 2))
    assert [one.split("(")[0] for one in row] == ["matmul", "exp", "matmul", "reshape", "multiply"]
    stack = steps(lambda W, X: np.sum(np.exp(W @ X)), normal(2, 3), normal(5, 3, 2))
    assert stack[-1].startswith("matmul")
    assert simplify(backprop(program(lambda x, y: x @ y, normal(3), normal(3)))).steps == []


# --- matmul and its kin ---------------------------------------------------------------------------------------------

PAIRS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)), ((5, 2, 3), (1, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (1, 5, 3, 4)), ((1, 1, 2, 3), (1, 3, 4)), ((1, 2, 3), (1, 1, 3, 4)), ((3,), (5, 3, 2)),
    ((5, 2, 3), (3,)), ((2, 0), (0, 3)), ((0, 3), (3, 2)), ((2, 1), (1, 2)), ((6, 5, 2, 3), (5, 3, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_matmul(a, b) -> None:
    agrees(np.matmul, normal(*a), normal(*b))
    agrees(np.linalg.matmul, normal(*a), normal(*b)) if min(len(a), len(b)) > 1 else None
    agrees(lambda x, y: x @ y, normal(*a).astype(np.float32), normal(*b).astype(np.float32))


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (2, 3)), ((3,), (4,)), ((), (3,)), ((3,), ()), ((2, 2, 3), (3, 3, 2)), ((3,), (2, 4, 3))]
)
def test_matmul_refuses_as_numpy_does(a, b) -> None:
    with pytest.raises(ValueError) as theirs:  # noqa: PT011 - the messages are compared below
        np.matmul(normal(*a), normal(*b))
    with pytest.raises(ValueError, match=r"matmul|broadcast|shape mismatch") as ours:
        program(np.matmul, normal(*a), normal(*b))
    if "core dimension" in str(theirs.value):
        assert str(ours.value).split(" (size")[0] == str(theirs.value).split(" (size")[0]


def test_plain_factors_and_lists() -> None:
    agrees(lambda x: np.dot([[1, 2, 3], [4, 5, 6]], x), normal(3))
    agrees(lambda x: np.matmul(np.arange(6).reshape(2, 3), x), normal(3, 2))
    agrees(lambda x: [[1.0, 2.0, 3.0]] @ x, normal(3))
    agrees(lambda x: np.matmul(x, x, dtype=np.float64), normal(3, 3).astype(np.float32))


@pytest.mark.parametrize("name", ["vecdot", "matvec", "vecmat"])
def test_products_of_the_array_api(name) -> None:
    f = getattr(np, name, None)
    if f is None:
        pytest.skip("NumPy 2.2")
    shapes = {
        "vecdot": [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 3)), ((4, 1, 3), (2, 3))],
        "matvec": [((2, 3), (3,)), ((2, 3), (5, 3)), ((5, 2, 3), (5, 3)), ((4, 1, 2, 3), (5, 3))],
        "vecmat": [((3,), (3, 2)), ((5, 3), (3, 2)), ((5, 3), (5, 3, 2)), ((5, 3), (4, 1, 3, 2))],
    }[name]
    for a, b in shapes:
        agrees(f, normal(*a), normal(*b), exact=False)
    if name == "vecdot":
        agrees(lambda x, y: f(x, y, axis=0), normal(3, 2), normal(3, 2), exact=False)
        agrees(np.linalg.vecdot, normal(4, 3), normal(3), exact=False)


@pytest.mark.parametrize(
    ("a", "b"),
    [*PAIRS[:4], ((), (2, 3)), ((2, 3), ()), ((), ()), ((4, 2, 3), (3,)), ((2, 3), (4, 3, 2)), ((5, 4, 3), (2, 3, 2))],
)
def test_dot(a, b) -> None:
    agrees(np.dot, normal(*a), normal(*b), exact=False)
    agrees(lambda x, y: x.dot(y), normal(*a), normal(*b), exact=False, reference=np.dot)


@pytest.mark.parametrize(("a", "b"), [((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,)), ((), (2,)), ((2, 4, 3), (5, 3))])
def test_inner(a, b) -> None:
    agrees(np.inner, normal(*a), normal(*b), exact=False)


def test_misaligned() -> None:
    for f in (np.dot, np.inner):
        with pytest.raises(ValueError, match="not aligned"):
            program(f, normal(2, 3), normal(2))
    with pytest.raises(ValueError, match="lengths"):
        program(np.vdot, normal(2), normal(3))
    with pytest.raises(ValueError, match="shape-mismatch"):
        program(lambda a, b: np.tensordot(a, b, 1), normal(2, 3), normal(2, 3))


def test_vdot_outer_kron() -> None:
    agrees(np.vdot, normal(2, 3), normal(3, 2), exact=False)
    agrees(np.outer, normal(2, 3), normal(4))
    agrees(np.linalg.outer, normal(3), normal(4))
    for a, b in (((2, 3), (2, 2)), ((3,), (2,)), ((2, 3), (4,)), ((2,), (3, 1, 2)), ((), (2, 2))):
        agrees(np.kron, normal(*a), normal(*b))


@pytest.mark.parametrize(
    ("a", "b", "axes"),
    [
        ((2, 3), (3, 4), 1), ((2, 3), (2, 3), 2), ((2,), (3,), 0), ((2, 3, 4), (4, 3, 5), ([1, 2], [1, 0])),
        ((2, 3, 4), (5, 2), (0, 1)), ((2, 3, 4), (3, 5), ([-2], [0])), ((2, 3, 2), (2, 2), ((0, 2), (1, 0))),
    ],
)  # fmt: skip
def test_tensordot(a, b, axes) -> None:
    agrees(lambda x, y: np.tensordot(x, y, axes), normal(*a), normal(*b), exact=False)
    agrees(lambda x, y: np.linalg.tensordot(x, y, axes=axes), normal(*a), normal(*b), exact=False)


def test_trace() -> None:
    agrees(np.trace, normal(3, 4))
    for offset in (-2, 1, 3):
        agrees(lambda x, k=offset: np.trace(x, k, 1, 2), normal(2, 3, 4), exact=False)
        agrees(lambda x, k=offset: x.trace(k, 2, 0), normal(2, 3, 4), exact=False)
    agrees(lambda x: np.linalg.trace(x, offset=1), normal(2, 3, 4), exact=False)
    agrees(lambda x: np.trace(x, dtype=np.float64), normal(3, 4).astype(np.float32), exact=False)


# --- einsum ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk", [(2, 3), (3, 4)]), ("ji", [(2, 3)]), ("ii", [(3, 3)]), ("ii->i", [(3, 3)]), ("i,i", [(3,), (3,)]),
        ("i,j->ji", [(3,), (2,)]), ("b i j , b j k -> b i k", [(2, 3, 4), (2, 4, 5)]),
        ("i,ij,j->", [(2,), (2, 3), (3,)]),
        ("ij,jk,kl,lm->im", [(2, 3), (3, 2), (2, 4), (4, 2)]), ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("iji->j", [(3, 2, 3)]), ("...ij,...jk", [(2, 3, 4), (4, 5)]), ("i...,i...->...", [(2, 3, 4), (2, 4)]),
        ("...", [(2, 3)]), (",ij", [(), (2, 3)]), ("ij,ij->ij", [(2, 3), (1, 3)]), ("ij,ij,ij->", [(2, 3)] * 3),
        ("abc,abd->cd", [(2, 3, 4), (2, 3, 5)]), ("ijj,jk->ik", [(2, 3, 3), (3, 2)]), ("i,i->i", [(1,), (3,)]),
    ],
)  # fmt: skip
def test_einsum(subscripts, shapes) -> None:
    arrays = [normal(*shape) for shape in shapes]
    agrees(lambda *factors: np.einsum(subscripts, *factors), *arrays, exact=False)
    agrees(lambda *factors: np.einsum(subscripts, *factors, optimize=True), *arrays, exact=False, second=False)


def test_einsum_by_lists_of_numbers() -> None:
    agrees(lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), normal(2, 3), normal(3, 4), exact=False)
    agrees(lambda a, b: np.einsum(a, [0, 1], b, [1, 2]), normal(2, 3), normal(3, 4), exact=False)
    agrees(lambda a: np.einsum(a, [..., 5, 30]), normal(4, 2, 3))
    agrees(lambda a: np.einsum(a, [30, 5]), normal(2, 3))


@pytest.mark.parametrize(
    ("subscripts", "shapes"), [("ij,jk", [(2, 3), (4, 2)]), ("ij->ijk", [(2, 3)]), ("i", [(2, 3)]), ("ii", [(1, 3)])]
)
def test_einsum_refuses_as_numpy_does(subscripts, shapes) -> None:
    arrays = [normal(*shape) for shape in shapes]
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own error
        np.einsum(subscripts, *arrays)
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own error
        program(lambda *factors: np.einsum(subscripts, *factors), *arrays)


def test_the_order_of_a_chain_is_the_cheap_one() -> None:
    A, B, x = normal(40, 40), normal(40, 41), normal(41)
    held = program(lambda A, B, x: np.einsum("ij,jk,k->i", A, B, x), A, B, x)
    assert held.cost().flops < 10 * 40 * 40
    assert simplify(backprop(held, seeded=True)).cost().flops < 4 * held.cost().flops


# --- chains, powers, convolutions -----------------------------------------------------------------------------------


def test_multi_dot() -> None:
    agrees(lambda a, b, c: np.linalg.multi_dot([a, b, c]), normal(2, 5), normal(5, 3), normal(3, 4), exact=False)
    agrees(lambda a, b, c: np.linalg.multi_dot([a, b, c]), normal(5), normal(5, 3), normal(3), exact=False)
    agrees(lambda a, b: np.linalg.multi_dot([a, b]), normal(2, 5), normal(5, 3))
    agrees(lambda a, b: np.linalg.multi_dot([a, b, a, b]), normal(2, 3), normal(3, 2), exact=False)


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 3, 5, 8])
def test_matrix_power(n) -> None:
    agrees(lambda a: np.linalg.matrix_power(a, n) * a, normal(2, 3, 3), exact=False)
    with pytest.raises(np.linalg.LinAlgError):
        program(lambda a: np.linalg.matrix_power(a, n), normal(2, 3))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("n", "m"), [(5, 3), (3, 5), (4, 4), (1, 4), (6, 2), (6, 1), (1, 1), (2, 7)])
@pytest.mark.parametrize("f", [np.convolve, np.correlate])
def test_convolutions(f, n, m, mode) -> None:
    agrees(lambda a, v: f(a, v, mode), normal(n), normal(m + 1)[:m], exact=False)


def test_convolutions_of_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        program(np.convolve, normal(3), normal(0))
    with pytest.raises(ValueError, match="deep"):
        program(np.convolve, normal(3, 3), normal(2))


def test_gradient_of_a_convolution_keeps_float32() -> None:
    a = normal(5).astype(np.float32)
    assert gradient(lambda a: np.sum(np.convolve(a, a)), a)[0].dtype == np.float32
