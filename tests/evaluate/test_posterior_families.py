"""All that a user calls on a model whose posterior or prior has no closed forms: it works, or says why not."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from tests import conformance

ROWS = ["posterior_low_rank_normal", "posterior_flow_iaf", "prior_flow_maf"]


def finite(found) -> bool:
    """Whether an estimate, or each of several, has a mean and an error."""
    if isinstance(found, dict):
        return finite(list(found.values()))
    if isinstance(found, list):
        return all(map(finite, found))
    if isinstance(found, kvae.evaluate.Estimate):
        return math.isfinite(found.mean) and math.isfinite(found.standard_error)
    return bool(np.isfinite(np.asarray(found, np.float64)).all())


@pytest.mark.slow
class EvaluateTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters((name, name) for name in ROWS)
    def test_all(self, name):
        parts = conformance.MODELS[name]
        vae = conformance.make_vae(**parts)
        random = np.random.default_rng(0)
        x = (random.normal(size=(48, 2)) @ random.normal(size=(2, 6)) + 0.1 * random.normal(size=(48, 6))).astype(
            np.float32
        )
        said: list[str] = []
        watch = kvae.callbacks.Diagnose(x[:32], every=2, say=said.append)
        vae.fit(x, batch_size=16, epochs=20, verbose=0, callbacks=[watch])
        self.assertNotEmpty(said)
        evaluate, some = kvae.evaluate, x[:8]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The effective sample size is below")
            self.check_log_likelihoods(vae, x, some)
            self.check_imputation(vae, some)
            self.assertTrue(finite(evaluate.calibration(vae, x, samples=10)))
            found = evaluate.gaps(vae, some, samples=200, steps=50)
        self.assertTrue(finite(found))
        error = found["amortization_gap"].monte_carlo_error
        self.assertGreater(found["amortization_gap"].mean, -4 * error)  # q* is no worse than the encoder's q
        self.check_codes(vae, x)
        self.assertNotEqual(evaluate.diagnose(vae, x, probe_steps=5).text, "")
        self.check_export(vae, some)

    def check_log_likelihoods(self, vae, x, some):
        """Importance sampling, annealed chains and chains back agree."""
        evaluate = kvae.evaluate
        found = evaluate.summary(vae, x, samples=500)
        self.assertTrue(finite(found))
        self.assertLess(found["elbo"].mean, found["log_likelihood"].mean)
        one, score = evaluate.log_likelihood_per_example(vae, some, samples=500), evaluate.score(vae, some)
        self.assertTrue(finite(one.log_likelihood) and finite(score.score))
        for start, family in (("posterior", vae.posterior), ("prior", vae.prior)):
            options = {"steps": 30 if start == "posterior" else 300, "chains": 8, "start": start}  # of one program
            chains = evaluate.ais(vae, some, **options)
            difference = abs(chains.mean - one.log_likelihood.mean())
            error = math.hypot(chains.monte_carlo_error, np.sqrt((one.standard_error**2).sum()) / len(some))
            self.assertLess(difference, 4 * error + 0.05, start)
            if family.has_bijector:
                both = evaluate.sandwich(vae, n=len(some), **options)
                self.assertTrue(math.isfinite(both["gap"].mean))
            else:
                with self.assertRaisesRegex(ValueError, "is no bijector of noise. Give start='prior'"):
                    evaluate.sandwich(vae, n=len(some), **options)
        self.assertTrue(finite(evaluate.rate_distortion(vae, some, betas=(0.5, 1.0), steps=20, chains=4).rate))

    def check_imputation(self, vae, some):
        mask = np.ones_like(some)
        mask[:, ::2] = 0.0
        for options in ({}, {"output": "sample", "draws": 3}):
            filled = vae.impute(some, mask, samples=50, **options).numpy()
            self.assertTrue(np.isfinite(filled).all())
            self.assertAllEqual(filled[..., 1::2], np.broadcast_to(some, filled.shape)[..., 1::2])

    def check_codes(self, vae, x):
        evaluate = kvae.evaluate
        rate = evaluate.rate(vae, x, samples=4)
        self.assertTrue(finite({name: rate[name] for name in ("mutual_information", "marginal_kl", "kl")}))
        self.assertBetween(rate["mutual_information"].mean, 0.0, rate["cap"].mean + 1e-3)
        parts = rate["mutual_information"].mean + rate["marginal_kl"].mean
        self.assertAllClose(parts, rate["kl"].mean, atol=1e-3)
        self.assertTrue(math.isfinite(evaluate.prior_gap(vae, x[:24], x[24:]).mean))
        self.assertTrue(finite(evaluate.knn_accuracy(vae, (x, np.arange(48) % 2), (x, np.arange(48) % 2))))
        for refused in (evaluate.kl_per_dimension, evaluate.collapsed):
            with self.assertRaisesRegex(ValueError, "does not split into dimensions"):
                refused(vae, x)
        kvae.plots.posteriors(vae.posterior.center(vae.encode(x)))

    def check_export(self, vae, some):
        path = vae.export(f"{self.create_tempdir().full_path}/1", samples=200, verbose=False)
        served, seeds = tf.saved_model.load(path).signatures, tf.range(8, dtype=tf.int32)
        exact = kvae.evaluate.score(vae, some)
        self.assertAllClose(served["score"](x=some, seed=seeds)["score"], exact.score, rtol=1e-4, atol=1e-4)
        found = served["log_likelihood"](x=some, seed=seeds)["log_likelihood"].numpy()
        self.assertTrue(np.isfinite(found).all())
        one = kvae.evaluate.log_likelihood_per_example(vae, some, samples=200)
        self.assertLess(np.abs(found.mean() - one.log_likelihood.mean()), 8 * one.standard_error.mean() + 0.1)

    def test_diagnose_as_a_copy(self):
        """The copy of `diagnose` has the flow's weights."""
        vae = conformance.make_vae(**conformance.MODELS["posterior_flow_iaf"])
        for weight in vae.posterior.weights:
            weight.assign(np.random.default_rng(0).normal(0.0, 0.2, weight.shape))
        from kvae.evaluate.probe import _copy

        x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
        self.assertAllEqual(_copy(vae).terms(x).log_qz_x, vae.terms(x).log_qz_x)
        self.assertIsInstance(vae.optimizer, keras.optimizers.Adam)
