"""The parts of the gap between log p(x) and the ELBO, where they are known."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.evaluate.estimates import log_mean_variance
from kvae.evaluate.inference_gaps import optimized
from kvae.evaluate.per_example import _RunningSums
from tests.conformance import examples, make_vae, quick
from tests.evaluate.test_chains import conjugate
from tests.test_oracle import digits, linear_vae, set_closed_form


@quick("test_linear_model", "0")
class GapsTest(tf.test.TestCase, parameterized.TestCase):
    def test_conjugate(self):
        """X6: the best q is N(0.8667, 1/3) = p(z|x), so all of the gap, 0.3078 nats, is the encoder's."""
        vae, x = conjugate(), np.full((20, 1), 1.3, np.float32)
        found = kvae.evaluate.gaps(vae, x, samples=2000)
        for name, exact in (
            ("elbo", -1.992777755), ("best_elbo", -1.685004421), ("log_likelihood", -1.685004421),
            ("amortization_gap", 0.307773334), ("approximation_gap", 0.0),
        ):  # fmt: skip
            self.assertLess(abs(found[name].mean - exact), 4 * found[name].monte_carlo_error + 2e-4, name)
        q = vae.posterior.of(optimized(vae, x, 1000, 16, 0))
        self.assertAllClose(q.mean(), np.full((20, 1), 1.3 / 1.5), atol=0.03)  # costs (0.03 / 0.58)^2 / 2 = 0.0014 nats
        self.assertAllClose(q.stddev(), np.full((20, 1), math.sqrt(1 / 3)), atol=0.03)

    @parameterized.parameters(kvae.posteriors.DiagonalNormal, kvae.posteriors.FullNormal)
    def test_linear_model(self, posterior):
        """p(z|x) is normal and diagonal: from a spoilt encoder, the best q finds log p(x)."""
        x = digits()[:50].astype(np.float32)
        vae = linear_vae(10, "learned", posterior=posterior())
        if posterior is kvae.posteriors.DiagonalNormal:
            set_closed_form(vae, digits(), 10)
            kernel, bias = vae.posterior.projection.get_weights()
            vae.posterior.projection.set_weights([0.7 * kernel, bias + 0.3])
        else:
            twin = linear_vae(10, "learned")
            set_closed_form(twin, digits(), 10)
            vae.likelihood.set_weights(twin.likelihood.get_weights())
        exact = linear_vae(10, "learned")
        set_closed_form(exact, digits(), 10)
        log_p = kvae.evaluate.log_likelihood(exact, x, samples=2).mean
        found = kvae.evaluate.gaps(vae, x, samples=300)
        self.assertGreater(found["amortization_gap"].mean, 1.0)
        self.assertAllClose(found["log_likelihood"].mean, log_p, atol=0.05)
        self.assertBetween(found["approximation_gap"].mean, -0.05, 0.05)

    @pytest.mark.slow
    def test_a_diagonal_posterior_of_a_correlated_model(self):
        """p(x|z) = N(z_1 + z_2, s^2): p(z|x) has the precision A = I + J / s^2. The best diagonal q has the precisions
        of its diagonal, and the gap is KL = 1/2 (log det diag(A) - log det A)."""
        s2 = 0.1
        vae = kvae.VAE(*kvae.networks.mlp((1,), 2, hidden=()), likelihood=kvae.likelihoods.Normal(scale=math.sqrt(s2)))
        vae.likelihood.projection.set_weights([np.ones((2, 1)), np.zeros(1)])
        precision = np.eye(2) + np.ones((2, 2)) / s2
        exact = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
        x = np.random.default_rng(0).normal(size=(30, 1)).astype(np.float32) * 1.4
        found = kvae.evaluate.gaps(vae, x, samples=2000, draws=64, chains=16)
        gap = found["approximation_gap"]
        self.assertLess(abs(gap.mean - exact), 4 * gap.monte_carlo_error + 0.01)  # q* is the best but for its noise
        log_p = -0.5 * (x.astype(np.float64) ** 2 / (2 + s2) + math.log(2 * math.pi * (2 + s2)))
        self.assertAllClose(found["log_likelihood"].mean, log_p.mean(), atol=0.02)

    @parameterized.parameters("mlp", "conv_odd", "mlp_mask")
    @pytest.mark.slow
    def test_parts_and_every_network(self, network):
        vae = make_vae(network=network, likelihood=kvae.likelihoods.Bernoulli)
        x = examples(vae.likelihood, vae.event_shape, n=11)
        data = {"x": x, "mask": np.random.default_rng(1).random(x.shape) < 0.7} if network == "mlp_mask" else x
        vae.fit(data, epochs=3, verbose=0)
        before = [w.copy() for w in vae.get_weights()]
        found = kvae.evaluate.gaps(vae, data, samples=400, steps=200)
        self.assertEqual(found["elbo"], kvae.evaluate.summary(vae, data, samples=400)["elbo"])
        self.assertGreater(found["amortization_gap"].mean, 0.0)
        self.assertGreater(found["approximation_gap"].mean, -0.05)
        for a, b in zip(before, vae.get_weights(), strict=True):
            self.assertAllEqual(a, b)
        if not isinstance(data, dict):
            parts = kvae.evaluate.gaps(vae, tf.data.Dataset.from_tensor_slices(x).batch(4), samples=400, steps=200)
            self.assertAllClose(parts["best_elbo"].mean, found["best_elbo"].mean, atol=1e-3)

    def test_a_dataset_that_is_shuffled_anew_every_time(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        x = examples(vae.likelihood, vae.event_shape, n=60)
        vae.fit(x, epochs=3, verbose=0)
        shuffled = tf.data.Dataset.from_tensor_slices(x).shuffle(60).batch(7)
        found, mixed = (kvae.evaluate.gaps(vae, data, samples=100, steps=100) for data in (x, shuffled))
        for name in ("amortization_gap", "approximation_gap"):
            error = math.hypot(found[name].monte_carlo_error, mixed[name].monte_carlo_error)
            self.assertAllClose(mixed[name].mean, found[name].mean, atol=4 * error + 0.01)
            self.assertAllClose(mixed[name].standard_error, found[name].standard_error, rtol=0.3)

    @parameterized.parameters(None, 0.2)
    def test_monte_carlo_error_of_draws_in_common(self, kl):
        """log p(x) and the ELBO by the same 100 draws of a normal, 3,000 times: the variance of their difference."""
        z = np.random.default_rng(0).normal(0.3, 0.7, (100, 3000))
        log_px_z = -0.5 * (0.8 - z) ** 2 / 0.5
        log_ratio = -0.5 * z**2 + 0.5 * ((z - 0.3) / 0.7) ** 2 + np.log(0.7)
        sums = _RunningSums()
        for part in np.split(np.arange(100), [30, 70]):
            sums.add(log_px_z[part, :, None], log_ratio[part])
        log_p, ess, reconstruction, _, rate, _, elbo_variance, gap_variance = sums.result(
            None if kl is None else np.full(3000, kl)
        )
        spread = np.var(log_p - (reconstruction - rate), ddof=1)
        self.assertAllClose(gap_variance.mean() / spread, 1.0, atol=0.15)
        apart = (log_mean_variance(ess, 100) + elbo_variance).mean()  # as if they were of different draws
        self.assertGreater(abs(apart / spread - 1.0), 0.5)

    @pytest.mark.slow
    def test_an_overfitted_encoder(self):
        """Cremer et al.: the amortization gap is larger on data that the encoder has not seen."""
        x = (digits() > 0.5).astype(np.float32)
        keras.utils.set_random_seed(0)
        vae = kvae.VAE(*kvae.networks.mlp((64,), 5, hidden=(200,)), likelihood="bernoulli")
        vae.compile(optimizer=keras.optimizers.Adam(3e-3))
        vae.fit(x[:200], epochs=300, batch_size=50, verbose=0)
        seen, new = (kvae.evaluate.gaps(vae, part, samples=300) for part in (x[:200], x[200:400]))
        difference = new["amortization_gap"].mean - seen["amortization_gap"].mean
        error = math.hypot(new["amortization_gap"].standard_error, seen["amortization_gap"].standard_error)
        self.assertGreater(difference, 4 * error)

    def test_errors(self):
        x = np.zeros((2, 6), np.float32)
        with self.assertRaisesRegex(ValueError, "steps must be at least 1, got 0"):
            kvae.evaluate.gaps(make_vae(), x, steps=0)
        with self.assertRaisesRegex(ValueError, "draws must be at least 1, got 0"):
            kvae.evaluate.gaps(make_vae(), x, draws=0)
        with self.assertRaisesRegex(ValueError, "chains must be at least 0, got -1"):
            kvae.evaluate.gaps(make_vae(), x, chains=-1)
        points = make_vae(posterior=kvae.posteriors.Deterministic, objective=lambda: kvae.objectives.ELBO(beta=0))
        with self.assertRaisesRegex(ValueError, "the gap of the ELBO needs a density"):
            kvae.evaluate.gaps(points, x)


if __name__ == "__main__":
    tf.test.main()
