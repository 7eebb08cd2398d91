"""A two-layer network with softmax cross-entropy: the example that every course works through."""

import numpy as np

TITLE = "A two-layer network with softmax cross-entropy"
ARGNUMS = (0, 1, 2, 3)
SOURCE = (
    "I. Goodfellow, Y. Bengio, A. Courville, Deep Learning (2016), algorithm 6.4;"
    " the softmax as in Bishop (2006), 4.108"
)
TEXTBOOK = (
    r"\delta_2 = \frac{1}{n} (p - Y)",
    r"\nabla_{W_2} = h^{\top} \delta_2, \qquad \nabla_{b_2} = \sum_i \delta_{2,i}",
    r"\delta_1 = (\delta_2 W_2^{\top}) \odot (1 - h \odot h)",
    r"\nabla_{W_1} = X^{\top} \delta_1, \qquad \nabla_{b_1} = \sum_i \delta_{1,i}",
)


def loss(W1, b1, W2, b2, X, Y):
    """Mean cross-entropy; the rows of X are examples, those of Y have a single one, at the right class."""
    z1 = X @ W1 + b1
    h = np.tanh(z1)
    z2 = h @ W2 + b2
    log_p = z2 - np.log(np.sum(np.exp(z2), axis=1, keepdims=True))
    return -np.sum(Y * log_p) / len(X)


def textbook(W1, b1, W2, b2, X, Y):
    """The four gradients, from the last layer to the first."""
    h = np.tanh(X @ W1 + b1)
    e = np.exp(h @ W2 + b2)
    delta2 = (e / np.sum(e, axis=1, keepdims=True) - Y) / len(X)
    delta1 = (delta2 @ W2.T) * (1.0 - h * h)
    return X.T @ delta1, np.sum(delta1, axis=0), h.T @ delta2, np.sum(delta2, axis=0)


def problem():
    """``(f, args)``: six examples of four numbers, five hidden units, three classes."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(6, 4))
    Y = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    W1, W2 = rng.normal(size=(4, 5)) / 2.0, rng.normal(size=(5, 3)) / 2.0
    return loss, (W1, 0.1 * rng.normal(size=5), W2, np.zeros(3), X, Y)
