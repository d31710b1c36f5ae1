"""What is evaluated of a hierarchy of two groups of one number each, against quadrature over both."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from tests.conformance import HIERARCHIES

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
X[:, 1] = X[:, 0] ** 2 - 1.0 + 0.3 * X[:, 1]
CHAINS = {"steps": 200, "chains": 16}  # the same everywhere: chains of one shape share their programs
TWO = [name for name, make in HIERARCHIES.items() if make().groups == 2]


@functools.cache
def trained(kind) -> kvae.VAE:
    keras.utils.set_random_seed(1)
    networks = kvae.networks.mlp((3,), 2, hidden=(16,), activation="tanh")
    prior = kvae.priors.Hierarchical(hidden=(8,))
    vae = kvae.VAE(*networks, posterior=HIERARCHIES[kind](), prior=prior, likelihood=kvae.likelihoods.Normal(0.5))
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(X, batch_size=8, epochs=60, verbose=0)
    return vae


@functools.cache
def grid(kind):
    """z on a grid, its prior mass, and the means of p(x|z) there."""
    axis = np.linspace(-8, 8, 401, dtype=np.float32)
    z = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    vae = trained(kind)
    mass = vae.prior_distribution().prob(z).numpy().astype(np.float64) * (axis[1] - axis[0]) ** 2
    return z, mass, vae.decode(z).mean().numpy().astype(np.float64)


def log_p(kind, x):
    """log p(x), x = the decoder's mean and noise of scale 0.5."""
    _, mass, mean = grid(kind)
    joint = mass * np.exp(-2.0 * np.square(x[:, None] - mean).sum(-1)) / (0.5 * math.sqrt(2 * math.pi)) ** x.shape[-1]
    return np.log(joint.sum(1))


@pytest.mark.slow
class EvaluateTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*TWO)
    def test_log_likelihood(self, kind):
        vae = trained(kind)
        self.assertAllClose(grid(kind)[1].sum(), 1.0, atol=2e-3)
        exact = log_p(kind, X).mean()
        found = kvae.evaluate.summary(vae, X, samples=3000)
        self.assertLess(abs(found["log_likelihood"].mean - exact), 4 * found["log_likelihood"].monte_carlo_error + 3e-3)
        self.assertLess(found["elbo"].mean, exact)
        self.assertGreater(found["kl"].mean, 0.5)
        self.assertBetween(found["active_units"].mean, 1, 2)
        for start in ("prior", "posterior"):
            annealed = kvae.evaluate.ais(vae, X, **CHAINS, start=start)
            self.assertLess(abs(annealed.mean - exact), 5 * annealed.monte_carlo_error + 3e-3, start)

    @parameterized.parameters(*TWO)
    def test_sandwich_and_gaps(self, kind):
        vae = trained(kind)
        both = kvae.evaluate.sandwich(vae, n=len(X), **CHAINS)
        self.assertBetween(both["gap"].mean, -0.02, 0.1)
        found = kvae.evaluate.gaps(vae, X, samples=1000, steps=300)
        exact = log_p(kind, X).mean()
        self.assertLess(abs(found["log_likelihood"].mean - exact), 4 * found["log_likelihood"].monte_carlo_error + 3e-3)
        self.assertGreater(found["amortization_gap"].mean, -4 * found["amortization_gap"].monte_carlo_error)
        self.assertGreater(found["approximation_gap"].mean, -4 * found["approximation_gap"].monte_carlo_error)

    @parameterized.parameters(*TWO)
    def test_samples(self, kind):
        """Means of p(x|z), z ~ p(z), have the mean of quadrature (4 standard errors)."""
        _, mass, mean = grid(kind)
        x = trained(kind).sample(20_000, seed=1).numpy()
        self.assertLess((np.abs(x.mean(0) - mass @ mean) / (x.std(0) / math.sqrt(len(x)) + 1e-3)).max(), 4.0)

    @parameterized.parameters(*TWO)
    def test_the_rest(self, kind):
        """Estimators of codes work, and what needs dimensions that are independent says so."""
        vae = trained(kind)
        rate = kvae.evaluate.rate(vae, X, samples=20)
        self.assertAllClose(rate["mutual_information"].mean + rate["marginal_kl"].mean, rate["kl"].mean, rtol=1e-5)
        self.assertLess(rate["mutual_information"].mean, rate["cap"].mean)
        gap = kvae.evaluate.prior_gap(vae, X[:20], X[20:])
        self.assertLess(gap.mean, rate["kl"].mean)
        for call in (kvae.evaluate.kl_per_dimension, kvae.evaluate.collapsed):
            with self.assertRaisesRegex(ValueError, "does not split into dimensions. kvae.evaluate.rate says"):
                call(vae, X)
        said = kvae.evaluate.diagnose(vae, X, probe_steps=10)
        self.assertRegex(said.text, "the ELBO, -|squared errors are")
        self.assertEqual(kvae.evaluate.score(vae, X).score.shape, (40,))
        axes = kvae.plots.posteriors(vae.posterior.center(vae.encode(X)), vae.posterior.spread(vae.encode(X)))
        self.assertIsNotNone(axes)

    @parameterized.parameters(*TWO)
    def test_export(self, kind):
        """The SavedModel's log-likelihood is that of quadrature."""
        vae = trained(kind)
        path = vae.export(f"{self.create_tempdir().full_path}/1", verbose=False, samples=3000)
        served = tf.saved_model.load(path).signatures
        found = served["log_likelihood"](x=X, seed=tf.range(40, dtype=tf.int32))
        variance = 1 / found["effective_sample_size"].numpy() - 1 / 3000
        difference = found["log_likelihood"].numpy() - log_p(kind, X)
        self.assertLess(abs(difference.mean()), 4 * math.sqrt(variance.mean() / 40) + 3e-3)
