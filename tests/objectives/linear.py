"""A linear model in float64 with everything known: p(z) = N(0, I), p(x|z) = N(W z + b, s^2 I), columns orthogonal."""

import math
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

import kvae
from kvae.data.batch import Batch
from kvae.numerics import noise

W = np.array([[1.0, 0.4], [-0.5, 0.8], [0.6, 0.0]])  # [event, latent]
B, S = np.array([0.2, -0.1, 0.3]), 0.7
X = np.array([1.1, -0.6, 0.4])
LOG_P = float(stats.multivariate_normal(B, W @ W.T + S**2 * np.eye(3)).logpdf(X))
PRECISION = 1.0 + np.square(W).sum(0) / S**2
POSTERIOR = W.T @ (X - B) / S**2 / PRECISION, PRECISION**-0.5  # mean and scale
OTHER = np.array([0.3, -0.5]), np.array([0.7, 0.6])  # a q that is not the posterior


def model(objective, **parts) -> kvae.VAE:
    """The model; its encoder has no part in `terms`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")  # of the networks' inputs
    try:
        networks = kvae.networks.mlp((3,), 2, hidden=())
        vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale=S), objective=objective, **parts)
    finally:
        keras.config.set_dtype_policy(before)
        keras.config.set_floatx("float32")
    vae.likelihood.projection.set_weights([W.T, B])
    return vae


def raw(q) -> np.ndarray:
    """The parameters of a DiagonalNormal of this mean and scale."""
    mean, scale = q
    return np.concatenate([mean, np.log(np.expm1(scale - 1e-5))])


def draws(samples: int, rows: int, seed: int = 0, size: int = 2) -> tf.Tensor:
    """Noise `[samples, rows, size]`."""
    return noise.draws(seed, 1, 0, rows, samples, size, "float64")


def terms(vae, q, eps, training=False, parameters=None):
    """The terms of equal rows x with q(z|x) of this mean and scale."""
    rows = eps.shape[1]
    if parameters is None:
        parameters = tf.constant(np.tile(raw(q), (rows, 1)))
    batch = Batch(tf.constant(np.tile(X, (rows, 1))), weight=tf.ones([rows]))
    with mock.patch.object(vae.posterior, "parameters", lambda features: parameters):
        return vae._terms(batch, eps, training)


def gradients(vae, q, eps) -> tuple[np.ndarray, np.ndarray]:
    """Of the loss in training: by q's parameters row by row `[B, 4]`, and by the decoder's W, summed over the rows."""
    parameters = tf.constant(np.tile(raw(q), (eps.shape[1], 1)))
    kernel = vae.likelihood.projection.kernel
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        loss = tf.reduce_sum(vae.objective.loss(terms(vae, q, eps, True, parameters), 0))
    return tuple(g.numpy() for g in tape.gradient(loss, [parameters, kernel.value]))


def by_hand(q, eps, groups: int = 1) -> dict[str, np.ndarray]:
    """In NumPy: log w and its normalised weights v within groups `[S, B]`, and derivatives of log w, `[S, B, 4]`.

    `path` is that through z by q's parameters, `direct` that through the parameters of log q(z|x).
    """
    (mean, scale), eps = q, np.asarray(eps)
    z = mean + scale * eps
    residual = X - z @ W.T - B
    normal = lambda square, size: -0.5 * (square + size * math.log(2.0 * math.pi))  # noqa: E731
    log_w = normal(np.square(residual / S).sum(-1), 3) - 3 * math.log(S) + normal(np.square(z).sum(-1), 2)
    log_w -= normal(np.square(eps).sum(-1), 2) - np.log(scale).sum()
    grouped = log_w.reshape(groups, -1, log_w.shape[1])
    w = np.exp(grouped - grouped.max(1, keepdims=True))
    by_z = residual @ W / S**2 - z + eps / scale
    slope = 1.0 - np.exp(-(scale - 1e-5))  # of the softplus
    path = np.concatenate([by_z, by_z * eps * slope], -1)
    direct = np.concatenate([-eps / scale, (1.0 - np.square(eps)) / scale * slope], -1)
    v = (w / w.sum(1, keepdims=True)).reshape(log_w.shape)
    return {"log_w": log_w, "v": v, "path": path, "direct": direct}
