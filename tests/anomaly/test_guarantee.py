"""False alarms, p-values and the false discovery rate, against binomial bands and NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import kvae
from kvae.anomaly import Detector, conformal
from tests.anomaly.models import rows, vae
from tests.conformance import slow_but

SIZES = (20, 50, 200, 1000)


@pytest.fixture(scope="module")
def pool():
    """Scores of very many normal rows."""
    return Detector(vae(), "reconstruction").score(rows(100_000, 1))


def sets(pool, n, repeats):
    """Calibration sets and a new row for each, none of them in common: `[repeats, n]` in order, and `[repeats]`."""
    parts = pool[: repeats * (n + 1)].reshape(repeats, n + 1)
    return np.sort(parts[:, :n], axis=1), parts[:, n]


def repeats(n):
    return min(5000, 100_000 // (n + 1))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_false_alarms(pool, n, alpha):
    """Of all calibration sets together: binomial with probability floor(alpha (n + 1)) / (n + 1)."""
    calibrations, new = sets(pool, n, repeats(n))
    p = np.array([conformal.p_values(*one) for one in zip(calibrations, new, strict=True)])
    exact = np.floor(np.round(alpha * (n + 1), 9)) / (n + 1)
    low, high = stats.binom.interval(0.999, len(new), exact) if exact else (0, 0)
    assert low <= np.sum(p <= alpha) <= high
    if exact:
        thresholds = np.array([conformal.threshold(one, alpha) for one in calibrations])
        np.testing.assert_array_equal(new > thresholds, p <= alpha)
    else:
        with pytest.raises(ValueError, match=f"1 / {n + 1}, the smallest"):
            conformal.threshold(calibrations[0], alpha)


def test_percentiles_do_not_keep_the_promise(pool):
    """The test above can fail: what other libraries do raises nine false alarms for five."""
    calibrations, new = sets(pool, 20, repeats(20))
    alarms = np.sum(new > np.percentile(calibrations, 95, axis=1))
    assert alarms > stats.binom.interval(0.999, len(new), 0.07)[1]


@pytest.mark.parametrize("n", SIZES)
def test_p_values_are_uniform(pool, n):
    """On 1 / (n + 1), ..., 1: uniform on (0, 1) with a uniform number of that width taken off."""
    p = np.array([conformal.p_values(*one) for one in zip(*sets(pool, n, repeats(n)), strict=True)])
    spread = p - np.random.default_rng(0).random(len(p)) / (n + 1)
    assert stats.kstest(spread, "uniform").pvalue > 0.01


def test_the_detector_does_that(pool):
    x, new = rows(150, 2), rows(40, 3)
    detector = Detector(vae(), "reconstruction").calibrate(x)
    own, scores = detector.score(x), detector.score(new)
    expected = [(1 + sum(one >= s for one in own)) / 151 for s in scores]
    np.testing.assert_array_equal(detector.p_value(new), expected)
    for alpha in (0.01, 0.05, 0.1, 0.5, 0.99):
        np.testing.assert_array_equal(detector.predict(new, alpha) == -1, np.array(expected) <= alpha)
        np.testing.assert_array_equal(detector.decision_function(new, alpha) < 0, np.array(expected) <= alpha)
    again = Detector(vae(), "reconstruction").calibrate(np.repeat(x[:50], 2, axis=0))  # ties
    np.testing.assert_array_equal(again.p_value(x[:50]), (1 + 2 * stats.rankdata(-own[:50], "max")) / 101)


def discrete(seed):
    """A model, eight distinct rows, and a draw of n rows of the table that has no others."""
    random = np.random.default_rng(seed)
    kinds = (random.random((8, 12)) < 0.5).astype(np.float32)
    keras.utils.set_random_seed(seed)
    model = kvae.VAE(*kvae.networks.mlp((12,), 2, hidden=(64,)), likelihood="bernoulli", seed=seed)
    return model, kinds, lambda n: kinds[random.integers(0, 8, n)]


def tied(seed):
    """A detector of such a table, the distinct rows, and their p-values: only equal rows tie."""
    model, kinds, draw = discrete(seed)
    calibration = draw(400)
    detector = Detector(model, "elbo", samples=20).calibrate(calibration)
    number, own = (calibration[:, None] == kinds).all(-1).sum(axis=0), detector.score(kinds)
    assert np.diff(np.sort(own)).min() > 1e-4 * own.max()
    return detector, kinds, (1 + (own >= own[:, None]) @ number) / 401


@pytest.mark.parametrize("seed", slow_but([0, 2, 4], 0))
def test_equal_rows_tie_in_every_batch(seed):
    """Each of eight rows stands about fifty times in the calibration: none is rare, in a batch of any size."""
    detector, kinds, expected = tied(seed)
    for size in range(1, 10):
        x = [np.repeat(row[None], size, axis=0) for row in kinds]
        np.testing.assert_array_equal([detector.p_value(one) for one in x], np.repeat(expected[:, None], size, axis=1))
        assert all((detector.predict(one, 0.05) == 1).all() for one in x)


@pytest.mark.slow
def test_served_rows_tie_in_every_batch(tmp_path):
    detector, kinds, expected = tied(0)
    detector.export(tmp_path / "1", samples=1, verbose=False)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["score"]
    for size in range(1, 10):
        for row, p in zip(kinds, expected, strict=True):
            given = {"x": tf.constant(np.repeat(row[None], size, axis=0)), "seed": tf.zeros([size], tf.int32)}
            np.testing.assert_array_equal(served(**given)["p_value"], np.full(size, p))


def test_limits():
    """1e-5 of a score's size or of 1, and of typicality's center; in order, negative scores too."""
    found = conformal.limits(np.array([-400.0, 0.0, 0.5, 300.0]))
    np.testing.assert_allclose(found, [-399.996, 1e-5, 0.50001, 300.003], rtol=1e-12)
    np.testing.assert_allclose(conformal.limits(np.array([0.0, 5.0]), -200.0), [0.002, 5.00205], rtol=1e-12)


def test_thresholds_are_free_of_rounding():
    """0.29 * 100 is below 29 in binary numbers."""
    calibration = np.arange(99.0)
    for k in range(1, 99):
        assert conformal.rank(99, k / 100) == k
        found = conformal.threshold(calibration, k / 100)
        assert np.sum(conformal.p_values(calibration, np.array([found + 0.5])) <= k / 100) == 1
        assert np.sum(conformal.p_values(calibration, np.array([found])) <= k / 100) == 0


def by_hand(p, rate):
    """Benjamini and Hochberg (1995): the largest k with p_(k) <= k rate / m; all up to it."""
    order, m = np.argsort(p), len(p)
    passed = np.flatnonzero(p[order] <= rate * np.arange(1, m + 1) / m)
    chosen = np.zeros(m, bool)
    chosen[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return chosen


def test_false_discovery_rate():
    """At 0.2 with a fifth strange: the mean false share is at most 0.16, within its error, and most are found."""
    false, found = [], []
    detector = Detector(vae(), "reconstruction")
    for seed in range(60):
        detector.calibrate(rows(200, 100 + seed))
        x = np.concatenate([rows(40, 300 + seed), rows(10, 500 + seed, strange=True)])
        chosen = detector.select(x, fdr=0.2)
        np.testing.assert_array_equal(chosen, by_hand(detector.p_value(x), 0.2))
        false.append(chosen[:40].sum() / max(chosen.sum(), 1))
        found.append(chosen[40:].mean())
    error = np.std(false, ddof=1) / np.sqrt(len(false))
    assert np.mean(false) <= 0.16 + 2.0 * error
    assert np.mean(found) > 0.7


def test_drift():
    """As often as promised on normal rows; on others, their shift."""
    detector = Detector(vae(), "reconstruction").calibrate(rows(300, 4))
    same = [detector.drift(rows(100, 600 + seed)) for seed in range(40)]
    # all share one calibration set, whose own error is part of the test's
    assert np.mean([one.p_value < 0.05 for one in same]) <= stats.binom.ppf(0.999, 40, 0.05) / 40
    other = rows(100, 5, strange=True)
    found, scores, own = detector.drift(other), detector.score(other), detector.calibration.scores
    grid = np.concatenate([scores, own])
    distances = [np.mean(scores <= s) - np.mean(own <= s) for s in grid]
    np.testing.assert_allclose(found.statistic, np.abs(distances).max(), rtol=1e-12)
    np.testing.assert_allclose(found.shift, scores.mean() - own.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.standard_error, np.sqrt(stats.sem(scores) ** 2 + stats.sem(own) ** 2), rtol=1e-12)
    assert found.p_value < 1e-6
