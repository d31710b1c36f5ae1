"""A scale for every element: its density, its training in stages, its calibration."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import kvae


def heteroscedastic(n, seed) -> tuple[np.ndarray, np.ndarray]:
    """Examples of four elements with a common mean in [-1, 1] and scales that depend on it; and the scales."""
    random = np.random.default_rng(seed)
    t = random.uniform(-1.0, 1.0, size=(n, 1))
    scale = 0.1 + 0.4 * (t > 0.0) * np.array([1.0, 1.0, 0.0, 0.0])
    x = t * np.array([1.0, -1.0, 2.0, 1.0]) + scale * random.normal(size=(n, 4))
    return x.astype(np.float32), scale


def model(scale, seed=0) -> kvae.VAE:
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((4,), 2, hidden=(32, 32), activation="tanh")
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale, floor=0.01), seed=seed)
    vae.compile(optimizer=keras.optimizers.Adam(3e-3))
    return vae


class LocalScaleTest(tf.test.TestCase):
    def test_density_and_gradient(self):
        """scipy's normal density with softplus scales, for flat features and for maps."""
        random = np.random.default_rng(0)
        for feature_shape, event_shape in (((12,), (3, 2)), ((3, 2, 4), (3, 2, 2))):
            likelihood = kvae.likelihoods.Normal("local", floor=0.02, project=False)
            likelihood.build(feature_shape=feature_shape, event_shape=event_shape)
            features = random.normal(size=(2, 5, *feature_shape)).astype(np.float32)
            x = random.normal(size=(5, *event_shape)).astype(np.float32)
            loc, raw = np.split(features, 2, axis=-1)
            loc, raw = (a.reshape(2, 5, *event_shape) for a in (loc, raw))
            axes = tuple(range(2, 2 + len(event_shape)))
            expected = stats.norm.logpdf(x, loc, 0.02 + np.logaddexp(0.0, raw)).sum(axis=axes)
            self.assertAllClose(likelihood.distribution(tf.constant(features)).log_prob(x), expected, rtol=1e-5)

    def test_starts_at_one_everywhere(self):
        vae = model("local")
        x, _ = heteroscedastic(8, 0)
        self.assertAllClose(vae.decode(vae.encode(x).mean()).stddev(), np.ones((8, 4)), rtol=1e-6)

    def test_needs_two_parameters_an_element(self):
        likelihood = kvae.likelihoods.Normal("local", project=False)
        with self.assertRaisesRegex(ValueError, r"must have shape \(8,\)"):
            likelihood.build(feature_shape=(4,), event_shape=(4,))

    @pytest.mark.slow
    def test_recipe_in_stages(self):
        """The recipe of docs/training.md: the scale head alone leaves the means; in the end it is calibrated."""
        x, _ = heteroscedastic(4000, 0)
        test, scale = heteroscedastic(2000, 1)
        first = model("optimal")
        first.fit(x, batch_size=100, epochs=30, verbose=0)

        vae = model("local")
        for part in ("encoder", "decoder", "posterior"):
            getattr(vae, part).set_weights(getattr(first, part).get_weights())
        vae.likelihood.projection.set_weights(first.likelihood.projection.get_weights())
        for part in (vae.encoder, vae.decoder, vae.posterior, vae.likelihood.projection):
            part.trainable = False
        vae.compile(optimizer=keras.optimizers.Adam(3e-3))
        self.assertLen(vae.trainable_weights, 2)
        vae.fit(x, batch_size=100, epochs=20, verbose=0)
        self.assertAllEqual(vae.reconstruct(test), first.reconstruct(test))

        for part in (vae.encoder, vae.decoder, vae.posterior, vae.likelihood.projection):
            part.trainable = True
        vae.compile(optimizer=keras.optimizers.Adam(1e-3))
        vae.fit(x, batch_size=100, epochs=20, verbose=0)
        self.assertGreater(tf.reduce_mean(vae.elbo(test)), tf.reduce_mean(first.elbo(test)) + 0.5)
        p = vae.decode(vae.terms(test).z[0])
        squares = np.square((test - p.mean().numpy()) / p.stddev().numpy())
        self.assertAllInRange(squares.mean(), 0.9, 1.1)
        noisy, quiet = scale[:, 0] > 0.3, scale[:, 0] < 0.3
        learned = p.stddev().numpy()[:, :2]
        self.assertGreater(learned[noisy].mean(), 2.0 * learned[quiet].mean())


if __name__ == "__main__":
    tf.test.main()
