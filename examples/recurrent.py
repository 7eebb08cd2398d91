# ruff: noqa: ANN001, ANN201 - a script
"""A recurrent network says how a wave goes on: backpropagation through time is backpropagation."""

import numpy as np
from scipy.optimize import minimize

import chainrule as cr

UNITS, TIME, BATCH = 8, 30, 16


def network(theta):
    """Weights from one vector."""
    sizes = [UNITS, UNITS * UNITS, UNITS, UNITS]
    w_in, W, b, w_out, b_out = np.split(theta, np.cumsum(sizes))
    return w_in, W.reshape(UNITS, UNITS), b, w_out, b_out


def loss(theta, waves):
    """Mean squared error of the next value, over all times; waves have the shape (batch, time + 1)."""
    w_in, W, b, w_out, b_out = network(theta)
    state = np.zeros((waves.shape[0], UNITS))
    said = np.empty((waves.shape[0], waves.shape[1] - 1))
    for t in range(waves.shape[1] - 1):
        state = np.tanh(np.outer(waves[:, t], w_in) + state @ W + b)
        said[:, t] = state @ w_out + b_out
    return np.mean((said - waves[:, 1:]) ** 2)


def data(seed):
    """Sums of a slow and a fast wave with random phases."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, size=(2, BATCH, 1))
    t = np.arange(TIME + 1)
    return 0.6 * np.sin(0.3 * t + phase[0]) + 0.4 * np.sin(0.9 * t + phase[1])


def problem():
    """``(f, args)`` with the gradient to be tested."""
    size = UNITS * UNITS + 3 * UNITS + 1
    return loss, (np.random.default_rng(0).normal(size=size) / np.sqrt(UNITS), data(seed=1))


def main():
    """Fit on one set of waves, test on another."""
    f, (theta0, waves) = problem()
    found = minimize(cr.value_and_grad(f), theta0, args=(waves,), jac=True, method="L-BFGS-B", options={"maxiter": 60})
    unseen = data(seed=2)
    idle = np.mean((unseen[:, 1:] - unseen[:, :-1]) ** 2)
    print(
        f"mean squared error {f(theta0, waves):.4f} -> {found.fun:.5f}: {found.nit} iterations, {found.nfev} gradients"
    )
    print(f"on waves it has not seen: {f(found.x, unseen):.5f}; saying the last value again: {idle:.4f}")
    print(f"largest slope left: {np.max(np.abs(found.jac)):.0e}; {theta0.size} weights, {TIME} steps in time")


if __name__ == "__main__":
    main()
