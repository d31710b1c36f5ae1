"""Messages about batches, rows, weights, pairs and placeholders: place to (call, message[, type])."""

from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

import kvae
from kvae.data import Split
from kvae.evaluate import Gaussian
from tests.messages.given import X, path, vae


def _uneven():
    return (X[:, :n] for n in (6, 5))


def _single():
    return ((X[:5], np.float32(1.0)) for _ in range(2))


_CURVE = SimpleNamespace(beta=[], rate=[], distortion=[])

ROWS = {
    "data.batch.unpack": [
        (
            lambda: vae().encode(()),
            r"A tuple of data is \(x,\), \(x, y\) or .*got one of 0. Examples go into",
        ),
    ],
    "data.inputs._joined": [
        (lambda: vae().encode(_uneven()), r"must have one shape, got \(5,\) and \(6,\). Pad them"),
        (lambda: vae().encode(_single()), r"The data give single examples, not batches: dataset.batch\(n\)"),
    ],
    "data.loading.from_arrays": [
        (lambda: kvae.data.from_arrays(X, name=3), "name must be text, such as 'digits', got 3"),
    ],
    "data.pipelines.elements": [
        (lambda: vae().encode(iter([X, None])), r"A batch of the data has no x. Give arrays \[B, \*event_shape\]"),
        (
            lambda: vae().encode(tf.data.Dataset.from_tensor_slices(X[:, 0])),
            r"The data give single numbers, such as .*not batches: dataset.batch\(n\)",
        ),
    ],
    "data.splits._rows": [
        (
            lambda: Split(X).part(slice("a", None)),
            r"rows must be a slice of whole numbers, such as slice\(0, 10\), got",
        ),
        (
            lambda: Split(X).part([99]),
            r"rows must be a slice, or an array of one axis with row numbers below 10 or .*got",
        ),
    ],
    "data.splits.weights": [
        (
            lambda: vae().fit(X, sample_weight=[]),
            r"sample_weight is empty: its shape is \(0,\). Give one number for",
        ),
    ],
    "evaluate.annealed_importance.sandwich": [
        (
            lambda: kvae.evaluate.sandwich(vae(), exact=(X[:, :5], X[:, :3])),
            r"exact's x must have shape \(None, 6\), got \(10, 5\). Reshape it",
        ),
    ],
    "evaluate.gaussian.Gaussian.__init__": [
        (
            lambda: Gaussian([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]),
            "The covariance must be symmetric and positive definite: add a ridge to its diagonal",
        ),
    ],
    "evaluate.gaussian._finite": [
        (lambda: Gaussian([np.nan], [[1.0]]), "mean holds values that are not finite. Leave them out"),
    ],
    "export.manifest.signature_table": [
        (lambda: kvae.export.signature_table({"a": 3}), r"signatures must be those of a manifest.json, got \{'a': 3\}"),
    ],
    "export.saved_models._check_results": [
        (
            lambda: vae().export(path("new/1"), results=[3]),
            "results must be names to kvae.evaluate.Estimate, got .3",
        ),
    ],
    "models.inference._refuse_placeholder": [
        (
            lambda: vae().encode(keras.Input((6,))),
            r"x is a KerasTensor, which has no values. To build a model with it, call vae\(x\)",
        ),
    ],
    "models.vae.VAE.save": [
        (lambda: vae().save(path("m.keras"), zipped=False), "A .keras file is zipped: leave zipped=False out"),
    ],
    "numerics.arguments.label": [
        (lambda: kvae.likelihoods.Normal(name="a/b"), "name must be text without '/', or None, got 'a/b'"),
    ],
    "numerics.arguments.listed": [
        (lambda: kvae.data.from_arrays(X, classes=3), "classes must be a list, got 3"),
    ],
    "plots.charts.rate_distortion": [
        (lambda: kvae.plots.rate_distortion(_CURVE, own=(1, 2, 3)), "own must be a pair of rate and distortion, got"),
    ],
    "plots.latents.posteriors": [
        (lambda: kvae.plots.posteriors(X[:, :2], labels=[object()] * 10), "labels must be integers or words, got"),
        (
            lambda: kvae.plots.posteriors(X[:, :2], np.ones((10, 2)), labels=np.ones((10, 2), int)),
            r"labels must be one for each of the 10 codes, got shape",
        ),
        (lambda: kvae.plots.posteriors(X[:, :2] * np.nan), "mean holds values that are not finite. Leave them out"),
        (
            lambda: kvae.plots.posteriors(X[:, :2], -np.ones((10, 2))),
            "scale holds values that are negative or not finite. Leave them out",
        ),
    ],
}
