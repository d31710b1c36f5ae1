"""Disentanglement metrics on codes whose answers are known."""

import math

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from kvae.evaluate import disentanglement as dis

RANDOM = np.random.default_rng(0)
N = 6000
FACTORS = np.stack([RANDOM.integers(0, size, N) for size in (3, 4, 5)], axis=1)
METRICS = {
    "mig": lambda z, v, **how: dis.mutual_information_gap(z, v, **how),
    "sap": lambda z, v, **how: dis.sap(z, v, **how),
    "disentanglement": lambda z, v, **how: dis.dci(z, v, trees=10, **how).disentanglement,
    "completeness": lambda z, v, **how: dis.dci(z, v, trees=10, **how).completeness,
    "informativeness": lambda z, v, **how: dis.dci(z, v, trees=10, **how).informativeness,
    "factor_vae": lambda z, v, **how: dis.factor_vae_score(z, v, **how),
}


def perfect() -> np.ndarray:
    """Each factor in a code of its own, reordered, turned and scaled, with a little noise, and two codes of noise."""
    codes = FACTORS[:, [2, 0, 1]] * np.array([-3.0, 0.1, 20.0])
    noise = RANDOM.normal(size=(N, 2))
    return np.concatenate(
        [noise[:, :1], codes + 1e-3 * RANDOM.normal(size=codes.shape) * codes.std(0), noise[:, 1:]], 1
    )


class MetricsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*METRICS)
    def test_perfect_codes(self, name):
        value = METRICS[name](perfect(), FACTORS, resamples=2).mean
        # The second code of a gap is as good as chance: balanced accuracies 1/3, 1/4, 1/5.
        expected = {"sap": 1.0 - np.mean([1 / 3, 1 / 4, 1 / 5]), "mig": 1.0}.get(name, 1.0)
        self.assertAllClose(value, expected, atol=0.03)

    @parameterized.parameters(("mig", 0.0), ("sap", 0.0), ("disentanglement", 0.0), ("completeness", 0.0))
    def test_codes_of_noise(self, name, expected):
        self.assertAllClose(METRICS[name](RANDOM.normal(size=(N, 4)), FACTORS, resamples=2).mean, expected, atol=0.03)

    def test_factor_vae_score_of_noise_is_chance(self):
        found = dis.factor_vae_score(RANDOM.normal(size=(N, 5)), FACTORS, resamples=2)
        self.assertAllClose(found.mean, 1 / 3, atol=0.1)
        self.assertAllClose(found.monte_carlo_error, math.sqrt(found.mean * (1 - found.mean) / 1000), atol=1e-12)

    @parameterized.parameters(*METRICS)
    def test_a_factor_that_never_varies_is_left_out(self, name):
        codes = perfect()[:600] + RANDOM.normal(size=(600, 5))
        with_constant = np.concatenate([FACTORS[:600], np.zeros((600, 1), int)], axis=1)
        found = [METRICS[name](codes, factors, resamples=2).mean for factors in (FACTORS[:600], with_constant)]
        self.assertEqual(*found)

    @parameterized.parameters(*METRICS)
    def test_order_and_sign_do_not_matter(self, name):
        codes = perfect()
        other = (codes * np.array([1.0, -1.0, 1.0, -1.0, 1.0]))[:, ::-1]
        found = [METRICS[name](z, FACTORS, resamples=2).mean for z in (codes, other)]
        self.assertAllClose(found[0], found[1], atol=0.02)

    def test_two_copies_leave_no_gap(self):
        codes = np.repeat(FACTORS, 2, axis=1).astype(float)
        self.assertAllClose(dis.mutual_information_gap(codes, FACTORS).mean, 0.0, atol=1e-12)
        self.assertAllClose(dis.sap(codes, FACTORS, resamples=2).mean, 0.0, atol=1e-12)
        found = dis.dci(codes, FACTORS, trees=50, resamples=2)
        self.assertGreater(found.disentanglement.mean, 0.97)  # each copy matters for one factor
        self.assertAllClose(
            found.completeness.mean, 1 - math.log(2) / math.log(6), atol=0.02
        )  # and each factor needs two
        self.assertEqual(found.informativeness.mean, 1.0)

    def test_turned_codes_are_mixed(self):
        """A turn by 45 degrees leaves all information, and no code of its own for a factor."""
        pair = FACTORS[:, :2] - FACTORS[:, :2].mean(0)
        turned = pair / pair.std(0) @ np.array([[1.0, 1.0], [-1.0, 1.0]])
        found = dis.dci(turned, FACTORS[:, :2], resamples=2)
        self.assertEqual(found.informativeness.mean, 1.0)
        self.assertLess(found.disentanglement.mean, 0.3)
        self.assertLess(dis.mutual_information_gap(turned, FACTORS[:, :2]).mean, 0.3)

    def test_mig_by_hand(self):
        """A binary factor, a code that tells it in 3 of 4 cases, and a code of no use: I = log 2 - H(1/4)."""
        factor = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 100)[:, None]
        codes = np.stack([np.tile([0, 0, 0, 1, 1, 1, 1, 0], 100), np.tile([0, 1] * 4, 100)], axis=1)
        entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
        expected = (math.log(2) - entropy) / math.log(2)
        self.assertAllClose(dis.mutual_information_gap(codes, factor).mean, expected, atol=1e-12)

    @parameterized.named_parameters(
        ("mig", lambda z, v, **how: [dis.mutual_information_gap(z, v, **how)], 300),
        ("sap", lambda z, v, **how: [dis.sap(z, v, **how)], 300),
        ("dci", lambda z, v, **how: dis.dci(z, v, trees=10, **how), 300),
        ("factor_vae", lambda z, v, **how: [dis.factor_vae_score(z, v, **how)], 1200),
    )
    @pytest.mark.slow
    def test_standard_error(self, metric, n):
        """It is the spread of the score over 60 data sets: codes with noise, two of them mixed."""
        random = np.random.default_rng(1)

        def scores(seed, resamples):
            factors = random.integers(0, 4, (n, 3))
            codes = factors + random.normal(size=factors.shape) * np.array([0.3, 0.6, 0.9])
            codes[:, 1] += factors[:, 0]
            return metric(codes, factors, seed=seed, resamples=resamples)

        spreads = np.std([[e.mean for e in scores(seed, 1)] for seed in range(60)], axis=0, ddof=1)
        errors = np.mean([[e.standard_error for e in scores(seed, 20)] for seed in range(5)], axis=0)
        for spread, error in zip(spreads, errors, strict=True):
            self.assertBetween(error, 0.6 * spread, 1.7 * spread)
        self.assertTrue(math.isnan(scores(0, 1)[0].standard_error))

    @parameterized.parameters(
        (np.zeros((4, 2)), np.zeros((4, 2), int), "No factor varies"),
        (np.zeros((4, 2)), np.zeros((3, 2), int), r"\[N, D\] and factors \[N, K\], got \(4, 2\) and \(3, 2\)"),
        (np.zeros((4, 2)), np.arange(8.0).reshape(4, 2), "must be integers"),
        (np.full((4, 2), np.nan), np.arange(8).reshape(4, 2), "must be finite"),
        (np.ones((4, 2)), np.arange(8).reshape(4, 2), "No code varies"),
    )
    def test_errors(self, codes, factors, message):
        for metric in (dis.mutual_information_gap, dis.sap, dis.dci, dis.factor_vae_score):
            with self.assertRaisesRegex(ValueError, message):
                metric(codes, factors)

    def test_counts(self):
        for metric, wrong in (
            (dis.mutual_information_gap, {"bins": 1}),
            (dis.factor_vae_score, {"size": 1}),
            (dis.factor_vae_score, {"groups": 0}),
        ):
            with self.assertRaisesRegex(ValueError, f"{next(iter(wrong))} must be at least 2"):
                metric(perfect(), FACTORS, **wrong)


if __name__ == "__main__":
    tf.test.main()
