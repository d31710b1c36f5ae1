"""A linear VAE with everything known, and NumPy's Kalman filter for it."""

import keras
import numpy as np
import tensorflow_probability as tfp
from scipy import stats

import kvae


def linear_vae(w, scale: float, dtype="float64", bias=None, posterior="full_normal") -> kvae.VAE:
    """p(x|z) = N(W z + b, scale^2 I) for W `[event, latent]` with its exact posterior."""
    w = np.asarray(w, np.float64)
    event, latent = w.shape
    bias = np.zeros(event) if bias is None else np.asarray(bias)
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy(dtype)
    keras.config.set_floatx(dtype)
    try:
        likelihood = kvae.likelihoods.Normal(scale=scale, project=False)
        inputs = keras.Input((latent,))
        decoder = keras.Model(inputs, keras.layers.Dense(event)(inputs))
        inputs = keras.Input((event,))
        encoder = keras.Model(inputs, keras.layers.Identity()(inputs))
        vae = kvae.VAE(encoder, decoder, posterior, likelihood)
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_floatx(floatx)
    decoder.layers[-1].set_weights([w.T, bias])
    covariance = np.linalg.inv(np.eye(latent) + w.T @ w / scale**2)
    gain = covariance @ w.T / scale**2
    kernel, offset = vae.posterior.projection.get_weights()
    kernel[:], offset[:] = 0.0, 0.0
    kernel[:, :latent], offset[:latent] = gain.T, -gain @ bias
    offset[latent:] = raw(vae, covariance)
    vae.posterior.projection.set_weights([kernel, offset])
    return vae


def raw(vae, covariance) -> np.ndarray:
    """The posterior's parameters beyond the mean, for this covariance."""
    if isinstance(vae.posterior, kvae.posteriors.DiagonalNormal):
        np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-12)
        return diagonal_of(vae, np.diag(np.sqrt(np.diag(covariance))))
    root = np.linalg.cholesky(covariance)
    return np.asarray(tfp.math.fill_triangular_inverse(root - np.diag(np.diag(root)) + np.diag(diagonal_of(vae, root))))


def diagonal_of(vae, root) -> np.ndarray:
    return np.log(np.expm1(np.diag(root) - vae.posterior.floor))


def set_linear(dynamics, a, b, s) -> None:
    """Make a linear transition N(A z + b, diag s^2)."""
    size = len(b)
    dynamics.center.assign(np.zeros(size))
    dynamics.width.assign(np.ones(size))
    dynamics.spread.assign(np.ones(size))
    dynamics.network.layers[-1].set_weights([np.asarray(a).T - np.eye(size), b])
    dynamics.variance.assign(np.square(s)[None] * np.ones((dynamics.leads, 1)))
    dynamics.adapted.assign(1)


def kalman(x, a, b, s, w, bias, scale) -> tuple[float, np.ndarray, np.ndarray]:
    """log p(x_1, ..., x_T) for one trajectory `[T, event]`, and the mean and covariance of z_T given all."""
    a, b, w = np.asarray(a), np.asarray(b), np.asarray(w)
    m, c, total = np.zeros(len(b)), np.eye(len(b)), 0.0
    noise = scale**2 * np.eye(len(w))
    for t, state in enumerate(x):
        if t:
            m, c = a @ m + b, a @ c @ a.T + np.diag(np.square(s))
        total += stats.multivariate_normal(w @ m + bias, w @ c @ w.T + noise).logpdf(state)
        gain = c @ w.T @ np.linalg.inv(w @ c @ w.T + noise)
        m, c = m + gain @ (state - w @ m - bias), c - gain @ w @ c
    return total, m, c
