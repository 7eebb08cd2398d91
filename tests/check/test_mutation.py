"""What mutation_power plants is what it says, and what it calls caught is: power depends on the point."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.check.mutation import Mutant, mutation_power
from chainrule.errors import ArgumentError, CheckFailed

W = np.random.default_rng(3).standard_normal((3, 4))
B = np.random.default_rng(4).standard_normal(4)


def layer(w, b):
    return np.tanh(w @ b)


def layer_vjp(w, b, v):
    inner = v * (1 - np.tanh(w @ b) ** 2)
    return np.outer(inner, b), w.T @ inner


def by_kind(result):
    kinds: dict[str, list[Mutant]] = {}
    for mutant in result.mutants:
        kinds.setdefault(mutant.kind, []).append(mutant)
    return kinds


def test_a_point_in_general_position_catches_every_kind() -> None:
    result = mutation_power(layer, None, (W, B), vjp=layer_vjp, argnums=(0, 1))
    assert len(result.mutants) == 20
    assert len(by_kind(result)) == 10
    assert result.power == 1.0, repr(result)
    assert result.missed == []
    assert result.baseline.verdict == "PASS"


def test_gradients_of_one_number_and_every_gross_kind() -> None:
    x = np.random.default_rng(5).standard_normal(30)
    result = mutation_power(lambda x: np.sum(x**3), lambda x: 3 * x**2, x, n=18)
    gross = [m for m in result.mutants if m.kind != "float32 rounding"]
    assert all(m.caught for m in gross), repr(result)
    assert all(m.change > 0 for m in gross)


def test_a_blind_point_is_seen_to_be_blind() -> None:
    def f(M):
        return np.sum(M @ M @ M)

    def grad(M):
        e = np.ones_like(M)
        return e @ (M @ M).T + M.T @ e @ M.T + (M @ M).T @ e

    symmetric = np.eye(3) + 0.5
    blind = mutation_power(f, grad, symmetric, probes=False)
    seeing = mutation_power(f, grad, np.random.default_rng(6).standard_normal((3, 3)), probes=False)
    assert blind.caught < seeing.caught
    assert {"transposed", "shifted by one", "entries swapped"} <= {m.kind for m in blind.missed}
    assert all(m.change == 0 or m.kind == "float32 rounding" for m in blind.missed)
    assert "it changes nothing at this point" in repr(blind)
    # The points nearby, where check looks by itself, are not symmetric.
    assert mutation_power(f, grad, symmetric).caught > blind.caught


def test_the_text_counts_and_gives_reasons() -> None:
    result = mutation_power(np.sum, np.ones_like, np.zeros(4), n=10)
    lines = repr(result).splitlines()
    assert lines[0] == f"{result.caught} of 10 planted mistakes are caught at this point ({result.power:.0%})"
    assert "not caught:" in lines
    missed = {m.kind for m in result.missed}
    assert {"entries swapped", "shifted by one", "float32 rounding", "stale"} <= missed
    assert "factor" not in missed
    assert all(m.reason for m in result.missed)
    assert not any(m.reason for m in result.mutants if m.caught)


def test_the_same_seed_plants_the_same_mistakes() -> None:
    one, two, other = (
        mutation_power(layer, None, (W, B), vjp=layer_vjp, argnums=(0, 1), n=10, seed=s) for s in (1, 1, 2)
    )
    assert one.mutants == two.mutants
    assert [m.place for m in one.mutants] != [m.place for m in other.mutants]


def test_containers_and_python_numbers() -> None:
    p = {"w": np.array([[1.0, -2.0]]), "b": 0.5}
    result = mutation_power(
        lambda p: float(np.sum(np.sin(p["w"] * p["b"]))),
        lambda p: {
            "w": np.cos(p["w"] * p["b"]) * p["b"],
            "b": float(np.sum(np.cos(p["w"] * p["b"]) * p["w"])),
        },
        p,
        n=30,
    )
    assert {"p['b']", "p['w']"} & {m.place for m in result.mutants}
    assert all(m.caught for m in result.mutants if m.kind != "float32 rounding"), repr(result)


def test_one_number_has_fewer_kinds() -> None:
    result = mutation_power(np.sin, np.cos, 0.7, n=12)
    assert len(result.mutants) == 12
    assert set(by_kind(result)) == {"factor", "sign", "entry zero", "1e-3 in one entry", "float32 rounding", "stale"}


def test_the_arguments_are_left_alone() -> None:
    w, b = W.copy(), B.copy()
    mutation_power(layer, None, (w, b), vjp=layer_vjp, argnums=(0, 1), n=10)
    assert np.array_equal(w, W)
    assert np.array_equal(b, B)


def test_the_registered_backend_is_taken_where_no_gradient_is_given() -> None:
    result = mutation_power(lambda x: np.sum(np.sin(x) * x), None, np.array([0.4, 1.3, -0.8]), n=10)
    assert all(m.caught for m in result.mutants if m.kind != "float32 rounding"), repr(result)


def test_questions_that_make_no_sense() -> None:
    with pytest.raises(CheckFailed, match="factor 2"):
        mutation_power(lambda x: np.sum(x**2), lambda x: x, B)
    with pytest.raises(CheckFailed, match="INCONCLUSIVE"):
        mutation_power(lambda x: np.sum(x**2) * np.nan, lambda x: 2 * x, B)
    with pytest.raises(ArgumentError, match="nothing to plant"):
        mutation_power(lambda x: np.sum(x**2), lambda x: 2 * x, B, n=0)
    with pytest.raises(ArgumentError, match="both grad and vjp"):
        mutation_power(lambda x: np.sum(x**2), lambda x: 2 * x, B, vjp=lambda x, v: 2 * x * v)
    with pytest.raises(ArgumentError, match="no entry"):
        mutation_power(lambda x: np.sum(x**2), lambda x: 2 * x, np.zeros(0))
