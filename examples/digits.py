# ruff: noqa: ANN001, ANN201 - written as its author would write it: plain NumPy, no annotations, nothing of chainrule
"""Handwritten digits: a two-layer network in plain NumPy. This file does not know that gradients exist."""

import numpy as np
from sklearn.datasets import load_digits

HIDDEN = 12
DECAY = 1e-3


def load(share=0.7, seed=0):
    """The 1797 images of 8 x 8 pixels, scaled to [0, 1] and shuffled: ``(training set, test set)``."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    images, labels = images[order] / 16.0, labels[order]
    cut = round(share * len(labels))
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])


def start(hidden=HIDDEN, seed=0):
    """Parameters to start from: random weights, zero offsets."""
    rng = np.random.default_rng(seed)
    return {
        "W1": rng.normal(size=(64, hidden)) / np.sqrt(64),
        "b1": np.zeros(hidden),
        "W2": rng.normal(size=(hidden, 10)) / np.sqrt(hidden),
        "b2": np.zeros(10),
    }


def scores(params, images):
    """How much each image looks like each digit."""
    hidden = np.tanh(images @ params["W1"] + params["b1"])
    return hidden @ params["W2"] + params["b2"]


def loss(params, images, labels):
    """Mean softmax cross-entropy, plus a small penalty on large weights."""
    s = scores(params, images)
    s = s - np.max(s, axis=1, keepdims=True)
    log_p = s - np.log(np.sum(np.exp(s), axis=1, keepdims=True))
    misfit = -np.mean(log_p[np.arange(len(labels)), labels])
    penalty = np.sum(params["W1"] ** 2) + np.sum(params["W2"] ** 2)
    return misfit + 0.5 * DECAY * penalty


def accuracy(params, images, labels):
    """The share of images that are recognised."""
    return np.mean(np.argmax(scores(params, images), axis=1) == labels)


def pack(params):
    """All parameters in one vector, as most minimisers want them."""
    return np.concatenate([np.ravel(part) for part in params.values()])


def unpack(vector, hidden=HIDDEN):
    """The parameters in a vector that ``pack`` made."""
    W1, b1, W2, b2 = np.split(vector, np.cumsum([64 * hidden, hidden, hidden * 10]))
    return {"W1": W1.reshape(64, hidden), "b1": b1, "W2": W2.reshape(hidden, 10), "b2": b2}


def problem():
    """``(f, args)`` at a size that a test can difference entry by entry."""
    (images, labels), _ = load()
    return loss, (start(hidden=3), images[:40], labels[:40])


if __name__ == "__main__":
    import chainrule as cr

    (images, labels), (test_images, test_labels) = load()
    params = start()
    value, gradient = cr.value_and_grad(loss)(params, images, labels)
    print(f"loss at the start: {value:.4f}; recognised: {accuracy(params, test_images, test_labels):.1%}")
    print("gradient:", {name: part.shape for name, part in gradient.items()})
