"""Scores and baselines against what is known by hand."""

import numpy as np

from kvae.dynamics import (
    PODRegression,
    amplitude,
    coverage,
    flows,
    forecast_error,
    frequency,
    persistence,
    spectrum,
    valid_prediction_time,
)

RNG = np.random.default_rng(0)


def test_error_by_lead():
    truth = RNG.normal(size=(6, 4, 3)) + 100.0  # a mean that must not count
    lead = np.arange(1.0, 5.0)[:, None]
    share = np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.3])[:, None, None]
    found = forecast_error(truth + lead * share, truth)
    rms = np.sqrt(np.mean(np.square(truth - truth.mean(axis=(0, 1)))))
    np.testing.assert_allclose([one.mean for one in found], lead[:, 0] * 0.2 / rms, rtol=1e-10)
    error = share[:, 0, 0].std(ddof=1) / np.sqrt(6)
    np.testing.assert_allclose([one.standard_error for one in found], lead[:, 0] * error / rms, rtol=1e-10)
    ensemble = np.stack([truth + lead * share, truth - lead * share])
    np.testing.assert_allclose([one.mean for one in forecast_error(ensemble, truth, scale=2.0)], 0.0, atol=1e-10)


def test_valid_prediction_time():
    truth = np.zeros((3, 10, 2))
    forecast = truth.copy()
    forecast[0, 4:], forecast[1, 0] = 0.6, np.nan  # valid for 4 steps, for none, and for all 10
    found = valid_prediction_time(forecast, truth, dt=0.5, scale=1.0)
    assert abs(found.mean - 0.5 * 14 / 3) < 1e-12 and found.examples == 3
    np.testing.assert_allclose(found.standard_error, 0.5 * np.std([4, 0, 10], ddof=1) / np.sqrt(3))
    assert valid_prediction_time(forecast, truth, dt=0.5, threshold=0.7, scale=1.0).mean == 0.5 * 20 / 3


def test_coverage():
    truth = RNG.normal(size=(400, 2, 3))
    ensemble = RNG.normal(size=(200, 400, 2, 3)) * np.array([1.0, 0.5])[:, None]
    right, narrow = coverage(ensemble, truth, level=0.8)
    assert abs(right.mean - 0.8 * 199 / 201) < 4 * right.standard_error < 0.06
    expected = 2 * 0.7391 - 1  # P(|z| < 0.5 * 1.2816)
    assert abs(narrow.mean - expected) < 4 * narrow.standard_error


def test_spectrum_is_parsevals():
    x = 2 * np.pi * np.arange(16) / 16
    phase = RNG.uniform(size=(5, 7, 1)) * 6
    fields = 3.0 + 2.0 * np.cos(2 * x + phase) + np.cos(8 * x)
    found = np.array([one.mean for one in spectrum(fields)])
    expected = np.zeros(9)
    expected[[0, 2, 8]] = 9.0, 2.0, 1.0
    np.testing.assert_allclose(found, expected, atol=1e-12)
    odd = RNG.normal(size=(2, 3, 7))
    np.testing.assert_allclose(sum(one.mean for one in spectrum(odd)), np.mean(np.square(odd)))


def test_frequency_and_amplitude():
    t = 0.05 * np.arange(1000)
    series = 4.0 + 2.5 * np.sin(2 * np.pi * 0.31 * t + np.array([[0.3], [2.0], [4.0]]))
    assert abs(frequency(series, dt=0.05).mean / 0.31 - 1.0) < 2e-4
    assert abs(amplitude(series).mean / 2.5 - 1.0) < 5e-3


def test_persistence():
    x0 = RNG.normal(size=(2, 3))
    np.testing.assert_array_equal(persistence(x0, 4)[:, 3], x0)


def test_regression_of_degree_one_is_the_matrix():
    """A linear equation with a constant, seen through a rotation: its eigenvalues and its forecast."""
    a = np.array([[0.9, 0.4], [-0.4, 0.9]]) * 0.95
    turned = np.linalg.qr(RNG.normal(size=(5, 5)))[0][:2]
    z = [RNG.normal(size=(6, 2))]
    for _ in range(29):
        z.append(z[-1] @ a.T + 0.3)
    x = np.stack(z, axis=1) @ turned + 1.0
    model = PODRegression(2, degree=1).fit(x[:4])
    np.testing.assert_allclose(np.sort_complex(model.eigenvalues()), np.sort_complex(np.linalg.eigvals(a)), atol=1e-10)
    np.testing.assert_allclose(model.rollout(x[4:, 0], 29), x[4:, 1:], atol=1e-9)
    np.testing.assert_allclose(model.reconstruct(x), x, atol=1e-10)


def test_regression_of_degree_two_is_the_logistic_map():
    z = [RNG.uniform(0.2, 0.8, size=(6, 2))]
    for _ in range(20):
        z.append(3.7 * z[-1] * (1 - z[-1]))
    x = np.stack(z, axis=1)
    model = PODRegression(2, degree=2).fit(x)
    np.testing.assert_allclose(model.rollout(x[:, 0], 10), x[:, 1:11], atol=1e-7)
    stiff = PODRegression(2, degree=2, ridge=10.0).fit(x)
    assert np.abs(stiff.operator).max() < 0.3 * np.abs(model.operator).max()


def test_modes_are_those_of_the_singular_values():
    x = flows.burgers(4, 30, points=32, dtype="float64")
    model = PODRegression(3).fit(x)
    left = np.square(model.reconstruct(x) - x).sum()
    values = np.linalg.svd((x - x.mean(axis=(0, 1))).reshape(-1, 32), compute_uv=False)
    np.testing.assert_allclose(left, np.square(values[3:]).sum(), rtol=1e-8)
