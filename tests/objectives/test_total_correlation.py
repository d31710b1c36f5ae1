"""The KL term in three parts."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import special, stats

import kvae
from kvae.numerics import divergences
from kvae.objectives import Terms
from tests.conformance import make_vae

TotalCorrelation = kvae.objectives.TotalCorrelation
tfd = divergences.tfd
X = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)


def terms(mean, scale, eps) -> Terms:
    """Of q(z|x) with these means and scales `[B, D]`, p(z) = N(0, I) and log p(x|z) = 0."""
    q, p = tfd.MultivariateNormalDiag(mean, scale), tfd.MultivariateNormalDiag(np.zeros(mean.shape[-1]))
    z = tf.constant(mean + scale * eps)
    pairs = divergences.pairs(q, z)
    return Terms(tf.zeros(z.shape[:2], z.dtype), p.log_prob(z), q.log_prob(z), None, None, z, log_qz_pairs=pairs)


def some(rows=7, samples=2, latent=3, seed=0):
    random = np.random.default_rng(seed)
    mean, scale = random.normal(size=(rows, latent)), random.uniform(0.3, 1.2, (rows, latent))
    return mean, scale, random.normal(size=(samples, rows, latent))


def log_density(z, mean, scale, weight):
    """log sum_j w_j q(z|x_j), and that of each dimension, for one z `[D]`."""
    each = stats.norm(mean, scale).logpdf(z)  # [B, D]
    return special.logsumexp(each.sum(-1), b=weight), special.logsumexp(each, axis=0, b=weight[:, None])


class PartsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, 7, 50)
    def test_by_hand(self, dataset_size):
        mean, scale, eps = some()
        found = TotalCorrelation(dataset_size=dataset_size).parts(terms(mean, scale, eps))
        rows, n = 7, dataset_size or 7
        expected = np.zeros((3, 2, rows))
        for s, i in itertools.product(range(2), range(rows)):
            weight = np.full(rows, (n - 1) / (n * (rows - 1)))
            weight[i] = 1 / n
            z = mean[i] + scale[i] * eps[s, i]
            together, each = log_density(z, mean, scale, weight)
            log_q, log_p = stats.norm(mean[i], scale[i]).logpdf(z).sum(), stats.norm.logpdf(z).sum()
            expected[:, s, i] = log_q - together, together - each.sum(), each.sum() - log_p
        self.assertAllClose(np.stack(found), expected.mean(1), rtol=1e-9, atol=1e-9)

    @parameterized.parameters(None, 90)
    def test_the_parts_are_the_kl_term(self, dataset_size):
        """With all weights 1 the loss is ELBO(kl="monte_carlo"), for every draw; and each weight goes to its part."""
        given = terms(*some())
        elbo = kvae.objectives.ELBO(kl="monte_carlo").loss(given, 0)
        one = TotalCorrelation(1.0, dataset_size=dataset_size)
        self.assertAllClose(one.loss(given, 0), elbo, atol=1e-9)
        information, correlation, one_by_one = one.parts(given)
        weighed = TotalCorrelation(4.0, alpha=0.5, gamma=2.0, dataset_size=dataset_size).loss(given, 0)
        self.assertAllClose(weighed, 0.5 * information + 4.0 * correlation + 2.0 * one_by_one, atol=1e-9)
        at_3 = TotalCorrelation(kvae.schedules.Linear(0.0, 8.0, 6), dataset_size=dataset_size).loss(given, 3)
        self.assertAllClose(at_3, information + 4.0 * correlation + one_by_one, atol=1e-6)

    def test_the_densities_have_no_bias(self):
        """Over all batches of 3 of 6 that hold the example: the mean of the estimated q(z) is q(z)."""
        mean, scale, eps = some(rows=6, samples=1)
        objective, i = TotalCorrelation(dataset_size=6), 0
        z = mean[i] + scale[i] * eps[0, i]
        log_q = stats.norm(mean[i], scale[i]).logpdf(z).sum()
        found = []
        for others in itertools.combinations(range(1, 6), 2):
            rows = [i, *others]
            information = objective.parts(terms(mean[rows], scale[rows], eps[:, rows]))[0]
            found.append(math.exp(log_q - information[0]))
        exact = math.exp(log_density(z, mean, scale, np.full(6, 1 / 6))[0])
        self.assertAllClose(np.mean(found), exact, rtol=1e-9)
        self.assertGreater(np.std(found), 0.05 * exact)

    def test_a_normal_aggregate(self):
        """Means N(0, C), scale s: q(z) = N(0, C + s^2 I), of which everything is known; 4 standard errors."""
        covariance, s, rows = np.array([[1.0, 0.7], [0.7, 0.8]]), 0.5, 1500
        random = np.random.default_rng(5)
        mean = random.multivariate_normal(np.zeros(2), covariance, rows)
        given = terms(mean, np.full((rows, 2), s), random.normal(size=(1, rows, 2)))
        found = [part.numpy() for part in TotalCorrelation().parts(given)]
        total = covariance + s**2 * np.eye(2)
        variances = np.diag(total)
        correlation = -0.5 * math.log(np.linalg.det(total) / np.prod(variances))
        information = 0.5 * math.log(np.linalg.det(total)) - 2 * math.log(s)
        one_by_one = 0.5 * (variances - 1.0 - np.log(variances)).sum()
        for part, exact in zip(found, (information, correlation, one_by_one), strict=True):
            self.assertLess(abs(part.mean() - exact), 4 * part.std() / math.sqrt(rows))
        self.assertGreater(correlation, 10 * found[1].std() / math.sqrt(rows))

    def test_one_example(self):
        """With nothing beside it, its gradient is that of the dimensions one by one."""
        parts = TotalCorrelation(dataset_size=10).parts(terms(*some(rows=1)))
        self.assertAllClose(parts[0], [math.log(10)])
        self.assertTrue(np.isfinite(parts).all())


class ModelTest(tf.test.TestCase, parameterized.TestCase):
    @pytest.mark.slow
    def test_it_logs_its_parts(self):
        """In one batch of all data: mutual information and total correlation of the same draws."""
        vae = make_vae(objective=lambda: TotalCorrelation(1.0))
        logs = vae.evaluate(X, batch_size=24, verbose=0, return_dict=True)
        self.assertEqual(set(logs), {"loss", "elbo", "reconstruction", "kl", "mutual_information", "total_correlation"})
        elbo = make_vae(objective=lambda: kvae.objectives.ELBO(kl="monte_carlo"))
        other = elbo.evaluate(X, batch_size=24, verbose=0, return_dict=True)
        self.assertAllClose(logs["loss"], other["loss"], rtol=1e-5)
        self.assertGreater(logs["mutual_information"], 0.0)
        self.assertLess(logs["mutual_information"], math.log(24))

    @pytest.mark.slow
    def test_it_lowers_the_total_correlation(self):
        """Of codes for correlated columns; beside an ELBO, whose codes have more of it."""
        random = np.random.default_rng(1)
        x = (random.normal(size=(200, 2)) @ random.normal(size=(2, 6)) * 2.0).astype(np.float32)
        found = {}
        for beta in (0.0, 20.0):
            vae = make_vae(objective=lambda beta=beta: TotalCorrelation(beta, dataset_size=200))
            vae.fit(x, batch_size=50, epochs=60, verbose=0)
            found[beta] = vae.evaluate(x, batch_size=200, verbose=0, return_dict=True)["total_correlation"]
        self.assertLess(found[20.0], 0.3 * found[0.0])

    def test_posteriors_that_do_not_factorise(self):
        networks = kvae.networks.mlp((6,), 2)
        with self.assertRaisesRegex(ValueError, "MultivariateNormalTriL does not factorise as normals. Use posterior="):
            kvae.VAE(*networks, posterior="full_normal", objective="total_correlation")

    def test_terms_of_no_step(self):
        vae = make_vae(objective=TotalCorrelation)
        with self.assertRaisesRegex(ValueError, "TotalCorrelation needs log_qz_pairs, which only the Terms of a step"):
            vae.objective.loss(vae.terms(X), 0)


if __name__ == "__main__":
    tf.test.main()
