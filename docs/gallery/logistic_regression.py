"""Logistic regression: the mean negative log-likelihood of labels 0 and 1."""

import numpy as np

TITLE = "Logistic regression"
ARGNUMS = (0, 1)
SOURCE = "C. M. Bishop, Pattern Recognition and Machine Learning (2006), equation 4.91"
TEXTBOOK = (
    r"\nabla_{w} = \frac{1}{n} X^{\top} (p - y)",
    r"\frac{\partial}{\partial b} = \frac{1}{n} \sum_{i=1}^{n} (p_i - y_i)",
)


def loss(w, b, X, y):
    """Mean cross-entropy between the labels y and the probabilities p."""
    n = len(y)
    z = X @ w + b
    p = 1.0 / (1.0 + np.exp(-z))
    return -np.sum(y * np.log(p) + (1.0 - y) * np.log(1.0 - p)) / n


def textbook(w, b, X, y):
    """The gradient with respect to w and b, by the formula."""
    n = len(y)
    p = 1.0 / (1.0 + np.exp(-(X @ w + b)))
    return X.T @ (p - y) / n, np.sum(p - y) / n


def problem():
    """``(f, args)``: twelve points in the plane, two classes that overlap."""
    rng = np.random.default_rng(1)
    y = np.repeat([0.0, 1.0], 6)
    X = rng.normal(size=(12, 2)) + 1.5 * y[:, None]
    return loss, (np.array([0.4, -0.3]), 0.1, X, y)
