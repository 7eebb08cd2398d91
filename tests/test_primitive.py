"""The user's own rules."""

import ctypes.util

import numpy as np
import pytest

import chainrule as cr

cube = cr.primitive(lambda x: x**3, pullback=lambda g, y, x: g * 3.0 * x**2)


def test_every_operator_goes_through():
    x = np.array([1.0, 2.0])
    assert np.array_equal(cube(x), x**3)
    assert np.array_equal(cr.grad(lambda x: np.sum(cube(x)))(x), 3 * x**2)
    assert cr.grad(cr.grad(cube))(2.0) == 12.0
    assert cr.jvp(cube, (2.0,), (10.0,)) == (8.0, 120.0)
    assert np.array_equal(cr.hessian(lambda x: np.sum(cube(x)))(x), np.diag(6 * x))
    assert np.array_equal(cr.vmap(cube)(x), x**3)


def test_foreign_code_in_value_and_pullback():
    def foreign(x):
        return np.frombuffer(np.asarray(x, dtype=np.float64).tobytes()).reshape(np.shape(x)) ** 2

    square = cr.primitive(
        foreign, pullback=lambda g, y, x: np.frombuffer((2 * np.asarray(x) * np.asarray(g)).tobytes())
    )
    x = np.array([1.0, 3.0])
    assert np.array_equal(cr.grad(lambda x: np.sum(square(x)))(x), 2 * x)
    with pytest.raises(cr.NoRule, match="has no derivative"):
        cr.hessian(lambda x: np.sum(square(x)))(x)


def test_two_arguments_and_none():
    scale = cr.primitive(lambda x, n: x * n, pullback=lambda g, y, x, n: (g * n, None))
    assert cr.grad(lambda x: scale(x, 3))(2.0) == 3.0


def test_mistakes_are_named():
    with pytest.raises(cr.ArgumentError, match="pullback"):
        cr.primitive(np.sin, pullback=None)  # type: ignore[arg-type]
    wrong = cr.primitive(lambda x: x**2, pullback=lambda g, y, x: np.sum(g * 2.0 * x))
    with pytest.raises(cr.ShapeError, match="adjoint of shape"):
        cr.grad(lambda x: np.sum(wrong(x)))(np.ones(3))
    many = cr.primitive(lambda x: x**2, pullback=lambda g, y, x: (g, g))
    with pytest.raises(cr.ShapeError, match="2 adjoints for 1 arguments"):
        cr.grad(many)(1.0)


def test_a_function_of_the_c_library():
    name = ctypes.util.find_library("m")
    if name is None:
        pytest.skip("no C maths library is found here")
    library = ctypes.CDLL(name)
    library.erf.restype, library.erf.argtypes = ctypes.c_double, [ctypes.c_double]
    erf = cr.primitive(
        lambda x: library.erf(float(x)), pullback=lambda g, y, x: g * 2 / np.sqrt(np.pi) * np.exp(-x * x)
    )
    assert cr.grad(lambda x: erf(2 * x))(0.5) == pytest.approx(4 / np.sqrt(np.pi) * np.exp(-1.0), rel=1e-15)
    with pytest.raises(cr.TraceError, match=r"chainrule\.primitive"):
        cr.grad(lambda x: library.erf(x * 1.0) + x)(0.5)
