"""Scaled dot-product attention: each query takes a weighted mean of the values."""

import numpy as np

TITLE = "Attention"
ARGNUMS = (0, 1, 2)
SOURCE = (
    "A. Vaswani et al., Attention is all you need (2017), equation 1;"
    " its gradient as in T. Dao et al., FlashAttention (2022), appendix B.2"
)
TEXTBOOK = (
    r"\nabla_V = A^{\top} \, dO, \qquad dA = dO \, V^{\top}",
    r"dS = A \odot \left( dA - \operatorname{rowsum}(A \odot dA) \right)",
    r"\nabla_Q = \frac{1}{\sqrt{d}} \, dS \, K, \qquad \nabla_K = \frac{1}{\sqrt{d}} \, dS^{\top} Q",
)


def loss(Q, K, V, target):
    """Half the squared distance of the attended values from a target."""
    S = Q @ K.T / np.sqrt(Q.shape[1])
    E = np.exp(S - np.max(S, axis=1, keepdims=True))
    A = E / np.sum(E, axis=1, keepdims=True)
    out = A @ V
    return 0.5 * np.sum((out - target) ** 2)


def textbook(Q, K, V, target):
    """The gradients with respect to queries, keys and values."""
    d = Q.shape[1]
    E = np.exp(Q @ K.T / np.sqrt(d))
    A = E / np.sum(E, axis=1, keepdims=True)
    dO = A @ V - target
    dA = dO @ V.T
    dS = A * (dA - np.sum(A * dA, axis=1, keepdims=True))
    return dS @ K / np.sqrt(d), dS.T @ Q / np.sqrt(d), A.T @ dO


def problem():
    """``(f, args)``: four queries, five keys of three numbers, values of two."""
    rng = np.random.default_rng(5)
    return loss, (rng.normal(size=(4, 3)), rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.normal(size=(4, 2)))
