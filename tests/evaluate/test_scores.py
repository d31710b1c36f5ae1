"""Scores of each example: against the definitions on known noise, the exported endpoint, and the error's own spread."""

import math
import os

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import special, stats

import kvae
from kvae.data.batch import Batch
from kvae.numerics import noise
from kvae.numerics.weights import warn_of_few
from tests.conformance import LIKELIHOODS, examples, make_vae, quick


def trained(**parts):
    vae = make_vae(**parts)
    vae.fit(examples(vae.likelihood, vae.event_shape, n=200), epochs=5, verbose=0)
    return vae, examples(vae.likelihood, vae.event_shape, n=23, seed=1)


class LogLikelihoodPerExampleTest(tf.test.TestCase):
    def test_by_hand(self):
        """The definitions on the noise of example i, row by row."""
        vae, x = trained(likelihood=kvae.likelihoods.Bernoulli)
        k = 40
        found = kvae.evaluate.log_likelihood_per_example(vae, x, samples=k, seed=3)
        for i in range(len(x)):
            eps = noise.normal(3, noise.IMPORTANCE, i * k, k, 3)[:, None]
            terms = vae._terms(Batch(tf.constant(x[i : i + 1])), eps)
            log_w = (terms.log_px_z + terms.log_pz - terms.log_qz_x).numpy()[:, 0].astype(np.float64)
            w = np.exp(log_w - log_w.max())
            self.assertAllClose(found.log_likelihood[i], special.logsumexp(log_w) - math.log(k), rtol=1e-5)
            ess = w.sum() ** 2 / np.square(w).sum()
            self.assertAllClose(found.effective_sample_size[i], ess, rtol=1e-4)
            error = w.std(ddof=1) / w.mean() / math.sqrt(k)  # of log of a mean, to first order
            self.assertAllClose(found.standard_error[i], error, rtol=1e-3)
            self.assertAllClose(found.reconstruction[i], terms.log_px_z.numpy().mean(), rtol=1e-5)
            self.assertAllClose(found.kl[i], terms.kl.numpy()[0], rtol=1e-5)
        self.assertAllClose(found.elbo, found.reconstruction - found.kl, rtol=1e-12)
        mean = kvae.evaluate.log_likelihood(vae, x, samples=k, seed=3)
        self.assertEqual(found.log_likelihood.mean(), mean.mean)
        self.assertAllClose(np.sqrt(np.square(found.standard_error).sum()) / 23, mean.monte_carlo_error, rtol=1e-12)

    def test_errors_are_the_spread_over_seeds(self):
        vae, x = trained()
        runs = [kvae.evaluate.log_likelihood_per_example(vae, x, samples=200, seed=seed) for seed in range(40)]
        spread = np.std([run.log_likelihood for run in runs], axis=0, ddof=1)
        reported = np.mean([run.standard_error for run in runs], axis=0)
        self.assertBetween(np.exp(np.log(reported / spread).mean()), 0.9, 1.1)  # 23 rows, each known to 11 %

    def test_one_draw_and_wrong_arguments(self):
        vae, x = trained()
        self.assertTrue(np.isnan(kvae.evaluate.log_likelihood_per_example(vae, x, samples=1).standard_error).all())
        for arguments in ({"samples": 0}, {"samples": 2.0}, {"seed": -1}, {"seed": None}, {"chunk": 0}):
            with self.assertRaisesRegex(ValueError, f"^{next(iter(arguments))} must be"):
                kvae.evaluate.log_likelihood_per_example(vae, x, **arguments)
        with self.assertRaisesRegex(TypeError, "A kvae.VAE is needed"):
            kvae.evaluate.log_likelihood_per_example(x, x)


@quick("test_parts", "bernoulli", "normal_fixed", "ordinal")
@quick("test_the_endpoint_of_a_saved_model", "1")
class ScoreTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(LIKELIHOODS.items())
    def test_parts(self, make):
        vae, x = trained(likelihood=make)
        found = kvae.evaluate.score(vae, x)
        q = vae.encode(x)
        p = vae.decode(q.mean())
        self.assertAllClose(found.reconstruction, p.log_prob(x), rtol=1e-5)
        self.assertAllClose(found.per_element.sum(axis=1), found.reconstruction, rtol=1e-5)
        m, s = q.mean().numpy().astype(np.float64), q.stddev().numpy().astype(np.float64)
        self.assertAllClose(found.kl, (0.5 * (m**2 + s**2 - 1.0) - np.log(s)).sum(axis=1), rtol=1e-4)
        self.assertAllClose(found.score, found.reconstruction - found.kl, rtol=1e-5)
        self.assertAllClose(found.error, np.square(x - vae.reconstruct(x)).mean(axis=1), rtol=1e-4)

    def test_each_element_by_scipy(self):
        vae, x = trained(likelihood=lambda: kvae.likelihoods.Normal(0.5), network="mlp_image")
        exact = stats.norm(vae.reconstruct(x).numpy(), 0.5).logpdf(x)
        self.assertAllClose(kvae.evaluate.score(vae, x).per_element, exact, rtol=1e-4, atol=1e-5)

    @parameterized.parameters("diagonal_normal", "full_normal")
    def test_the_endpoint_of_a_saved_model(self, posterior):
        posterior = {"diagonal_normal": kvae.posteriors.DiagonalNormal, "full_normal": kvae.posteriors.FullNormal}[
            posterior
        ]
        vae, x = trained(likelihood=kvae.likelihoods.Bernoulli, posterior=posterior)
        path = os.path.join(self.create_tempdir().full_path, "1")
        vae.export(path, verbose=False)
        served = tf.saved_model.load(path).signatures["score"](x=tf.constant(x), seed=tf.range(23))
        found = kvae.evaluate.score(vae, x)
        self.assertAllClose(found.score, served["score"], rtol=1e-5)
        self.assertAllClose(found.error, served["error"], rtol=1e-5)

    def test_equal_rows(self):
        """The ELBO of equal rows differs by the noise of their numbers, the score does not."""
        vae, x = trained()
        same = np.repeat(x[:1], 6, axis=0)
        self.assertAllEqual(np.ptp(kvae.evaluate.score(vae, same).score), 0.0)
        self.assertGreater(np.ptp(vae.elbo(same).numpy()), 1e-3)

    def test_masks_and_conditions(self):
        vae, x = trained()
        mask = np.random.default_rng(0).random(x.shape) < 0.6
        mask[0] = False
        found = kvae.evaluate.score(vae, {"x": np.where(mask, x, np.nan), "mask": mask})
        self.assertAllEqual(found.per_element[~mask], np.zeros((~mask).sum()))
        self.assertAllClose(found.per_element.sum(axis=1), found.reconstruction, rtol=1e-5)
        means = vae.reconstruct(np.where(mask, x, 0.0), mask=mask).numpy()
        exact = (np.square(x - means) * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
        self.assertAllClose(found.error, exact, rtol=1e-4)
        conditional = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,), condition=3))
        y = np.arange(23) % 3
        p = conditional.decode(conditional.encode(x, y).mean(), y)
        self.assertAllClose(kvae.evaluate.score(conditional, (x, y)).reconstruction, p.log_prob(x), rtol=1e-5)

    def test_errors(self):
        points = make_vae(posterior=kvae.posteriors.Deterministic, objective=lambda: kvae.objectives.ELBO(beta=0))
        with self.assertRaisesRegex(ValueError, "score needs a density"):
            kvae.evaluate.score(points, np.zeros((2, 6)))
        with self.assertRaisesRegex(TypeError, "A kvae.VAE is needed"):
            kvae.evaluate.score(np.zeros((2, 6)), np.zeros((2, 6)))


class FewEffectiveDrawsTest(tf.test.TestCase):
    def test_a_posterior_that_is_far_off(self):
        """q(z|x) is N(0, 1) and p(z|x) is a hundredth as wide: of 100 draws about one counts."""
        vae = kvae.VAE(*kvae.networks.mlp((2,), 1, hidden=()), likelihood=kvae.likelihoods.Normal(0.01))
        raw = np.log(np.expm1(1.0 - vae.posterior.floor))
        vae.posterior.projection.set_weights([np.zeros((2, 2)), np.array([0.0, raw])])
        vae.likelihood.projection.set_weights([np.ones((1, 2)), np.zeros(2)])
        x = np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32).repeat(2, axis=1)
        for function in (kvae.evaluate.log_likelihood, kvae.evaluate.summary, kvae.evaluate.log_likelihood_per_example):
            with self.assertWarnsRegex(
                UserWarning, "below 5 of 100 draws for .. of 20 examples.*Use kvae.*ais"
            ) as said:
                function(vae, x, samples=100)
            self.assertEqual(said.filename, __file__)
            function(vae, x, samples=50)  # which is silent, as warnings are errors here

    def test_how_many(self):
        ess = np.full(100, 50.0)
        ess[:9] = 1.5
        warn_of_few(ess, 100, "it is wrong", "Do it.")
        ess[9] = 4.9
        with self.assertWarnsRegex(
            UserWarning, r"for 10 of 100 examples \(the smallest is 1.5\): it is wrong. Do it.$"
        ):
            warn_of_few(ess, 100, "it is wrong", "Do it.")


if __name__ == "__main__":
    tf.test.main()
