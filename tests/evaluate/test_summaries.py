"""Estimates: independence of how the work is cut up, and their errors. Exact answers stand in test_oracle.py."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.data.batch import Batch
from kvae.numerics import noise
from tests.conformance import LIKELIHOODS, examples, make_vae, quick


def trained(**parts):
    vae = make_vae(**parts)
    vae.fit(examples(vae.likelihood, vae.event_shape, n=200), epochs=5, verbose=0)
    return vae, examples(vae.likelihood, vae.event_shape, n=23, seed=1)


class LogLikelihoodTest(tf.test.TestCase, parameterized.TestCase):
    @pytest.mark.slow
    def test_chunked_equals_unchunked(self):
        vae, x = trained(likelihood=kvae.likelihoods.Bernoulli)
        whole = kvae.evaluate.log_likelihood(vae, x, samples=60, seed=1, chunk=10_000)
        for chunk in (1, 7, 60, 61, 300):
            part = kvae.evaluate.log_likelihood(vae, x, samples=60, seed=1, chunk=chunk)
            for a, b in zip(part[:4], whole[:4], strict=True):
                self.assertAllClose(a, b, rtol=1e-5)
        other = kvae.evaluate.log_likelihood(vae, x, samples=60, seed=2)
        self.assertNotEqual(other.mean, whole.mean)

    def test_by_hand(self):
        """The definition written out on the noise of example i: log mean exp (log p(x, z) - log q(z|x))."""
        vae, x = trained(likelihood=kvae.likelihoods.Bernoulli)
        k, values = 50, []
        for i in range(len(x)):
            eps = noise.normal(3, noise.IMPORTANCE, i * k, k, 3)[:, None]
            terms = vae._terms(Batch(tf.constant(x[i : i + 1])), eps)
            w = (terms.log_px_z + terms.log_pz - terms.log_qz_x).numpy()[:, 0].astype(np.float64)
            values.append(np.logaddexp.reduce(w) - math.log(k))
        estimate = kvae.evaluate.log_likelihood(vae, x, samples=k, seed=3)
        self.assertAllClose(estimate.mean, np.mean(values), rtol=1e-6)
        self.assertAllClose(estimate.standard_error, np.std(values, ddof=1) / math.sqrt(len(x)), rtol=1e-4)

    def test_forms_of_data_agree(self):
        vae, x = trained()
        split = kvae.data.from_arrays(x, validation=0.0).train
        expected = kvae.evaluate.log_likelihood(vae, x, samples=10)
        for data in (split, (x,), tf.data.Dataset.from_tensor_slices((x, np.arange(23))).batch(5)):
            self.assertAllClose(kvae.evaluate.log_likelihood(vae, data, samples=10)[:4], expected[:4], rtol=1e-5)

    def test_weights_are_refused(self):
        vae, x = trained()
        weighted = {"x": x, "sample_weight": np.ones(len(x))}
        for data in (weighted, tf.data.Dataset.from_tensor_slices(weighted).batch(5)):
            with self.assertRaisesRegex(ValueError, "leave sample_weight out"):
                kvae.evaluate.log_likelihood(vae, data, samples=2)

    def test_monotone_in_samples(self):
        """E of the k-sample bound rises with k: here by much more than its errors."""
        vae, x = trained(likelihood=kvae.likelihoods.Bernoulli)
        bounds = [kvae.evaluate.log_likelihood(vae, x, samples=k, seed=k) for k in (1, 10, 1000)]
        elbo = kvae.evaluate.summary(vae, x, samples=1000)["elbo"]
        self.assertLess(abs(bounds[0].mean - elbo.mean), 4 * math.hypot(elbo.monte_carlo_error, 0.3))
        self.assertGreater(bounds[1].mean, elbo.mean)
        self.assertGreater(bounds[2].mean, bounds[1].mean - 2 * bounds[1].monte_carlo_error)

    def test_monte_carlo_error_is_the_spread_over_seeds(self):
        vae, x = trained(likelihood=kvae.likelihoods.Bernoulli)
        runs = [kvae.evaluate.log_likelihood(vae, x, samples=200, seed=s) for s in range(40)]
        spread = np.std([run.mean for run in runs], ddof=1)
        reported = np.mean([run.monte_carlo_error for run in runs])
        self.assertBetween(reported / spread, 0.7, 1.4)  # 40 runs know the spread to 11 %


@quick("test_terms", "bernoulli", "normal_fixed", "categorical")
class SummaryTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(LIKELIHOODS.items())
    def test_terms(self, make):
        vae, x = trained(likelihood=make)
        s = kvae.evaluate.summary(vae, x, samples=400, seed=1)
        self.assertAllClose(s["elbo"].mean, s["reconstruction"].mean - s["kl"].mean, rtol=1e-6)
        self.assertGreater(s["log_likelihood"].mean, s["elbo"].mean)
        terms = vae.terms(x, samples=400, seed=7)
        error = 4 * math.hypot(s["reconstruction"].monte_carlo_error, s["reconstruction"].monte_carlo_error)
        self.assertLess(abs(s["reconstruction"].mean - terms.log_px_z.numpy().mean()), error + 1e-4)
        self.assertAllClose(s["kl"].mean, terms.kl.numpy().mean(), rtol=1e-5)
        self.assertEqual(s["kl"].monte_carlo_error, 0.0)
        self.assertEqual(s["log_likelihood"].measure, vae.likelihood.measure)
        self.assertEqual("bits_per_dim" in s, vae.likelihood.measure == "mass")
        if "bits_per_dim" in s:
            self.assertAllClose(s["bits_per_dim"].mean, -s["log_likelihood"].mean / (6 * math.log(2)), rtol=1e-9)
            self.assertEqual(s["bits_per_dim"].unit, "bits/dim")

    def test_active_units(self):
        """Codes with standard deviations 0, 0.05, 0.2 and 1 over the data: Burda's threshold is a variance of 0.01."""
        x = keras.Input((4,))
        out = keras.layers.Concatenate()([x, keras.layers.Rescaling(0.0)(x)])
        _, decoder = kvae.networks.mlp((4,), 4, hidden=(3,))
        vae = kvae.VAE(keras.Model(x, out), decoder, kvae.posteriors.DiagonalNormal(project=False))
        data = np.random.default_rng(0).normal(size=(500, 4)) * [0.0, 0.05, 0.2, 1.0] + 3.0
        units = kvae.evaluate.summary(vae, data, samples=1)["active_units"]
        self.assertEqual((units.mean, units.standard_error), (2.0, 0.0))

    def test_nothing_observed_and_one_example(self):
        vae, x = trained(likelihood=kvae.likelihoods.Bernoulli)
        found = kvae.evaluate.summary(vae, {"x": x, "mask": np.zeros_like(x)}, samples=2)
        self.assertTrue(math.isnan(found["bits_per_dim"].mean))
        one = kvae.evaluate.summary(vae, x[:1], samples=2, seed=1)
        self.assertTrue(math.isnan(one["active_units"].standard_error))

    def test_prints(self):
        vae, x = trained()
        self.assertRegex(str(kvae.evaluate.log_likelihood(vae, x, samples=5)), r"-?\d+\.\d{4} ± \d.* nats \(draws ± ")


class IndependentPixelsTest(tf.test.TestCase):
    def test_bernoulli(self):
        x = (np.random.default_rng(0).random((100, 6)) < [0.1, 0.2, 0.5, 0.7, 0.9, 1.0]).astype(np.float32)
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        p = (x[:60].sum(0) + 0.5) / 61
        by_hand = (x[60:] * np.log(p) + (1 - x[60:]) * np.log1p(-p)).sum(1)
        estimate = kvae.evaluate.independent_pixels(vae, x[:60], x[60:])
        self.assertAllClose(estimate.mean, by_hand.mean(), rtol=1e-5)
        self.assertAllClose(estimate.standard_error, by_hand.std(ddof=1) / math.sqrt(40), rtol=1e-4)

    def test_normal(self):
        x = np.random.default_rng(0).normal(3.0, 0.4, (100, 6)).astype(np.float32)
        vae = make_vae()
        mean, s2 = x[:60].mean(0), np.square(x[:60] - x[:60].mean(0)).mean()
        by_hand = (-0.5 * np.log(2 * np.pi * s2) - 0.5 * (x[60:] - mean) ** 2 / s2).sum(1).mean()
        self.assertAllClose(kvae.evaluate.independent_pixels(vae, x[:60], x[60:]).mean, by_hand, rtol=1e-5)

    def test_normals_of_unlike_scales(self):
        """With scales of their own each column has its own; a fixed number is fitted, too."""
        x = (np.random.default_rng(0).normal(size=(100, 6)) * [1.0, 1.0, 1.0, 1.0, 1.0, 100.0]).astype(np.float32)
        squares = np.square(x - x.mean(0)).mean(0).astype(np.float64)
        own, pooled = (-0.5 * (np.log(2 * np.pi * s2) + squares / s2).sum() for s2 in (squares, squares.mean()))
        for scale, per, expected in (
            ("local", "all", own), ("local", "element", own), (0.1, "element", own), (0.1, "all", pooled)
        ):  # fmt: skip
            vae = make_vae(likelihood=lambda scale=scale, per=per: kvae.likelihoods.Normal(scale, per=per))
            found = kvae.evaluate.independent_pixels(vae, x, x).mean
            self.assertAllClose(found, expected, rtol=2e-5, msg=f"{scale}, {per}")

    def test_continuous_bernoulli_matches_the_mean(self):
        x = np.random.default_rng(0).beta(2, 5, (300, 6)).astype(np.float32)
        vae = make_vae(likelihood=kvae.likelihoods.ContinuousBernoulli)
        estimate = kvae.evaluate.independent_pixels(vae, x, x)
        m = x.mean(0).astype(np.float64)
        theta = np.zeros(6)  # p(x) = e^{theta x} theta / (e^theta - 1), by Newton's method on its mean
        for _ in range(50):
            t = np.where(np.abs(theta) < 1e-6, 1e-6, theta)
            mean = 1 / (1 - np.exp(-t)) - 1 / t
            variance = 1 / t**2 - np.exp(-t) / (1 - np.exp(-t)) ** 2
            theta = t + (m - mean) / variance
        by_hand = (theta * m + np.log(theta / np.expm1(theta))).sum()
        self.assertAllClose(estimate.mean, by_hand, rtol=1e-4)
