# ruff: noqa: ANN001, ANN201 - a script
"""Logistic regression on real data: the posterior mode with L-BFGS-B, and error bars from the Hessian."""

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer

import chainrule as cr


def negative_log_posterior(w, X, y, precision):
    """Bernoulli likelihood of labels y in {0, 1}, Gaussian prior on the weights w (the last one is the offset)."""
    t = X @ w[:-1] + w[-1]
    return np.sum(np.logaddexp(0.0, t) - y * t) + 0.5 * precision * np.sum(w[:-1] ** 2)


def data():
    """569 tumours, 30 measurements each, standardised; 1 means benign."""
    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y.astype(float)


def problem():
    """``(f, args)`` with the gradient to be tested."""
    X, y = data()
    return negative_log_posterior, (np.linspace(-0.2, 0.2, 31), X, y, 1.0)


def main():
    """Find the mode and its curvature."""
    f, (w0, X, y, precision) = problem()
    found = minimize(cr.value_and_grad(f), w0, args=(X, y, precision), jac=True, method="L-BFGS-B")
    curvature = cr.hessian(f)(found.x, X, y, precision)
    spread = np.sqrt(np.diag(np.linalg.inv(curvature)))
    right = np.mean((X @ found.x[:-1] + found.x[-1] > 0) == (y > 0.5))
    slope = np.max(np.abs(cr.grad(f)(found.x, X, y, precision)))
    print(f"-log posterior {found.fun:.4f}: {found.nit} iterations, {found.nfev} gradients; largest slope {slope:.0e}")
    print(f"{right:.1%} of the {len(y)} tumours on the right side (the data that it was fitted to)")
    for name, k in (("offset", -1), ("strongest weight", int(np.argmax(np.abs(found.x[:-1]))))):
        print(f"{name}: {found.x[k]:+.3f} ± {spread[k]:.3f}")


if __name__ == "__main__":
    main()
