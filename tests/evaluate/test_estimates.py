"""Estimates and their errors: units, comparisons, quadrature, and how often the intervals cover the truth."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import special

import kvae
from kvae.evaluate.estimates import Estimate
from tests import test_oracle
from tests.conformance import examples, make_vae
from tests.test_oracle import Shape, constant_posterior_vae, digits


class UnitsTest(tf.test.TestCase):
    """X25, and what may be compared with what."""

    NATS = Estimate(-1470.0, 1.0, 0.5, 10.0, "nats", "mass", 100, 50)

    def test_bits_per_dim(self):
        bits = kvae.evaluate.bits_per_dim(self.NATS, 784)
        self.assertAllClose(bits.mean, 1470.0 / 784 / math.log(2), rtol=1e-12)
        self.assertAllClose(bits.mean * 784 * math.log(2), 1470.0, rtol=1e-12)
        self.assertAllClose(bits.standard_error, 1.0 / 784 / math.log(2), rtol=1e-12)
        self.assertEqual((bits.unit, bits.measure), ("bits/dim", "mass"))

    def test_density_and_mass(self):
        """1,470 nats as a density of 784 pixels of 256 levels: (784 ln 256 - 1470) / (784 ln 2) = 8 - 2.705 = 5.295."""
        density = self.NATS._replace(mean=1470.0, measure="density")
        bits = kvae.evaluate.bits_per_dim(density, 784, levels=256)
        self.assertAllClose(bits.mean, 8.0 - 1470.0 / 784 / math.log(2), rtol=1e-12)
        self.assertAllClose(784 * math.log(256), 4347.4, atol=0.05)

    def test_uniform_noise_makes_the_bound(self):
        """A mass of 4 levels, and the density of a histogram at (v + u) / 4, are the same number of bits."""
        p = np.array([0.1, 0.2, 0.3, 0.4])
        v = np.random.default_rng(0).choice(4, 1000, p=p)
        mass = kvae.evaluate.estimates.mean_of(np.log(p[v]), measure="mass")
        density = kvae.evaluate.estimates.mean_of(np.log(4 * p[v]), measure="density")
        by_mass, by_density = kvae.evaluate.bits_per_dim(mass, 1), kvae.evaluate.bits_per_dim(density, 1, levels=4)
        self.assertAllClose(by_mass[:3], by_density[:3], rtol=1e-12)

    def test_comparisons(self):
        a, b = self.NATS, self.NATS._replace(mean=-1400.0, standard_error=2.0)
        self.assertTrue(a < b and a <= b and b > a and b >= a and a <= a)
        self.assertFalse(b < a or b <= a or a > b or a >= b)
        self.assertTrue(a < 0 and a > -2000.0)
        difference = b - a
        self.assertEqual((difference.mean, difference.measure, difference.unit), (70.0, "", "nats"))
        self.assertAllClose(difference.standard_error, math.sqrt(5))
        self.assertEqual((a - 1.0).mean, -1471.0)
        self.assertEqual(a - 1.0, a._replace(mean=-1471.0))

    def test_arithmetic(self):
        """Sums, negatives and multiples, where a tuple's + and * would join and repeat."""
        a, b = self.NATS, self.NATS._replace(mean=-1400.0, standard_error=2.0)
        self.assertEqual(((a + b).mean, (a + 1.0).mean, (1.0 + a).mean), (-2870.0, -1469.0, -1469.0))
        self.assertAllClose((a + b).standard_error, math.sqrt(5))
        self.assertAllClose(sum([a, b]).standard_error, math.sqrt(5))
        self.assertEqual((-a).mean, 1470.0)
        self.assertEqual((5.0 - a).mean, 1475.0)
        for found in (-2.0 * a, a * -2.0):
            self.assertEqual(found[:4], (2940.0, 2.0, 1.0, 10.0))
        with self.assertRaises(TypeError):
            _ = a * b
        for wrong in ({"elements": 0}, {"elements": 10, "levels": 1}):
            with self.assertRaisesRegex(ValueError, "must be at least"):
                kvae.evaluate.bits_per_dim(a, **wrong)

    def test_a_mass_beside_a_density(self):
        a, density = self.NATS, self.NATS._replace(measure="density")
        bits = self.NATS._replace(unit="bits/dim")
        for wrong in (lambda: a < density, lambda: a > density, lambda: a <= density, lambda: a - density):
            with self.assertRaisesRegex(ValueError, "A mass cannot be compared with a density"):
                wrong()
        with self.assertRaisesRegex(ValueError, "nats cannot be compared with bits/dim"):
            a < bits  # noqa: B015
        with self.assertRaisesRegex(ValueError, "got a density and levels=None"):
            kvae.evaluate.bits_per_dim(density, 784)
        with self.assertRaisesRegex(ValueError, "got a mass and levels=256"):
            kvae.evaluate.bits_per_dim(a, 784, levels=256)
        with self.assertRaisesRegex(ValueError, "takes a log-likelihood in nats"):
            kvae.evaluate.bits_per_dim(bits, 784)


class OneDrawTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_its_error_is_not_known(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        x = examples(vae.likelihood, (6,), n=5)
        table = kvae.evaluate.summary(vae, x, samples=1)
        known = {name: not math.isnan(e.monte_carlo_error) for name, e in table.items()}
        self.assertEqual([name for name, is_known in known.items() if is_known], ["kl", "active_units"])
        self.assertTrue(math.isnan(kvae.evaluate.ais(vae, x, steps=2, chains=1).monte_carlo_error))
        for message, data in (("are empty", tf.data.Dataset.from_tensor_slices(x).batch(2).take(0)),):
            with self.assertRaisesRegex(ValueError, message):
                kvae.evaluate.independent_pixels(vae, data, x)
            with self.assertRaisesRegex(ValueError, message):
                kvae.evaluate.independent_pixels(vae, x, data)


class CompareTest(tf.test.TestCase):
    def test_paired_differences(self):
        models = {name: make_vae(likelihood=kvae.likelihoods.Bernoulli) for name in ("a", "b")}
        x = examples(models["a"].likelihood, (6,), n=60)
        for vae, epochs in zip(models.values(), (10, 40), strict=True):
            vae.fit(x, epochs=epochs, verbose=0)
        found = kvae.evaluate.compare(models, x, samples=300)
        self.assertEqual(list(found.summaries), ["a", "b"])
        for seed, (name, vae) in enumerate(models.items()):
            self.assertEqual(found.summaries[name], kvae.evaluate.summary(vae, x, samples=300, seed=seed))
        (difference,) = found.differences.values()
        each = {
            name: np.array([kvae.evaluate.log_likelihood(vae, x[i : i + 1], 4000, seed=i + 1).mean for i in range(60)])
            for name, vae in models.items()
        }
        by_hand = each["b"] - each["a"]
        log_p = difference["log_likelihood"]
        self.assertLess(abs(log_p.mean - by_hand.mean()), 4 * log_p.monte_carlo_error)
        self.assertAllClose(log_p.standard_error, by_hand.std(ddof=1) / math.sqrt(60), rtol=0.05)
        values = [found.summaries[name]["log_likelihood"] for name in ("b", "a")]
        self.assertAllClose(log_p.mean, (values[0] - values[1]).mean, atol=1e-9)
        self.assertLess(log_p.standard_error, (values[0] - values[1]).standard_error)
        terms = [difference[name].mean for name in ("elbo", "reconstruction", "kl")]
        self.assertAllClose(terms[0], terms[1] - terms[2], atol=1e-9)

    @pytest.mark.slow
    def test_the_error_of_a_difference_is_the_spread_over_seeds(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        x = examples(vae.likelihood, (6,), n=20)
        vae.fit(x, epochs=20, verbose=0)
        for name in ("elbo", "log_likelihood"):
            runs = [
                kvae.evaluate.compare({"a": vae, "b": vae}, x, samples=50, seed=2 * seed).differences["b"][name]
                for seed in range(40)
            ]
            spread = np.std([run.mean for run in runs], ddof=1)
            self.assertBetween(np.mean([run.monte_carlo_error for run in runs]) / spread, 0.7, 1.4)

    def test_errors(self):
        with self.assertRaisesRegex(ValueError, "takes a dict of names to models, got {}"):
            kvae.evaluate.compare({}, np.zeros((3, 6), np.float32))
        models = {"mass": make_vae(likelihood=kvae.likelihoods.Bernoulli), "density": make_vae()}
        with self.assertRaisesRegex(ValueError, "A mass cannot be compared with a density"):
            kvae.evaluate.compare(models, np.zeros((3, 6), np.float32))


@pytest.mark.slow
class QuadratureTest(tf.test.TestCase, parameterized.TestCase):
    """X9: trained models with one and two latents, on 20 digits."""

    def by_quadrature(self, vae, x, points):
        """log p(x) by the trapezium rule on [-8, 8]^D, float64."""
        line = np.linspace(-8.0, 8.0, points)
        z = np.stack(np.meshgrid(*[line] * vae.latent_dim, indexing="ij"), -1).reshape(-1, vae.latent_dim)
        logits = np.concatenate([vae.decode(part).distribution.logits for part in np.array_split(z, 8)]).astype(
            np.float64
        )
        log_px_z = x.astype(np.float64) @ logits.T - np.logaddexp(0.0, logits).sum(1)  # [N, points^D]
        log_pz = -0.5 * np.square(z).sum(1) - 0.5 * vae.latent_dim * math.log(2 * math.pi)
        step = (line[1] - line[0]) ** vae.latent_dim
        return special.logsumexp(log_px_z + log_pz, axis=1) + math.log(step)

    @parameterized.parameters((1, 2001), (2, 401))
    def test_trained(self, latents, points):
        x = (digits() > 0.5).astype(np.float32)
        keras.utils.set_random_seed(0)
        vae = kvae.VAE(*kvae.networks.mlp((64,), latents, hidden=(50,), activation="tanh"), likelihood="bernoulli")
        vae.compile(optimizer=keras.optimizers.Adam(3e-3))
        vae.fit(x[:1500], epochs=40, verbose=0)
        some = x[1500:1520]
        exact = self.by_quadrature(vae, some, points)
        self.assertAllClose(exact, self.by_quadrature(vae, some, points // 2), atol=1e-4)  # fine enough
        for i, row in enumerate(some):
            estimate = kvae.evaluate.log_likelihood(vae, row[None], samples=5000)
            self.assertLess(abs(estimate.mean - exact[i]), max(4 * estimate.monte_carlo_error, 0.02))
        estimate = kvae.evaluate.log_likelihood(vae, some, samples=5000)
        self.assertAllClose(estimate.mean, exact.mean(), atol=0.02)
        for start in ("prior", "posterior"):
            chains = kvae.evaluate.ais(vae, some, steps=200, chains=16, start=start)
            self.assertLess(abs(chains.mean - exact.mean()), 4 * chains.monte_carlo_error + 0.01)
        parts = kvae.evaluate.gaps(vae, some, samples=5000)
        self.assertAllClose(parts["log_likelihood"].mean, exact.mean(), atol=0.02)
        self.assertGreater(parts["approximation_gap"].mean, -4 * parts["approximation_gap"].monte_carlo_error)
        self.assertGreater(parts["amortization_gap"].mean, 0.0)


class InformationTest(tf.test.TestCase):
    def test_linear_gaussian(self):
        """X18: x ~ N(0, 1) and q(z|x) = N(2 x, 0.6^2) have I(x; z) = 1/2 log(1 + 4 / 0.36), and q(z) = N(0, 4.36)."""
        vae = kvae.VAE(*kvae.networks.mlp((1,), 1, hidden=()))
        raw = math.log(math.expm1(0.6 - vae.posterior.floor))
        vae.posterior.projection.set_weights([np.array([[2.0, 0.0]]), np.array([0.0, raw])])
        x = np.random.default_rng(0).normal(size=(3000, 1)).astype(np.float32)
        found = kvae.evaluate.rate(vae, x, samples=4)
        information = 0.5 * math.log1p(4 / 0.36)
        marginal = 0.5 * (4.36 - 1.0 - math.log(4.36))
        for name, exact in (("mutual_information", information), ("marginal_kl", marginal)):
            error = math.hypot(found[name].standard_error, found[name].monte_carlo_error)
            self.assertLess(abs(found[name].mean - exact), 4 * error)
        self.assertLess(found["mutual_information"].mean, found["cap"].mean)


@pytest.mark.slow
class CoverageTest(tf.test.TestCase):
    """In 200 repetitions the 95 % interval holds the truth 180 to 198 times, on the model of X8 with all its 8 x."""

    REPETITIONS = 200
    X = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], np.float32)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        slope, offset = test_oracle.LogisticTest.A, test_oracle.LogisticTest.B
        cls.vae = constant_posterior_vae(0.2, 1.1, (slope, offset), Shape(kvae.likelihoods.Bernoulli(project=False), 3))
        nodes, weights = np.polynomial.hermite.hermgauss(200)
        weights = weights / math.sqrt(math.pi)

        def log_p(z):
            logits = z[:, None] * slope + offset
            return cls.X.astype(np.float64) @ logits.T - np.logaddexp(0.0, logits).sum(1)  # [8, points]

        cls.log_p = np.log(np.exp(log_p(math.sqrt(2) * nodes)) @ weights)
        cls.reconstruction = log_p(0.2 + math.sqrt(2 * 1.1) * nodes) @ weights
        cls.elbo = cls.reconstruction - 0.5 * (1.1 + 0.2**2 - 1.0 - math.log(1.1))

    def covered(self, runs, truth, error):
        return sum(abs(run.mean - truth) < 1.96 * getattr(run, error) for run in runs)

    def check(self, runs, truth, error):
        self.assertBetween(self.covered(runs, truth, error), 0.9 * self.REPETITIONS, 0.99 * self.REPETITIONS)

    def test_fresh_draws(self):
        runs = [kvae.evaluate.summary(self.vae, self.X, samples=300, seed=s) for s in range(self.REPETITIONS)]
        for name in ("log_likelihood", "elbo", "reconstruction"):
            truth = {"log_likelihood": self.log_p}.get(name, getattr(self, name, None)).mean()
            self.check([run[name] for run in runs], truth, "monte_carlo_error")

    def test_fresh_chains(self):
        for start in ("prior", "posterior"):
            runs = [
                kvae.evaluate.ais(self.vae, self.X, steps=3, chains=200, seed=s, start=start)
                for s in range(self.REPETITIONS)
            ]
            self.check(runs, self.log_p.mean(), "monte_carlo_error")

    def test_fresh_data(self):
        p = np.exp(self.log_p)
        self.assertAllClose(p.sum(), 1.0, atol=1e-10)
        random, runs = np.random.default_rng(0), []
        for seed in range(self.REPETITIONS):
            x = self.X[random.choice(8, 150, p=p)]
            runs.append(kvae.evaluate.summary(self.vae, x, samples=400, seed=seed))
        for name, each in (
            ("log_likelihood", self.log_p),
            ("elbo", self.elbo),
            ("reconstruction", self.reconstruction),
        ):
            self.check([run[name] for run in runs], (p * each).sum(), "standard_error")
        bits = [run["bits_per_dim"] for run in runs]
        self.check(bits, -(p * self.log_p).sum() / 3 / math.log(2), "standard_error")


if __name__ == "__main__":
    tf.test.main()
