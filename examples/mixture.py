# ruff: noqa: ANN001, ANN201 - a script
"""A Gaussian mixture by maximum likelihood: weights, means and covariances, by their gradient and not by EM."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

import chainrule as cr

K, D = 3, 2
DIAGONAL, BELOW = np.diag_indices(D), np.tril_indices(D, -1)


def parameters(theta):
    """Log-weights, means and the Cholesky factors of the inverse covariances, from one free vector."""
    logits, means, entries = np.split(theta, [K, K + K * D])
    entries = entries.reshape(K, -1)
    factors = []
    for k in range(K):
        L = np.zeros((D, D))
        L[DIAGONAL] = np.exp(entries[k, :D])
        L[BELOW] = entries[k, D:]
        factors.append(L)
    return logits - logsumexp(logits), means.reshape(K, D), factors


def negative_log_likelihood(theta, points):
    """Mean over the points of -log p(point)."""
    log_weights, means, factors = parameters(theta)
    terms = []
    for k in range(K):
        z = (points - means[k]) @ factors[k]
        log_det = np.sum(np.log(np.diag(factors[k])))
        terms.append(log_weights[k] + log_det - 0.5 * np.sum(z**2, axis=1) - 0.5 * D * np.log(2 * np.pi))
    return -np.mean(logsumexp(np.stack(terms), axis=0))


TRUE_WEIGHTS, TRUE_MEANS = (0.5, 0.3, 0.2), ((0.0, 0.0), (3.0, 3.0), (-3.0, 2.0))


def data(n=600):
    """Points of three clouds."""
    rng = np.random.default_rng(3)
    which = rng.choice(K, size=n, p=TRUE_WEIGHTS)
    shapes = np.array([[[1.0, 0.0], [0.6, 0.5]], [[0.5, 0.0], [-0.3, 0.8]], [[0.6, 0.0], [0.0, 0.6]]])
    return np.array(TRUE_MEANS)[which] + np.einsum("nij,nj->ni", shapes[which], rng.normal(size=(n, D)))


def problem():
    """``(f, args)`` with the gradient to be tested."""
    points = data()
    rng = np.random.default_rng(5)
    means = points[rng.choice(len(points), K, replace=False)]
    entries = 0.1 * rng.normal(size=(K, D * (D + 1) // 2))
    return negative_log_likelihood, (np.concatenate([np.zeros(K), means.ravel(), entries.ravel()]), points)


def main():
    """Fit, and compare with what the points were drawn from."""
    f, (theta0, points) = problem()
    found = minimize(cr.value_and_grad(f), theta0, args=(points,), jac=True, method="BFGS")
    log_weights, means, _ = parameters(found.x)
    print(f"-log likelihood {f(theta0, points):.4f} -> {found.fun:.4f}: {found.nit} iterations, {found.njev} gradients")
    order = np.argsort(-log_weights)
    for k, weight, mean in zip(order, TRUE_WEIGHTS, TRUE_MEANS, strict=True):
        print(
            f"weight {np.exp(log_weights[k]):.3f} (drawn with {weight}), "
            f"mean ({means[k, 0]:+.2f}, {means[k, 1]:+.2f}) (drawn with {mean})"
        )


if __name__ == "__main__":
    main()
