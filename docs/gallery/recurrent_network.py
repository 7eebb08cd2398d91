"""A recurrent network over time: backpropagation through time is backpropagation, told by induction."""

import numpy as np

TITLE = "A recurrent network, through time"
ARGNUMS = (0, 1, 2, 3)
SOURCE = "P. J. Werbos, Backpropagation through time: what it does and how to do it (1990)"
TEXTBOOK = (
    r"\delta_T = (h_T - y) \odot (1 - h_T \odot h_T)",
    r"\delta_{t} = (U^{\top} \delta_{t+1}) \odot (1 - h_t \odot h_t), \qquad t = T-1, \ldots, 1",
    (
        r"\nabla_W = \sum_t \delta_t \, x_t^{\top}, \qquad \nabla_U = \sum_t \delta_t \, h_{t-1}^{\top},"
        r" \qquad \nabla_b = \sum_t \delta_t, \qquad \nabla_{h_0} = U^{\top} \delta_1"
    ),
)


def loss(W, U, b, h0, x, y):
    """Half the squared distance of the last state from y."""
    h = h0
    for t in range(len(x)):
        h = np.tanh(W @ x[t] + U @ h + b)
    return 0.5 * np.sum((h - y) ** 2)


def textbook(W, U, b, h0, x, y):
    """The gradients with respect to W, U, b and the first state: one step back in time at a time."""
    states = [h0]
    for x_t in x:
        states.append(np.tanh(W @ x_t + U @ states[-1] + b))
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    dh = states[-1] - y
    for t in reversed(range(len(x))):
        delta = dh * (1.0 - states[t + 1] ** 2)
        dW += np.outer(delta, x[t])
        dU += np.outer(delta, states[t])
        db += delta
        dh = U.T @ delta
    return dW, dU, db, dh


def problem(steps=12):
    """``(f, args)``: three units, two inputs at each time."""
    rng = np.random.default_rng(6)
    return loss, (
        rng.normal(size=(3, 2)) / 2.0,
        rng.normal(size=(3, 3)) / 2.0,
        0.1 * rng.normal(size=3),
        np.zeros(3),
        rng.normal(size=(steps, 2)),
        np.array([0.5, -0.2, 0.1]),
    )
