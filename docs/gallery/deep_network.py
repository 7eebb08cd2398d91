"""A network of L equal layers: told once, with an index, by induction."""

import numpy as np

TITLE = "A network of L layers, by induction"
ARGNUMS = (0, 1)
SOURCE = "D. E. Rumelhart, G. E. Hinton, R. J. Williams, Learning representations by back-propagating errors (1986)"
TEXTBOOK = (
    r"\delta_L = (h_L - T) \odot (1 - h_L \odot h_L)",
    r"\delta_{l} = (\delta_{l+1} W_{l+1}^{\top}) \odot (1 - h_l \odot h_l), \qquad l = L-1, \ldots, 1",
    r"\nabla_{W_l} = h_{l-1}^{\top} \delta_l, \qquad \nabla_{b_l} = \sum_i \delta_{l,i}",
)


def loss(weights, biases, X, T):
    """Half the sum of squared errors of the last layer's output."""
    h = X
    for W, b in zip(weights, biases, strict=True):
        z = h @ W + b
        h = np.tanh(z)
    return 0.5 * np.sum((h - T) ** 2)


def textbook(weights, biases, X, T):
    """The lists of the layers' gradients: base case at the last layer, then one layer back at a time."""
    states = [X]
    for W, b in zip(weights, biases, strict=True):
        states.append(np.tanh(states[-1] @ W + b))
    delta = (states[-1] - T) * (1.0 - states[-1] ** 2)
    dweights, dbiases = [], []
    for layer in reversed(range(len(weights))):
        dweights.append(states[layer].T @ delta)
        dbiases.append(np.sum(delta, axis=0))
        if layer:
            delta = (delta @ weights[layer].T) * (1.0 - states[layer] ** 2)
    return dweights[::-1], dbiases[::-1]


def problem(layers=6):
    """``(f, args)``: layers of three units, four examples."""
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(3, 3)) / np.sqrt(3.0) for _ in range(layers)]
    biases = [0.1 * rng.normal(size=3) for _ in range(layers)]
    return loss, (weights, biases, rng.normal(size=(4, 3)), rng.uniform(-0.5, 0.5, size=(4, 3)))
