"""A function with a kink: least squares with a penalty on the absolute values, at a point where one weight is zero."""

import numpy as np

TITLE = "A function with a kink: the lasso"
ARGNUMS = (0,)
SOURCE = (
    "R. Tibshirani, Regression shrinkage and selection via the lasso (1996); at a kink, sign(0) = 0 is one subgradient"
)
TEXTBOOK = (r"\nabla_w = X^{\top} (X w - y) + \lambda \operatorname{sign}(w), \qquad \operatorname{sign}(0) = 0",)


def objective(w, X, y, penalty):
    """Half the squared residuals, and the sum of the absolute weights."""
    residual = X @ w - y
    return 0.5 * np.sum(residual**2) + penalty * np.sum(np.abs(w))


def textbook(w, X, y, penalty):
    """The gradient where there is one, and the middle of the subgradients where there is none."""
    return (X.T @ (X @ w - y) + penalty * np.sign(w),)


def problem():
    """``(f, args)``: the third weight is at the kink."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(7, 4))
    return objective, (np.array([1.5, -0.5, 0.0, 0.25]), X, X @ np.array([1.0, 0.0, 0.0, 0.5]), 0.3)
