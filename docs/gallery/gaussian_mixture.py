"""The likelihood of a Gaussian mixture on the line: every point belongs a little to every component."""

import numpy as np
from scipy.special import logsumexp

TITLE = "The likelihood of a Gaussian mixture"
ARGNUMS = (0, 1, 2)
SOURCE = "C. M. Bishop, Pattern Recognition and Machine Learning (2006), section 9.2.2"
TEXTBOOK = (
    (
        r"r_{ik} = \frac{\pi_k \, \mathcal{N}(x_i \mid \mu_k, \sigma_k^2)}"
        r"{\sum_j \pi_j \, \mathcal{N}(x_i \mid \mu_j, \sigma_j^2)}"
    ),
    r"\frac{\partial \ell}{\partial \mu_k} = -\sum_i r_{ik} \, \frac{x_i - \mu_k}{\sigma_k^2}",
    (
        r"\frac{\partial \ell}{\partial \log \sigma_k}"
        r" = -\sum_i r_{ik} \left( \frac{(x_i - \mu_k)^2}{\sigma_k^2} - 1 \right)"
    ),
    r"\frac{\partial \ell}{\partial a_k} = \sum_i (\pi_k - r_{ik}), \qquad \pi = \operatorname{softmax}(a)",
)


def negative_log_likelihood(a, mu, log_sigma, x):
    """Minus the log-likelihood of the points x; a holds the weights' logarithms, up to a constant."""
    z = (x[:, None] - mu) / np.exp(log_sigma)
    log_weight = a - logsumexp(a)
    log_density = -0.5 * z**2 - log_sigma - 0.5 * np.log(2.0 * np.pi)
    return -np.sum(logsumexp(log_weight + log_density, axis=1))


def textbook(a, mu, log_sigma, x):
    """By responsibilities: the gradients with respect to a, mu and log_sigma."""
    weight, sigma = np.exp(a) / np.sum(np.exp(a)), np.exp(log_sigma)
    z = (x[:, None] - mu) / sigma
    joint = weight * np.exp(-0.5 * z**2) / sigma
    r = joint / np.sum(joint, axis=1, keepdims=True)
    return np.sum(weight - r, axis=0), -np.sum(r * z / sigma, axis=0), -np.sum(r * (z**2 - 1.0), axis=0)


def problem():
    """``(f, args)``: thirty points of three clusters, from a start that is not quite there."""
    rng = np.random.default_rng(9)
    x = np.concatenate([rng.normal(-2.0, 0.5, 12), rng.normal(0.5, 1.0, 12), rng.normal(3.0, 0.3, 6)])
    return negative_log_likelihood, (np.array([0.0, 0.2, -0.1]), np.array([-1.5, 0.0, 2.5]), np.zeros(3), x)
