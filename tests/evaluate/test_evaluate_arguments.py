"""Numbers, seeds and models that the functions of `kvae.evaluate` refuse, each in our own words."""

import numpy as np
import pandas as pd
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae import evaluate
from tests.conformance import make_vae

X = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
FACTORS = np.arange(8)[:, None] % 2
OF_DATA = (
    "log_likelihood", "log_likelihood_per_example", "summary", "rate", "ais", "gaps", "calibration", "diagnose",
    "calibration_by_element", "calibration_by_scale", "rate_distortion",
)  # fmt: skip
OF_CODES = ("mutual_information_gap", "sap", "dci", "factor_vae_score")


class ArgumentsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*OF_DATA)
    def test_seeds(self, name):
        vae = make_vae(compiled=False)
        for seed in (-1, 1.5, None, "3", 2**32, True, np.random.default_rng(0)):
            with self.assertRaisesRegex(ValueError, r"^seed must be a whole number from 0 to 2\*\*32 - 1, got "):
                getattr(evaluate, name)(vae, X, seed=seed)

    @parameterized.parameters(*OF_CODES)
    def test_seeds_of_scores_of_codes(self, name):
        for seed in (-1, 1.5, None):
            with self.assertRaisesRegex(ValueError, "^seed must be a whole number from 0"):
                getattr(evaluate, name)(X, FACTORS, seed=seed)
        with self.assertRaisesRegex(ValueError, "^resamples must be at least 0, got -1"):
            getattr(evaluate, name)(X, FACTORS, resamples=-1)
        with self.assertRaisesRegex(ValueError, "^codes must be numbers"):
            getattr(evaluate, name)(make_vae(), FACTORS)

    def test_the_largest_seed(self):
        """Functions that take the next seed, too, go on at 0."""
        vae, last = make_vae(), 2**32 - 1
        self.assertTrue(np.isfinite(evaluate.summary(vae, X, samples=2, seed=last)["elbo"].mean))
        found = evaluate.compare({"a": vae, "b": vae}, X, samples=2, seed=last).summaries["b"]
        self.assertEqual(found["elbo"], evaluate.summary(vae, X, samples=2, seed=0)["elbo"])
        self.assertTrue(np.isfinite(evaluate.gaps(vae, X, 2, steps=1, draws=1, seed=last)["best_elbo"].mean))

    @parameterized.parameters(
        ("log_likelihood", {"samples": "5"}, "samples must be a whole number, got '5'"),
        ("log_likelihood", {"chunk": 2.0}, "chunk must be a whole number, got 2.0"),
        ("summary", {"verbose": "loud", "samples": 2}, "verbose must be 'auto', True or False, got 'loud'"),
        ("summary", {"verbose": None, "samples": 2}, "verbose must be 'auto', True or False, got None"),
        ("ais", {"steps": 2.5}, "steps must be a whole number, got 2.5"),
        ("ais", {"chains": None}, "chains must be a whole number, got None"),
        ("ais", {"leapfrog": "1"}, "leapfrog must be a whole number, got '1'"),
        ("ais", {"start": 3}, "start must be 'posterior' or 'prior', got 3"),
        ("rate", {"samples": 1.5}, "samples must be a whole number, got 1.5"),
        ("rate_distortion", {"betas": "1"}, "betas must be positive numbers, got '1'"),
        ("rate_distortion", {"betas": [None]}, "betas must be positive numbers"),
        ("gaps", {"chains": -1}, "chains must be at least 0, got -1"),
        ("gaps", {"samples": 0}, "samples must be at least 1, got 0"),
        ("collapse", {"epsilon": "1"}, "epsilon must be a finite number, 0 < epsilon, got '1'"),
        ("collapsed", {"delta": None}, "delta must be a finite number, 0 <= delta < 1, got None"),
        ("diagnose", {"probe_steps": None}, "probe_steps must be a whole number, got None"),
    )
    def test_numbers(self, name, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            getattr(evaluate, name)(make_vae(compiled=False), X, **arguments)

    def test_codes_and_factors_come_in_by_the_door(self):
        frame = pd.DataFrame(X, columns=list("abcdef"))
        for name in OF_CODES[:2]:
            function = getattr(evaluate, name)
            self.assertEqual(function(frame, pd.DataFrame(FACTORS)), function(X, FACTORS))
        with self.assertRaisesRegex(ValueError, "codes must be finite and at most 1e\\+13"):
            evaluate.sap(1e30 * X, FACTORS)

    def test_exact_posteriors_and_columns(self):
        vae = make_vae(compiled=False)
        for exact, message in (
            ((X[:, :5], np.zeros((8, 3))), "exact's x must have shape"),
            (("x", "z"), "x must be an array of numbers"),
            ((X, np.full((8, vae.latent_dim), np.nan)), "z must hold finite numbers up to 1e"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                evaluate.sandwich(vae, steps=1, exact=exact)
        with self.assertRaisesRegex(ValueError, "columns must be a list, got 3"):
            evaluate.diagnose(vae, X, columns=3)

    def test_others(self):
        vae = make_vae(compiled=False)
        with self.assertRaisesRegex(ValueError, "n must be at least 1, got 0"):
            evaluate.sandwich(vae, n=0)
        with self.assertRaisesRegex(ValueError, r"exact must be a pair \(x, z\)"):
            evaluate.sandwich(vae, exact=X)
        with self.assertRaisesRegex(ValueError, "neighbours must be a whole number, got 1.5"):
            evaluate.knn_accuracy(vae, (X, FACTORS[:, 0]), (X, FACTORS[:, 0]), 1.5)
        estimate = evaluate.log_likelihood(vae, X, samples=2)
        with self.assertRaisesRegex(ValueError, "elements must be a whole number, got '6'"):
            evaluate.bits_per_dim(estimate, "6")
        with self.assertRaisesRegex(TypeError, "takes an Estimate, got -1.5"):
            evaluate.bits_per_dim(-1.5, 6)

    @parameterized.parameters(*OF_DATA, "kl_per_dimension", "collapse", "collapsed", "score")
    def test_what_is_no_model(self, name):
        for wrong in ("model.keras", X, None, make_vae(compiled=False).encoder):
            with self.assertRaisesRegex(TypeError, "(?s)A kvae.VAE is needed.*kvae.load_model"):
                getattr(evaluate, name)(wrong, X)

    def test_what_is_no_model_either(self):
        for call in (
            lambda: evaluate.independent_pixels(X, X, X), lambda: evaluate.sandwich(X),
            lambda: evaluate.compare({1: X}, X),
            lambda: evaluate.knn_accuracy(X, (X, FACTORS), (X, FACTORS)), lambda: evaluate.prior_gap(X, X, X),
            lambda: evaluate.gaussian(X, X, X),
        ):  # fmt: skip
            with self.assertRaisesRegex(TypeError, "A kvae.VAE is needed"):
                call()


class CallbacksTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (lambda: kvae.callbacks.Diagnose(X, every=1.5), "every must be a whole number, got 1.5"),
        (lambda: kvae.callbacks.Diagnose(X, say="print"), "say must be a function of a text, such as print"),
        (lambda: kvae.callbacks.Frames(every=None), "every must be a whole number, got None"),
        (lambda: kvae.callbacks.Checkpoint("a.keras", seconds="3"), "seconds must be a finite number, 0 <= seconds"),
        (lambda: kvae.callbacks.Checkpoint("a.keras", on_sigterm=1), "on_sigterm must be True or False, got 1"),
        (lambda: kvae.callbacks.Checkpoint(3), "filepath must be a path, such as 'runs/model', got 3"),
        (lambda: kvae.callbacks.BestCheckpoint(None), "filepath must be a path"),
        (lambda: kvae.callbacks.BestCheckpoint("a.keras", monitor=None), "monitor must be the name of a log"),
    )
    def test_arguments(self, call, message):
        with self.assertRaisesRegex(ValueError, message):
            call()


if __name__ == "__main__":
    tf.test.main()
