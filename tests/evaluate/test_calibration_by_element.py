"""Calibration element by element and by the predicted scale, where the true errors are known."""

import math

import numpy as np
import tensorflow as tf
from scipy import stats

import kvae
from kvae.evaluate import calibration, calibration_by_element, calibration_by_scale
from tests.conformance import make_vae

SPREAD = np.array([[0.5, 0.5], [2.0, 0.125], [0.5, 1.0]])


def constant(scale) -> kvae.VAE:
    """A decoder that says 0, whatever z: the errors are x itself."""
    vae = kvae.VAE(*kvae.networks.mlp((3, 2), 2, hidden=()), likelihood=kvae.likelihoods.Normal(scale))
    vae.likelihood.projection.set_weights([np.zeros((2, 6)), np.zeros(6)])
    return vae


def data(n=4000) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=(n, 3, 2)) * SPREAD).astype(np.float32)


class ByElementTest(tf.test.TestCase):
    def test_one_scale_for_elements_that_differ(self):
        """Errors of 1/4 to 4 of the scale: mean squares of 1/16 to 16, each within its error; the mean hides it."""
        found = calibration_by_element(constant(0.5), data(), samples=2)
        exact = np.square(SPREAD / 0.5)
        self.assertAllLess(np.abs(found.mean_square - exact) / found.standard_error, 4.0)
        self.assertAllClose(found.standard_error, exact * math.sqrt(2 / 4000), rtol=0.1)  # var of a squared normal: 2
        for values, size in ((found.within_one, 1.0), (found.within_two, 2.0)):
            part = 2.0 * stats.norm.cdf(size * 0.5 / SPREAD) - 1.0
            self.assertAllClose(values, part, atol=4 * math.sqrt(0.25 / 4000))
        whole = calibration(constant(0.5), data(), samples=2)["mean_square"]
        self.assertAllClose(found.mean_square.mean(), whole.mean, rtol=1e-5)

    def test_what_was_observed(self):
        x, mask = data(300), np.random.default_rng(1).random((300, 3, 2)) < 0.6
        mask[:, 1, 1] = False
        found = calibration_by_element(constant(0.5), {"x": np.where(mask, x, np.nan), "mask": mask}, samples=2)
        for place in np.ndindex(3, 2):
            seen = mask[:, place[0], place[1]]
            square = np.square(x[:, place[0], place[1]] / 0.5)
            if not seen.any():
                self.assertTrue(math.isnan(found.mean_square[place]))
                continue
            self.assertAllClose(found.mean_square[place], square[seen].mean(), rtol=1e-5)
            error = square[seen].std(ddof=1) / math.sqrt(seen.sum())
            self.assertAllClose(found.standard_error[place], error, rtol=0.02)

    def test_errors(self):
        for function in (calibration_by_element, calibration_by_scale):
            with self.assertRaisesRegex(ValueError, "scale of a normal distribution, and Bernoulli is none"):
                function(make_vae(likelihood=kvae.likelihoods.Bernoulli), np.zeros((2, 6), np.float32))
            with self.assertRaisesRegex(TypeError, "A kvae.VAE is needed"):
                function(data(), data())
            with self.assertRaisesRegex(ValueError, "seed must be a whole number from 0"):
                function(constant(0.5), data(9), seed=-1)
        with self.assertRaisesRegex(ValueError, "groups must be at least 1, got 0"):
            calibration_by_scale(constant(0.5), data(9), groups=0)
        with self.assertRaisesRegex(ValueError, "Nothing was observed"):
            calibration_by_scale(constant(0.5), {"x": data(9), "mask": np.zeros((9, 3, 2))})


class ByScaleTest(tf.test.TestCase):
    def test_known_factors(self):
        """Scales of 0.25, 0.5 and 1, of which the errors are twice, once and half: mean squares of 4, 1 and 1/4."""
        scales, factors = np.array([0.25, 0.25, 0.5, 0.5, 1.0, 1.0]), np.array([2.0, 2.0, 1.0, 1.0, 0.5, 0.5])
        vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=()), likelihood=kvae.likelihoods.Normal("local"))
        vae.likelihood.projection.set_weights([np.zeros((2, 6)), np.zeros(6)])
        raw = np.log(np.expm1(scales - vae.likelihood.floor))
        vae.likelihood.scale_projection.set_weights([np.zeros((2, 6)), raw])
        x = (np.random.default_rng(0).normal(size=(3000, 6)) * scales * factors).astype(np.float32)
        found = calibration_by_scale(vae, x, groups=3, samples=2)
        self.assertAllClose(found.scale, [0.25, 0.5, 1.0], rtol=1e-5)
        for group, estimate in enumerate(found.mean_square):
            exact = factors[2 * group] ** 2
            self.assertLess(abs(estimate.mean - exact), 4 * estimate.standard_error)
            self.assertAllClose(estimate.standard_error, exact * math.sqrt(2 / 6000), rtol=0.1)
            part = 2.0 * stats.norm.cdf(1.0 / factors[2 * group]) - 1.0
            self.assertLess(abs(found.within_one[group].mean - part), 4 * found.within_one[group].standard_error)
        x[:, :2] = np.nan
        some = calibration_by_scale(vae, {"x": x, "mask": ~np.isnan(x)}, groups=2, samples=2)
        self.assertAllClose(some.scale, [0.5, 1.0], rtol=1e-5)
        self.assertAllClose([e.mean for e in some.mean_square], [e.mean for e in found.mean_square[1:]], rtol=1e-5)

    def test_one_scale(self):
        """One group, which is what `calibration` gives."""
        found, whole = calibration_by_scale(constant(0.5), data(500)), calibration(constant(0.5), data(500))
        self.assertAllClose(found.scale, [0.5])
        for name in ("mean_square", "within_one", "within_two"):
            (estimate,) = getattr(found, name)
            self.assertAllClose(estimate[:2], whole[name][:2], rtol=1e-5)


if __name__ == "__main__":
    tf.test.main()
