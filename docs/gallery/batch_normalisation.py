"""Batch normalisation: each column is shifted and scaled by statistics that depend on every row."""

import numpy as np

TITLE = "Batch normalisation"
ARGNUMS = (0, 1, 2)
SOURCE = "S. Ioffe, C. Szegedy, Batch Normalization (2015), section 3"
TEXTBOOK = (
    r"\frac{\partial \ell}{\partial \hat{x}} = \frac{\partial \ell}{\partial y} \odot \gamma",
    (
        r"\frac{\partial \ell}{\partial x} = \frac{1}{\sqrt{\sigma^2 + \varepsilon}}"
        r" \left( \frac{\partial \ell}{\partial \hat{x}}"
        r" - \frac{1}{n} \sum_i \frac{\partial \ell}{\partial \hat{x}_i}"
        r" - \hat{x} \odot \frac{1}{n} \sum_i \frac{\partial \ell}{\partial \hat{x}_i} \odot \hat{x}_i \right)"
    ),
    (
        r"\frac{\partial \ell}{\partial \gamma} = \sum_i \frac{\partial \ell}{\partial y_i} \odot \hat{x}_i, \qquad"
        r" \frac{\partial \ell}{\partial \beta} = \sum_i \frac{\partial \ell}{\partial y_i}"
    ),
)


def loss(x, gamma, beta, target):
    """Half the mean squared distance of the normalised rows from a target."""
    mu = np.mean(x, axis=0)
    centred = x - mu
    var = np.mean(centred**2, axis=0)
    x_hat = centred / np.sqrt(var + 1e-5)
    y = gamma * x_hat + beta
    return 0.5 * np.mean((y - target) ** 2)


def textbook(x, gamma, beta, target):
    """The gradients with respect to x, gamma and beta, collected by hand."""
    centred = x - np.mean(x, axis=0)
    scale = 1.0 / np.sqrt(np.mean(centred**2, axis=0) + 1e-5)
    x_hat = centred * scale
    dy = (gamma * x_hat + beta - target) / x.size
    dx_hat = dy * gamma
    dx = scale * (dx_hat - np.mean(dx_hat, axis=0) - x_hat * np.mean(dx_hat * x_hat, axis=0))
    return dx, np.sum(dy * x_hat, axis=0), np.sum(dy, axis=0)


def problem():
    """``(f, args)``: eight rows of three columns."""
    rng = np.random.default_rng(4)
    return loss, (
        rng.normal(size=(8, 3)) * [1.0, 3.0, 0.5],
        np.array([1.0, 0.8, 1.2]),
        np.array([0.0, 0.1, -0.1]),
        rng.normal(size=(8, 3)),
    )
