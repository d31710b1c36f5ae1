"""Disentanglement metrics on codes whose answers are known."""

import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kvae import disentanglement as dis

RANDOM = np.random.default_rng(0)
N = 6000
FACTORS = np.stack([RANDOM.integers(0, size, N) for size in (3, 4, 5)], axis=1)
METRICS = {
    "mig": dis.mutual_information_gap,
    "sap": dis.sap,
    "disentanglement": lambda z, v: dis.dci(z, v, trees=10).disentanglement,
    "completeness": lambda z, v: dis.dci(z, v, trees=10).completeness,
    "factor_vae": dis.factor_vae_score,
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
        value = METRICS[name](perfect(), FACTORS)
        # The second code of a gap is as good as chance: balanced accuracies 1/3, 1/4, 1/5.
        expected = {"sap": 1.0 - np.mean([1 / 3, 1 / 4, 1 / 5]), "mig": 1.0}.get(name, 1.0)
        self.assertAllClose(value, expected, atol=0.03)

    @parameterized.parameters(("mig", 0.0), ("sap", 0.0), ("disentanglement", 0.0), ("completeness", 0.0))
    def test_codes_of_noise(self, name, expected):
        self.assertAllClose(METRICS[name](RANDOM.normal(size=(N, 4)), FACTORS), expected, atol=0.03)

    def test_factor_vae_score_of_noise_is_chance(self):
        self.assertAllClose(dis.factor_vae_score(RANDOM.normal(size=(N, 5)), FACTORS), 1 / 3, atol=0.1)

    @parameterized.parameters(*METRICS)
    def test_order_and_sign_do_not_matter(self, name):
        codes = perfect()
        other = (codes * np.array([1.0, -1.0, 1.0, -1.0, 1.0]))[:, ::-1]
        self.assertAllClose(METRICS[name](codes, FACTORS), METRICS[name](other, FACTORS), atol=0.02)

    def test_two_copies_leave_no_gap(self):
        codes = np.repeat(FACTORS, 2, axis=1).astype(float)
        self.assertAllClose(dis.mutual_information_gap(codes, FACTORS), 0.0, atol=1e-12)
        self.assertAllClose(dis.sap(codes, FACTORS), 0.0, atol=1e-12)
        found = dis.dci(codes, FACTORS, trees=50)
        self.assertGreater(found.disentanglement, 0.97)  # each copy matters for one factor
        self.assertAllClose(found.completeness, 1 - math.log(2) / math.log(6), atol=0.02)  # and each factor needs two
        self.assertEqual(found.informativeness, 1.0)

    def test_turned_codes_are_mixed(self):
        """A turn by 45 degrees leaves all information, and no code of its own for a factor."""
        pair = FACTORS[:, :2] - FACTORS[:, :2].mean(0)
        turned = pair / pair.std(0) @ np.array([[1.0, 1.0], [-1.0, 1.0]])
        found = dis.dci(turned, FACTORS[:, :2])
        self.assertEqual(found.informativeness, 1.0)
        self.assertLess(found.disentanglement, 0.3)
        self.assertLess(dis.mutual_information_gap(turned, FACTORS[:, :2]), 0.3)

    def test_mig_by_hand(self):
        """A binary factor, a code that tells it in 3 of 4 cases, and a code of no use: I = log 2 - H(1/4)."""
        factor = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 100)[:, None]
        codes = np.stack([np.tile([0, 0, 0, 1, 1, 1, 1, 0], 100), np.tile([0, 1] * 4, 100)], axis=1)
        entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
        expected = (math.log(2) - entropy) / math.log(2)
        self.assertAllClose(dis.mutual_information_gap(codes, factor), expected, atol=1e-12)

    @parameterized.parameters(
        (np.zeros((4, 2)), np.zeros((4, 2), int), "No factor varies"),
        (np.zeros((4, 2)), np.zeros((3, 2), int), r"\[N, D\] and factors \[N, K\], got \(4, 2\) and \(3, 2\)"),
        (np.zeros((4, 2)), np.arange(8.0).reshape(4, 2), "must be integers"),
        (np.full((4, 2), np.nan), np.arange(8).reshape(4, 2), "not finite"),
    )
    def test_errors(self, codes, factors, message):
        for metric in (dis.mutual_information_gap, dis.sap, dis.dci, dis.factor_vae_score):
            with self.assertRaisesRegex(ValueError, message):
                metric(codes, factors)


if __name__ == "__main__":
    tf.test.main()
