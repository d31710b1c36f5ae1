"""Annealed chains against exact answers: mean weights, the linear model from both sides, its rate and distortion."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import special

import kvae
from kvae.evaluate.chains import Annealing, sigmoid_schedule
from kvae.numerics import noise
from tests.conformance import examples, make_vae, quick
from tests.test_oracle import digits, linear_vae, ppca, set_closed_form

LOG_P = -1.685004420592  # X6: p(z) = N(0, 1), p(x|z) = N(z, 1/2), x = 1.3


def conjugate() -> kvae.VAE:
    """X6, with q(z|x) = N(1/2, 3/5)."""
    vae = kvae.VAE(*kvae.networks.mlp((1,), 1, hidden=()), likelihood=kvae.likelihoods.Normal(scale=math.sqrt(0.5)))
    raw = math.log(math.expm1(math.sqrt(0.6) - vae.posterior.floor))
    vae.posterior.projection.set_weights([np.zeros((1, 2)), np.array([0.5, raw])])
    vae.likelihood.projection.set_weights([np.ones((1, 1)), np.zeros(1)])
    return vae


def weights_by_chain(vae, start, steps, chains):
    x = np.array([[1.3]], np.float32)
    found = Annealing.of(vae, start, chains, 3).run(x, sigmoid_schedule(steps), seed=1)
    return found.log_weight[:, 0]


@quick("test_the_mean_weight_is_p_x", "0")
class ConjugateTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(start=["prior", "posterior"], steps=[1, 4])
    def test_the_mean_weight_is_p_x(self, start, steps):
        """With few steps the weights are far from equal: each move must leave its density as it is."""
        w = np.exp(weights_by_chain(conjugate(), start, steps, 40_000))
        error = w.std() / math.sqrt(len(w))
        self.assertLess(abs(w.mean() - math.exp(LOG_P)), 4 * error)
        self.assertGreater(w.std(), 0.02)

    @pytest.mark.slow
    def test_the_mean_inverse_weight_of_chains_back_is_one_over_p_x(self):
        """Each of 40,000 examples has one chain, from an exact draw of p(z|x) = N(0.8667, 1/3)."""
        n = 40_000
        x = np.full((n, 1), 1.3, np.float32)
        z = np.random.default_rng(0).normal(1.3 / 1.5, math.sqrt(1 / 3), (n, 1)).astype(np.float32)
        _, back = Annealing.of(conjugate(), "prior", 1, 3).forth_and_back(x, sigmoid_schedule(4), 1, z)
        inverse = np.exp(-back.log_weight[0])
        self.assertLess(abs(inverse.mean() - math.exp(-LOG_P)), 4 * inverse.std() / math.sqrt(n))
        self.assertGreater(inverse.std(), 0.3)

    def test_one_step_is_importance_sampling(self):
        """At the same draws: log w = log p(x|z) + log p(z) - log q(z|x), z of the chains' first noise."""
        vae = conjugate()
        log_w = weights_by_chain(vae, "posterior", 1, 50)
        eps = noise.normal(1, noise.ANNEALING, 0, 50, 1).numpy()[:, 0].astype(np.float64)
        z = 0.5 + math.sqrt(0.6) * eps
        by_hand = (
            -0.5 * ((1.3 - z) ** 2 / 0.5 + z**2 - eps**2) - 0.5 * math.log(2 * math.pi * 0.5) + 0.5 * math.log(0.6)
        )
        self.assertAllClose(log_w, by_hand, atol=1e-5)

    @pytest.mark.slow
    def test_more_steps_come_closer_from_both_sides(self):
        vae, x = conjugate(), np.full((200, 1), 1.3, np.float32)
        z = np.random.default_rng(0).normal(1.3 / 1.5, math.sqrt(1 / 3), (200, 1)).astype(np.float32)
        gaps = []
        for steps in (2, 20, 200):
            found = kvae.evaluate.sandwich(vae, steps=steps, chains=4, start="prior", exact=(x, z))
            self.assertLess(found["lower"].mean, LOG_P + 4 * found["lower"].monte_carlo_error)
            self.assertGreater(found["upper"].mean, LOG_P - 4 * found["upper"].standard_error)
            self.assertAllClose(found["gap"].mean, found["upper"].mean - found["lower"].mean, atol=1e-6)
            gaps.append(found["gap"])
        self.assertGreater(gaps[0].mean, 2 * gaps[1].mean)
        self.assertLess(abs(gaps[2].mean), 4 * gaps[2].standard_error)
        self.assertLess(gaps[2].standard_error, 0.01)

    @pytest.mark.slow
    def test_the_error_is_the_spread_over_seeds(self):
        vae, x = conjugate(), np.full((20, 1), 1.3, np.float32)
        runs = [kvae.evaluate.ais(vae, x, steps=5, chains=50, seed=seed, start="prior") for seed in range(40)]
        spread = np.std([run.mean for run in runs], ddof=1)
        self.assertBetween(np.mean([run.monte_carlo_error for run in runs]) / spread, 0.7, 1.4)


class LinearTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_sandwich_of_digits(self):
        """X23: chains from the prior, and back from exact draws, enclose 17.4519 within 0.1 nats."""
        x = digits()
        vae = linear_vae(10, "learned")
        log_p, _, _ = set_closed_form(vae, x, 10)
        self.assertAllClose(log_p, 17.451947, atol=1e-6)
        x = x.astype(np.float32)
        z = vae.encode(x)
        z = z.mean() + z.stddev() * np.random.default_rng(0).normal(size=z.mean().shape)
        found = kvae.evaluate.sandwich(vae, exact=(x, z), steps=500, chains=4, start="prior")
        self.assertBetween(found["lower"].mean, log_p - 0.1, log_p)
        self.assertBetween(found["upper"].mean, log_p, log_p + 0.1)

    @pytest.mark.slow
    def test_simulated(self):
        """Examples of the model's own, whose density N(mean, W W^T + s^2 I) is known; from q(z|x) = p(z|x) exactly."""
        vae = linear_vae(10, "learned")
        set_closed_form(vae, digits(), 10)
        mean, w, s2, _, _ = ppca(digits(), 10)
        x, _ = kvae.evaluate.annealed_importance.simulated(vae, 200, seed=3)
        covariance = w @ w.T + s2 * np.eye(64)
        centred = x.astype(np.float64) - mean
        square = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
        exact = (-0.5 * (square + np.linalg.slogdet(covariance)[1] + 64 * math.log(2 * math.pi))).mean()
        found = kvae.evaluate.sandwich(vae, 200, steps=10, chains=2, seed=3)
        self.assertAllClose((found["lower"].mean, found["upper"].mean), (exact, exact), atol=1e-3)
        found = kvae.evaluate.sandwich(vae, 200, steps=400, chains=8, seed=3, start="prior")
        self.assertBetween(found["lower"].mean, exact - 0.5, exact)
        self.assertBetween(found["upper"].mean, exact, exact + 0.5)

    @pytest.mark.slow
    def test_rate_distortion(self):
        """q_beta(z|x) is normal, with precision I + beta W^T W / s^2."""
        x = digits()[:60]
        vae = linear_vae(10, "learned")
        set_closed_form(vae, digits(), 10)
        mean, w, s2, _, _ = ppca(digits(), 10)
        betas = (1.0, 0.1, 3.0)
        curve = kvae.evaluate.rate_distortion(vae, x.astype(np.float32), betas, steps=300, chains=32)
        self.assertAllClose(curve.beta, sorted(betas))
        for beta, rate, distortion in zip(*curve, strict=True):
            covariance = np.linalg.inv(np.eye(10) + beta * w.T @ w / s2)
            m = beta * (x - mean) @ w @ covariance / s2
            kl = 0.5 * (np.trace(covariance) + np.square(m).sum(1) - 10 - np.linalg.slogdet(covariance)[1])
            error = np.square(x - mean - m @ w.T).sum(1) + np.trace(w @ covariance @ w.T)
            exact = 0.5 * error / s2 + 32 * math.log(2 * math.pi * s2)
            self.assertLess(abs(distortion.mean - exact.mean()), 5 * distortion.monte_carlo_error)
            self.assertBetween(rate.mean - kl.mean(), -4 * rate.monte_carlo_error, 0.15)
            if beta == 1.0:
                density = kvae.evaluate.log_likelihood(vae, x.astype(np.float32), samples=2).mean
                self.assertBetween(rate.mean + distortion.mean + density, -0.01, 0.15)


MODELS = {
    "mlp": {"likelihood": kvae.likelihoods.Bernoulli},
    "full_normal": {"posterior": kvae.posteriors.FullNormal},
    "conv": {"network": "conv_odd", "likelihood": kvae.likelihoods.ContinuousBernoulli},
    "mask": {"network": "mlp_mask", "likelihood": kvae.likelihoods.Bernoulli},
}


@functools.cache
def by_importance_sampling(name: str) -> tuple:
    """A trained model, its data, and their log-likelihood by importance sampling."""
    vae = make_vae(**MODELS[name])
    x = examples(vae.likelihood, vae.event_shape, n=12)
    data = {"x": x, "mask": np.random.default_rng(1).random(x.shape) < 0.7} if name == "mask" else x
    vae.fit(data, epochs=20, verbose=0)
    return vae, data, kvae.evaluate.log_likelihood(vae, data, samples=20_000)


class EveryModelTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(name=list(MODELS), start=["prior", "posterior"])
    @pytest.mark.slow
    def test_agrees_with_importance_sampling(self, name, start):
        vae, data, expected = by_importance_sampling(name)
        found = kvae.evaluate.ais(vae, data, steps=60, chains=32, start=start)
        self.assertLess(
            abs(found.mean - expected.mean), 4 * math.hypot(found.monte_carlo_error, expected.monte_carlo_error)
        )
        self.assertEqual((found.samples, found.examples, found.measure), (32, 12, vae.likelihood.measure))

    @pytest.mark.slow
    def test_conditional(self):
        x, y = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32), np.arange(20) % 3
        vae = kvae.VAE(*kvae.networks.mlp((6,), 2, condition=3), prior="conditional_normal")
        vae.compile(jit_compile=False)
        vae.fit(x, y, epochs=5, verbose=0)
        found = kvae.evaluate.ais(vae, (x, y), steps=60, chains=32, start="prior")
        expected = kvae.evaluate.log_likelihood(vae, (x, y), samples=20_000)
        self.assertLess(
            abs(found.mean - expected.mean), 4 * math.hypot(found.monte_carlo_error, expected.monte_carlo_error)
        )
        bounds = kvae.evaluate.sandwich(vae, 12, steps=60, chains=16, condition=np.arange(12) % 3)
        self.assertLess(abs(bounds["gap"].mean), 4 * bounds["gap"].standard_error)
        self.assertTrue(math.isnan(bounds["upper"].monte_carlo_error))

    @pytest.mark.slow
    def test_an_autoencoder_from_the_prior(self):
        """Its decoder and N(0, I) are a model of x, whatever its encoder is; against plain Monte Carlo."""
        vae = make_vae(posterior=kvae.posteriors.Deterministic, objective=lambda: kvae.objectives.ELBO(beta=0))
        x = examples(vae.likelihood, vae.event_shape, n=5)
        found = kvae.evaluate.ais(vae, x, steps=50, chains=64, start="prior")
        p = vae.decode(np.random.default_rng(0).normal(size=(100_000, 1, 3)))
        expected = special.logsumexp(p.log_prob(x).numpy().astype(np.float64), axis=0) - math.log(100_000)
        self.assertLess(abs(found.mean - expected.mean()), 4 * found.monte_carlo_error + 0.02)
        with self.assertRaisesRegex(ValueError, "a chain from q\\(z\\|x\\) needs a density"):
            kvae.evaluate.ais(vae, x)

    @pytest.mark.slow
    def test_parts_do_not_matter_and_the_seed_does(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        x = examples(vae.likelihood, vae.event_shape, n=23)
        whole = kvae.evaluate.ais(vae, x, steps=5, chains=4)
        pipeline = tf.data.Dataset.from_tensor_slices(x).batch(5)
        self.assertAllClose(kvae.evaluate.ais(vae, pipeline, steps=5, chains=4)[:4], whole[:4], rtol=1e-4)
        self.assertEqual(kvae.evaluate.ais(vae, x, steps=5, chains=4), whole)
        self.assertNotEqual(kvae.evaluate.ais(vae, x, steps=5, chains=4, seed=1).mean, whole.mean)

    @pytest.mark.slow
    def test_float64(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float64")
        try:
            wide = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        finally:
            keras.config.set_dtype_policy(before)
        narrow = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        wide.set_weights(narrow.get_weights())
        x = examples(narrow.likelihood, (6,), n=20)
        found = [kvae.evaluate.ais(vae, x, steps=30, chains=32) for vae in (wide, narrow)]
        error = math.hypot(*(estimate.monte_carlo_error for estimate in found))
        self.assertLess(abs(found[0].mean - found[1].mean), 4 * error)  # the noise of float64 is another
        elbos = [kvae.evaluate.gaps(vae, x, 300, steps=50, chains=4)["best_elbo"] for vae in (wide, narrow)]
        error = math.hypot(*(estimate.monte_carlo_error for estimate in elbos))
        self.assertLess(abs(elbos[0].mean - elbos[1].mean), 4 * error + 0.02)  # 50 steps do not go all the way

    @pytest.mark.slow
    def test_directions_that_a_move_turns_by_half_circles(self):
        """Precisions of 16: a quarter turn for the prior is a whole one for them, were step sizes always the same."""
        s2, n = 1 / 15, 8
        vae = kvae.VAE(*kvae.networks.mlp((n,), n, hidden=()), likelihood=kvae.likelihoods.Normal(math.sqrt(s2)))
        vae.likelihood.projection.set_weights([np.eye(n), np.zeros(n)])
        x = np.random.default_rng(0).normal(size=(40, n)).astype(np.float32) * math.sqrt(1 + s2)
        exact = -0.5 * (np.square(x.astype(np.float64)) / (1 + s2) + math.log(2 * math.pi * (1 + s2))).sum(1).mean()
        found = kvae.evaluate.ais(vae, x, steps=500, chains=16, start="prior")
        self.assertLess(abs(found.mean - exact), 4 * found.monte_carlo_error)
        self.assertGreater(found.effective_sample_size, 10.0)

    def test_errors(self):
        vae, x = make_vae(), np.zeros((2, 6), np.float32)
        for shape in ((3, 3), (2, 4), (2,)):
            with self.assertRaisesRegex(ValueError, "For 2 examples z must have shape \\(2, 3\\)"):
                kvae.evaluate.sandwich(vae, exact=(x, np.zeros(shape, np.float32)))
        for wrong in ({"steps": 0}, {"chains": 0}, {"leapfrog": 0}):
            with self.assertRaisesRegex(ValueError, f"{next(iter(wrong))} must be at least 1, got 0"):
                kvae.evaluate.ais(vae, x, **wrong)
        with self.assertRaisesRegex(ValueError, "start must be 'posterior' or 'prior', got 'zero'"):
            kvae.evaluate.ais(vae, x, start="zero")
        for betas in ((), (0.0, 1.0), (math.inf,)):
            with self.assertRaisesRegex(ValueError, "betas must be positive"):
                kvae.evaluate.rate_distortion(vae, x, betas)


if __name__ == "__main__":
    tf.test.main()
