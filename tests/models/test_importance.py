"""Importance sampling in parts."""

from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from scipy.special import logsumexp

import kvae
from kvae.data.batch import Batch
from kvae.models import importance


def test_a_first_part_without_weight_does_not_count():
    """log p(x|z) is -inf at half of the z: the parts give what all draws at once give, which NumPy sums here."""
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,)), likelihood=kvae.likelihoods.Normal("learned"))
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(6, 6)), tf.float32)
    eps = tf.constant(random.normal(size=(6, 24, 2)), tf.float32)
    own = type(vae.likelihood).log_prob

    def gap(self, p, x, mask=None):
        return tf.where(p.mean()[..., 0] > 0.0, own(self, p, x, mask), -np.inf)

    with mock.patch.object(type(vae.likelihood), "log_prob", gap):
        q = vae.encode(x)
        z, log_qz_x = vae.posterior.drawn(q, tf.transpose(eps[:, :20], [1, 0, 2]))
        log_px_z = vae.likelihood.log_prob(vae.decode(z), x)
        log_w = (log_px_z + vae.prior_distribution(None).log_prob(z) - log_qz_x).numpy()
        expected = logsumexp(log_w, axis=0) - np.log(20)
        w = np.exp(log_w - log_w.max(axis=0))
        assert np.isinf(log_w[0]).any() and np.isfinite(expected).all()
        for floats in (8 * 6, 8 * 6 * 3, 16_000_000):  # 1, 3 and 20 draws in a part
            with mock.patch.object(importance, "FLOATS_AT_A_TIME", floats):
                found = importance.importance_weighted(
                    vae, vae.prepared(Batch(x, None)), q, lambda first, count: eps[:, first : first + count], 20
                )
            np.testing.assert_allclose(found.log_likelihood, expected, rtol=1e-5)
            np.testing.assert_allclose(found.effective_sample_size, w.sum(axis=0) ** 2 / (w**2).sum(axis=0), rtol=1e-4)
