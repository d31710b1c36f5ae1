"""How well the codes of a data set predict its labels."""

import math

import numpy as np
import tensorflow as tf

from kvae.data import checks, inputs
from kvae.evaluate.estimates import Estimate
from kvae.models.resolve import check_model
from kvae.numerics import arguments


def knn_accuracy(vae, train, test, neighbours: int = 15) -> Estimate:
    """How often the labels of the nearest codes predict the label of a test example; codes are the means of q(z|x).

    Args:
        vae: a `kvae.VAE`; its posterior need not have a density.
        train, test: splits with labels y, or pairs (x, y) of arrays `[N, *event_shape]` and integer labels `[N]`. Of a
            conditional model they are also the conditions.
        neighbours: k; the most frequent label among the k nearest of `train`, in Euclidean distance, is the guess.

    Returns:
        The part of `test` that is guessed right, with its binomial standard error.

    Raises:
        ImportError: without scikit-learn, whose `KNeighborsClassifier` this is.
    """
    from sklearn.neighbors import KNeighborsClassifier

    check_model(vae)
    codes, labels = zip(*(_coded(vae, part, name) for part, name in ((train, "train"), (test, "test"))), strict=True)
    if arguments.whole("neighbours", neighbours, 1) > len(labels[0]):
        raise ValueError(f"neighbours must be 1 to {len(labels[0])}, the examples of train, got {neighbours}.")
    right = KNeighborsClassifier(neighbours).fit(codes[0], labels[0]).score(codes[1], labels[1])
    n = len(labels[1])
    return Estimate(float(right), math.sqrt(right * (1.0 - right) / n), 0.0, 1.0, "", "", 1, n)


def _coded(vae, part, name: str) -> tuple[np.ndarray, np.ndarray]:
    split = inputs.split_of(part)
    if split is None or split.y is None or np.ndim(split.y) != 1:
        raise ValueError(f"{name} needs one label for each example: give a split that has labels, or (x, y).")
    checks.check_split(split, vae.likelihood, vae.condition_shape)
    condition = None if vae.condition_shape is None else split.y
    return tf.convert_to_tensor(vae.posterior.center(vae.encode(split, condition))).numpy(), np.asarray(split.y)
