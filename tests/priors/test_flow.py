"""The flow as a prior: its density, its draws, what it learns, and conditions."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.numerics import noise

KINDS = tuple((f"{kind}_{shape}", kind, shape) for kind in ("maf", "coupling") for shape in ("affine", "spline"))


def made(kind, transform, size=2, **options):
    keras.utils.set_random_seed(0)
    prior = kvae.priors.Flow(kind, 2, transform, hidden=(8,), **options)
    prior.build(size, (3,) if options else None)
    return prior


def spoilt(prior):
    random = np.random.default_rng(1)
    for weight in prior.trainable_weights:
        weight.assign(random.normal(0.0, 0.25, weight.shape))
    return prior


class FlowTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(*KINDS)
    def test_a_new_prior_is_standard_normal(self, kind, transform):
        p = made(kind, transform, 4).distribution()
        z = np.random.default_rng(0).normal(0.0, 3.0, (50, 4)).astype(np.float32)
        exact = -0.5 * (np.square(z).sum(axis=1) + 4 * math.log(2 * math.pi))
        self.assertAllClose(p.log_prob(z), exact, atol=5e-5, rtol=1e-6)
        self.assertEqual((p.batch_shape, p.event_shape), ([], [4]))

    @parameterized.named_parameters(*KINDS)
    def test_draws_are_those_of_the_density(self, kind, transform):
        """In two dimensions, by quadrature: it integrates to one; means and covariances of draws (4 se)."""
        prior, n = spoilt(made(kind, transform)), 20_000
        p = prior.distribution()
        axis = np.linspace(-9.0, 9.0, 301, dtype=np.float32)
        z = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
        mass = p.prob(z).numpy().astype(np.float64) * (axis[1] - axis[0]) ** 2
        self.assertAllClose(mass.sum(), 1.0, atol=1e-3)
        drawn = prior.draw(p, noise.normal(0, 1, 0, n, prior.noise_size)).numpy()
        for power in (
            lambda z: z[:, 0], lambda z: z[:, 1], lambda z: z[:, 0] ** 2, lambda z: z[:, 1] ** 2,
            lambda z: z[:, 0] * z[:, 1], lambda z: (z[:, 0] > 0.5) & (z[:, 1] < 0.2),
        ):  # fmt: skip
            values = power(drawn).astype(np.float64)
            self.assertLess(abs(values.mean() - mass @ power(z)), 4 * values.std() / math.sqrt(n) + 2e-3)
        self.assertAllClose(p.bijector.inverse(drawn[:50]), noise.normal(0, 1, 0, n, 2)[:50], atol=1e-4)

    def test_conditions(self):
        """p(z|c) of each class is its own; a draw goes back to its noise by its own condition alone."""
        prior = spoilt(made("maf", "affine", conditional=True))
        c = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
        p = prior.distribution(condition=tf.constant(c))
        self.assertEqual((p.batch_shape, p.event_shape), ([4], [2]))
        log_p = p.log_prob(np.full((5, 4, 2), 0.7, np.float32)).numpy()
        self.assertAllEqual(log_p[:, 0], log_p[:, 3])
        self.assertGreater(np.abs(np.diff(log_p[0, :3])).min(), 1e-3)
        with self.assertRaisesRegex(ValueError, "Flow is a prior of the condition, but neither network has one"):
            kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=()), prior=kvae.priors.Flow(conditional=True))

    @pytest.mark.slow
    def test_a_conditional_model(self):
        networks = kvae.networks.mlp((6,), 2, hidden=(8,), condition=3)
        prior = kvae.priors.Flow("coupling", 2, hidden=(8,), conditional=True)
        vae = kvae.VAE(*networks, posterior="flow", prior=prior)
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        random = np.random.default_rng(0)
        x, labels = random.normal(size=(40, 6)).astype(np.float32), np.arange(40) % 3
        vae.fit(x, labels, batch_size=10, epochs=3, verbose=0)
        z = [vae.prior_draws(5, 0, tf.one_hot([label] * 5, 3)).numpy() for label in range(3)]
        self.assertGreater(np.abs(z[0] - z[1]).max(), 1e-4)
        self.assertTrue(np.isfinite(kvae.evaluate.log_likelihood(vae, (x, labels), samples=10).mean))

    @pytest.mark.slow
    def test_it_learns_two_hills(self):
        """Maximum likelihood on 1/2 N((-2, -2), I/4) + 1/2 N((2, 2), I/4): within 0.1 nats of the truth."""
        random = np.random.default_rng(0)

        def hills(n):
            signs = random.choice([-2.0, 2.0], (n, 1))
            return (signs + 0.5 * random.normal(size=(n, 2))).astype(np.float32)

        def log_truth(z):
            each = [-2.0 * np.square(z - center).sum(axis=1) - math.log(0.5 * math.pi) for center in (-2.0, 2.0)]
            return np.logaddexp(*each) - math.log(2.0)

        keras.utils.set_random_seed(0)
        prior = kvae.priors.Flow("coupling", 4, "spline", hidden=(32,))
        prior.build(2)
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 600))
        weights = prior.trainable_weights
        optimizer.build(weights)

        @tf.function(autograph=False)
        def step(z):
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(prior.distribution().log_prob(z))
            optimizer.apply(tape.gradient(loss, weights), weights)

        for _ in range(600):
            step(tf.constant(hills(256)))
        z = hills(5000)
        loss = log_truth(z) - prior.distribution().log_prob(z).numpy()
        self.assertLess(loss.mean(), 0.1)
        self.assertGreater(loss.mean(), -4 * loss.std() / math.sqrt(len(z)))  # no density beats the truth
