"""Estimators on models of codes, against sums over all codes: what is right for them, and what is refused."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae import evaluate
from tests.conformance import quick

X = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
X = (X @ np.random.default_rng(1).normal(size=(2, 5))).astype(np.float32)
POSTERIORS = {
    "finite_scalar": lambda: kvae.posteriors.FiniteScalar((3, 3)),
    "vector_quantized": lambda: kvae.posteriors.VectorQuantized(9, 2),
}


@functools.cache
def model(name):
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((5,), 4, hidden=(16,))
    prior, likelihood = kvae.priors.Codes("autoregressive", units=16, layers=1), kvae.likelihoods.Normal("optimal")
    vae = kvae.VAE(*networks, POSTERIORS[name](), likelihood, prior)
    vae.compile(keras.optimizers.Adam(5e-3), jit_compile=False)
    vae.fit(X, epochs=40, batch_size=32, verbose=0)
    return vae


def log_joint(vae, x) -> np.ndarray:
    """log p(x, code) for all 81 codes, float64 `[N, 81]`."""
    z = vae.posterior.code(np.stack(np.meshgrid(np.arange(9), np.arange(9)), -1).reshape(-1, 2))
    log_pz = vae.prior.distribution().log_prob(z).numpy().astype(np.float64)
    return vae.decode(z).log_prob(x[:, None]).numpy() + log_pz


@pytest.mark.slow
class SlowTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*POSTERIORS)
    def test_chains_from_the_prior_reach_log_p(self, name):
        """Their noise has no gradient, but they are right: within four Monte Carlo errors of the sum over all codes."""
        vae, x = model(name), X[:20]
        exact = np.logaddexp.reduce(log_joint(vae, x), axis=1).mean()
        found = evaluate.ais(vae, x, steps=300, chains=16, start="prior")
        self.assertLess(abs(found.mean - exact), 4.0 * found.monte_carlo_error)
        self.assertLess(found.monte_carlo_error, 0.2)
        self.assertGreater(found.mean, vae.elbo(x).numpy().mean())

    @parameterized.parameters(*POSTERIORS)
    def test_the_diagnosis_speaks_of_codes(self, name):
        vae = model(name)
        found = evaluate.diagnose(vae, X, probe_steps=20)
        self.assertTrue(found.healthy, found.text)
        self.assertIn("the codes have a mean length of", found.text)
        self.assertNotIn("prior_gap", found.figures)
        mutual = evaluate.rate(vae, X)["mutual_information"].mean
        self.assertAllClose(found.figures["code_entropy"].mean, mutual, rtol=1e-6)
        kernel, bias = (w.numpy() for w in vae.posterior.projection.weights)
        vae.posterior.projection.set_weights([0.0 * kernel, bias])  # one code for all
        found = evaluate.diagnose(vae, X, probe_steps=0)
        vae.posterior.projection.set_weights([kernel, bias])
        self.assertEqual(found.figures["code_entropy"].mean, 0.0)
        self.assertIn("collapsed", found.faults)
        self.assertIn("nearly all examples have the same code", found.text)


@quick("test_summary", "finite_scalar")
@quick("test_rate")
@quick("test_refused")
class EvaluatedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters((name, name) for name in POSTERIORS)
    @pytest.mark.slow
    def test_summary(self, name):
        """The ELBO of the one code, exactly and by any number of draws; log p(x) is the same bound, below the sum."""
        vae = model(name)
        joint = log_joint(vae, X)
        indices = vae.encode(X).indices.numpy()
        numbers = indices[:, 0] + 9 * indices[:, 1]
        own = joint[np.arange(len(X)), numbers]
        few, many = evaluate.summary(vae, X, samples=1), evaluate.summary(vae, X, samples=5000)
        self.assertEqual(set(many), {"elbo", "reconstruction", "kl", "log_likelihood"})
        for name in many:
            self.assertAllClose(few[name].mean, many[name].mean, rtol=1e-9)
        for name in ("elbo", "log_likelihood"):
            self.assertAllClose(many[name].mean, own.mean(), rtol=1e-5)
            self.assertLess(many[name].monte_carlo_error, 1e-9)
        self.assertAllClose(many["log_likelihood"].effective_sample_size, 5000, rtol=1e-9)
        self.assertLess(own.mean(), np.logaddexp.reduce(joint, axis=1).mean())
        self.assertAllClose(evaluate.score(vae, X).score, own, rtol=1e-4, atol=1e-4)

    @parameterized.named_parameters((name, name) for name in POSTERIORS)
    def test_rate(self, name):
        """The mutual information is the entropy of the codes' counts; the rest their divergence from the prior."""
        vae = model(name)
        found, indices = evaluate.rate(vae, X, samples=2), vae.encode(X).indices.numpy()
        _, first, counts = np.unique(indices, axis=0, return_index=True, return_counts=True)
        part = counts / counts.sum()
        log_p = vae.prior.distribution().log_prob(vae.posterior.code(indices[first])).numpy()
        self.assertAllClose(found["mutual_information"].mean, -(part * np.log(part)).sum(), rtol=1e-6)
        self.assertAllClose(found["marginal_kl"].mean, (part * (np.log(part) - log_p)).sum(), rtol=1e-4, atol=1e-5)
        self.assertAllClose(found["cap"].mean, math.log(200))

    @parameterized.named_parameters((name, name) for name in POSTERIORS)
    @pytest.mark.slow
    def test_refused(self, name):
        """What needs a density or a bijector, each in a sentence; what needs neither runs."""
        vae = model(name)
        for call, message in {
            lambda: evaluate.ais(vae, X): "no chain moves. Give start='prior'",
            lambda: evaluate.sandwich(vae, 3): "no chain moves. Give start='prior'",
            lambda: evaluate.sandwich(vae, 3, start="prior"): "Of codes there is no bound from above",
            lambda: evaluate.gaps(vae, X): "the gap of the ELBO needs a density",
            lambda: evaluate.prior_gap(vae, X, X): "the gap of the prior needs a density",
            lambda: evaluate.kl_per_dimension(vae, X): "does not split into dimensions",
            lambda: evaluate.collapsed(vae, X): "does not split into dimensions",
            lambda: vae.impute(np.where(X > 1.0, np.nan, X)): "impute needs a density",
            lambda: kvae.plots.latent_plane(vae): "this model has codes",
        }.items():
            with self.assertRaisesRegex(ValueError, message):
                call()
        p = vae.decode(vae.encode(X).mean())
        square = np.square((X - p.mean()) / p.stddev()).mean()
        self.assertAllClose(evaluate.calibration(vae, X)["mean_square"].mean, square, rtol=1e-5)
        self.assertEqual(evaluate.knn_accuracy(vae, (X, X[:, 0] > 0), (X, X[:, 0] > 0)).examples, 200)
        self.assertEqual(evaluate.compare({"a": vae, "b": vae}, X, samples=1).differences["b"]["elbo"].mean, 0.0)
        holes = np.where(X > 1.0, np.nan, X)
        self.assertTrue(np.isfinite(vae.reconstruct(holes, mask=X <= 1.0)).all())
