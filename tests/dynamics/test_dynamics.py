"""The transition against NumPy: least squares, Gaussian densities, the Kalman filter, exact evolutions."""

from unittest import mock

import keras
import numpy as np
import pytest
from scipy import stats

import kvae
from kvae.dynamics import Dynamics, filtering, flows, rollouts
from tests.dynamics.models import kalman, linear_vae, set_linear

RNG = np.random.default_rng(0)
W, BIAS, SCALE = RNG.normal(size=(5, 2)), RNG.normal(size=5), 0.4
A, B, S = np.array([[0.9, 0.3], [-0.2, 0.8]]), np.array([0.1, -0.05]), np.array([0.2, 0.3])
X = RNG.normal(size=(3, 12, 2)) @ W.T + BIAS + SCALE * RNG.normal(size=(3, 12, 5))


def exact(dtype="float64", **options) -> Dynamics:
    dynamics = Dynamics(linear_vae(W, SCALE, dtype, BIAS), "linear", **options)
    set_linear(dynamics, A, B, S)
    return dynamics


def pod_vae(x, modes: int, dtype="float64") -> kvae.VAE:
    """A linear VAE whose codes are, up to their units, the coordinates of the leading singular vectors."""
    flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
    vectors = np.linalg.svd(flat, full_matrices=False)[2][:modes]
    spread = np.sqrt(np.mean(np.square(flat @ vectors.T), axis=0))
    return linear_vae(vectors.T * spread, 1e-3, dtype, posterior="diagonal_normal")


# ---- the log-likelihood ----


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-8), pytest.param("float32", 1e-4, marks=pytest.mark.slow)])
def test_linear_is_the_kalman_filter(dtype, tolerance):
    expected = [kalman(x, A, B, S, W, BIAS, SCALE)[0] for x in X.astype(dtype)]
    for samples in (1, 7):
        found = exact(dtype).log_likelihood(X, samples, seed=3)
        np.testing.assert_allclose(found, expected, rtol=tolerance)


def test_unbiased_where_q_is_not_exact():
    """With a q that is too wide and off its place, exp of the result has the mean p(x), within its standard error."""
    dynamics = exact()
    weights = dynamics.vae.posterior.projection.get_weights()
    weights[1][:2] += 0.1
    weights[1][2:] += 0.15
    dynamics.vae.posterior.projection.set_weights(weights)
    x = X[:1, :5]
    expected = kalman(x[0], A, B, S, W, BIAS, SCALE)[0]
    many = dynamics.log_likelihood(np.repeat(x, 400, axis=0), samples=20, seed=1)
    ratio = np.exp(many - expected)
    assert ratio.std() > 0.02  # it is no longer exact
    assert abs(ratio.mean() - 1.0) < 4 * ratio.std() / 20


def test_without_the_future_it_is_the_same_number():
    """The same linear transition as a network of one's own: proposals from the past, resampling, the same p(x)."""
    inputs = keras.Input((2,), dtype="float64")
    network = keras.Model(inputs, keras.layers.Dense(2, dtype="float64")(inputs))
    network.layers[-1].set_weights([A.T - np.eye(2), B])
    dynamics = Dynamics(linear_vae(W, SCALE, "float64", BIAS), network)
    dynamics.variance.assign(np.square(S)[None])
    assert not dynamics.linear
    expected = kalman(X[0], A, B, S, W, BIAS, SCALE)[0]
    many = dynamics.log_likelihood(np.repeat(X[:1], 200, axis=0), samples=100, seed=2)
    ratio = np.exp(many - expected)
    assert 0.1 < ratio.std() < 1.5
    assert abs(ratio.mean() - 1.0) < 4 * ratio.std() / np.sqrt(200)
    np.testing.assert_array_equal(many[:3], dynamics.log_likelihood(np.repeat(X[:1], 3, axis=0), 100, seed=2))


def test_trajectories_are_filtered_some_at_a_time():
    dynamics, sizes = exact("float32"), []
    weights = dynamics.vae.posterior.projection.get_weights()
    weights[1][2:] += 0.15  # a q that is not exact, so that the noise counts
    dynamics.vae.posterior.projection.set_weights(weights)
    found = dynamics.log_likelihood(X, samples=4, seed=3)
    whole = filtering._part

    def part(model, x, *others):
        sizes.append(len(x))
        return whole(model, x, *others)

    widest = 5  # a state of x
    with mock.patch.object(filtering, "FLOATS_AT_A_TIME", 2 * 4 * widest), mock.patch.object(filtering, "_part", part):
        np.testing.assert_allclose(dynamics.log_likelihood(X, samples=4, seed=3), found, rtol=1e-5)
    assert sizes == [2, 1]
    assert np.abs(dynamics.log_likelihood(X, samples=4, seed=4) - found).min() > 1e-4


def test_sequence_elbo():
    """Its terms, as SciPy has them at the draws of z; it is below log p(x)."""
    dynamics = exact(objective="elbo", horizon=11)
    found = dynamics.evaluate(X, verbose=0, return_dict=True)
    q = dynamics.vae.encode(X.reshape(-1, 5))
    mean, covariance = q.mean().numpy(), q.covariance().numpy()[0]
    eps = kvae.numerics.noise.normal(0, kvae.numerics.noise.EVALUATION, 0, 36, 2, "float64").numpy()
    z = mean + eps @ np.linalg.cholesky(covariance).T
    reconstruction = stats.norm(z @ W.T + BIAS, SCALE).logpdf(X.reshape(-1, 5)).sum() / 36
    before, mean = z.reshape(3, 12, 2)[:, :-1], mean.reshape(3, 12, 2)

    def kl(mean, scale):  # of N(mean, covariance) from N(0, diag scale^2)
        trace = np.diag(covariance) / scale**2
        logs = 2 * np.log(scale).sum() - np.linalg.slogdet(covariance)[1]
        return 0.5 * (trace.sum() + np.square(mean / scale).sum(-1) - 2 + logs)

    total = kl(mean[:, 0], np.ones(2)).sum() + kl(mean[:, 1:] - before @ A.T - B, S).sum()
    np.testing.assert_allclose(found["reconstruction"], reconstruction, rtol=1e-5)
    np.testing.assert_allclose(found["kl"], total / 36, rtol=1e-5)
    assert found["loss"] == -found["elbo"] and abs(found["elbo"] - found["reconstruction"] + found["kl"]) < 1e-5
    assert 12 * found["elbo"] < dynamics.log_likelihood(X).mean()


def test_horizon_one_is_the_gaussian_log_likelihood():
    dynamics = exact()
    codes = dynamics.codes(X)
    density = stats.norm(codes[:, :-1] @ A.T + B, S).logpdf(codes[:, 1:]).sum(-1)
    np.testing.assert_allclose(dynamics.evaluate(X, verbose=0), -density.mean(), rtol=1e-6)


def test_horizon_three_is_the_mean_of_three():
    dynamics = exact(horizon=3)
    scales = np.array([[0.2, 0.3], [0.4, 0.5], [0.6, 0.8]])
    dynamics.variance.assign(np.square(scales))
    codes, found = dynamics.codes(X), []
    mean = codes[:, :-3]
    for lead in range(3):
        mean = mean @ A.T + B
        found.append(-stats.norm(mean, scales[lead]).logpdf(codes[:, lead + 1 : lead - 2 or None]).sum(-1).mean())
    np.testing.assert_allclose(dynamics.evaluate(X, verbose=0, batch_size=4), np.mean(found), rtol=1e-6)


# ---- linear transitions ----


@pytest.mark.slow
def test_heat_decays_as_it_should():
    x = flows.heat(16, 40, nu=0.1, dt=0.05)
    dynamics = Dynamics(pod_vae(x, 6, "float32"), "linear")
    assert dynamics.solved_at_once
    dynamics.fit(x)
    expected = np.exp(-0.1 * 0.05 * np.repeat([1, 2, 3], 2) ** 2)
    np.testing.assert_allclose(dynamics.eigenvalues(), expected, atol=1e-4)
    test = flows.heat(8, 101, nu=0.1, dt=0.05, seed=1)
    forecast = dynamics.rollout(test[:, 0], 100, samples=0)[0]
    error = np.sqrt(np.mean(np.square(forecast - test[:, 1:]), axis=(0, 2)) / np.mean(np.square(test[:, 0])))
    assert error.max() < 1e-3


def test_linear_on_pod_codes_is_dynamic_mode_decomposition():
    """Centred DMD: the constant of a regression takes the means of both sides (Frisch, Waugh)."""
    x = flows.burgers(4, 60, points=32, dtype="float64")
    dynamics = Dynamics(pod_vae(x, 5), "linear")
    dynamics.fit(x)
    flat = x.reshape(-1, 32)
    vectors = np.linalg.svd(flat, full_matrices=False)[2][:5]
    before, after = ((x[:, part] @ vectors.T).reshape(-1, 5) for part in (slice(-1), slice(1, None)))
    before, after = before - before.mean(0), after - after.mean(0)
    expected = np.linalg.eigvals(np.linalg.pinv(before) @ after)
    expected = expected[np.argsort(-np.abs(expected))]
    np.testing.assert_allclose(np.sort_complex(dynamics.eigenvalues()), np.sort_complex(expected), atol=1e-8)
    assert np.abs(expected - 1.0).max() > 1e-3


@pytest.mark.slow
def test_an_autoregression_of_order_two():
    """z_t+1 = 1.6 z_t - 0.9 z_t-1 has the eigenvalues 0.8 ± 0.51i, and needs both codes."""
    z = np.zeros((4, 80))
    z[:, :2] = RNG.normal(size=(4, 2))
    for t in range(2, 80):
        z[:, t] = 1.6 * z[:, t - 1] - 0.9 * z[:, t - 2]
    x = z[..., None] * np.array([1.0, 2.0])
    dynamics = Dynamics(linear_vae([[1.0], [2.0]], 1e-3), "linear", order=2)
    dynamics.fit(x)
    np.testing.assert_allclose(np.sort_complex(dynamics.eigenvalues()), 0.8 + np.sqrt(0.26) * np.array([-1j, 1j]))
    np.testing.assert_allclose(dynamics.rollout(x[:, 4:6], 20, samples=0)[0], x[:, 6:26], atol=1e-5)


def test_oscillator_stays_on_its_circle():
    x = flows.oscillator(32, 50, dt=0.1)
    dynamics = Dynamics(pod_vae(x, 2, "float32"), "linear")
    dynamics.fit(x)
    np.testing.assert_allclose(dynamics.eigenvalues(), np.exp([0.1j, -0.1j]), atol=1e-4)
    start = np.array([[1.0, 0.0]], np.float32)
    path = dynamics.rollout(start, 1000, samples=0)[0, 0]  # sixteen turns
    angle = 0.1 * np.arange(1, 1001)
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 1.0, atol=5e-3)
    np.testing.assert_allclose(path, np.stack([np.cos(angle), -np.sin(angle)], axis=-1), atol=2e-2)


# ---- forecasts ----


def test_rollout_has_the_kalman_filters_moments():
    dynamics, steps, samples = exact(), 4, 20000
    paths = dynamics.rollout(X[:1, 0], steps, samples, seed=5, output="codes")[:, 0]
    _, mean, covariance = kalman(X[0, :1], A, B, S, W, BIAS, SCALE)
    for step in range(steps):
        mean, covariance = A @ mean + B, A @ covariance @ A.T + np.diag(S**2)
        error = np.sqrt(np.diag(covariance) / samples)
        assert np.all(np.abs(paths[:, step].mean(0) - mean) < 4 * error)
        found, variance = np.cov(paths[:, step].T), np.diag(covariance)
        errors = np.sqrt((np.outer(variance, variance) + covariance**2) / samples)
        assert np.all(np.abs(found - covariance) < 4 * errors)
    x = dynamics.rollout(X[:1, 0], steps, samples, seed=5, output="sample")[:, 0, -1]
    errors = np.sqrt(2 / samples) * np.diag(W @ covariance @ W.T + SCALE**2 * np.eye(5))
    assert np.all(np.abs(np.cov(x.T) - W @ covariance @ W.T - SCALE**2 * np.eye(5)) < 4 * errors.max())


def test_path_of_the_mean_is_the_matrix_power():
    dynamics = exact()
    found = dynamics.rollout(X[:, 0], 6, samples=0, output="codes")[0]
    z = dynamics.codes(X[:, :1])[:, 0]
    for step in range(6):
        z = z @ A.T + B
        np.testing.assert_allclose(found[:, step], z, rtol=1e-8)
    np.testing.assert_allclose(dynamics.rollout(X[:, 0], 6, 0)[0], found @ W.T + BIAS, rtol=1e-8)


@pytest.mark.parametrize("output", [pytest.param("mean", marks=pytest.mark.slow), "sample"])
def test_noise_is_a_function_of_seed_start_and_step(output):
    dynamics = exact()

    def forecast(starts=3, steps=5, seed=1):
        return dynamics.rollout(X[:starts, 0], steps, samples=3, seed=seed, output=output)

    paths = forecast()
    assert paths.shape == (3, 3, 5, 5)
    np.testing.assert_array_equal(paths, forecast())
    np.testing.assert_array_equal(paths[:, :, :2], forecast(steps=2))
    np.testing.assert_allclose(paths[:, :2], forecast(starts=2), rtol=1e-12)
    assert np.abs(paths - forecast(seed=2)).min(axis=-1).max() > 1e-3
    assert np.abs(paths[0] - paths[1]).min(axis=-1).max() > 1e-3
    with mock.patch.object(rollouts, "_AT_A_TIME", 3), mock.patch.object(rollouts, "ROWS", 4):  # a start at a time
        np.testing.assert_allclose(paths, forecast(), rtol=1e-12)
    if output == "sample":
        mean = dynamics.rollout(X[:, 0], 5, samples=3, seed=1)
        error = (paths - mean).ravel() / SCALE
        assert len(np.unique(error.round(6))) == error.size and stats.kstest(error, "norm").pvalue > 0.01


def test_a_history_counts_where_the_order_is_higher():
    vae = linear_vae(W, SCALE)
    inputs = keras.Input((2, 2), dtype="float64")
    network = keras.Model(inputs, keras.layers.Lambda(lambda z: z[:, 1] - z[:, 0], dtype="float64")(inputs))
    dynamics = Dynamics(vae, network, order=2)  # straight on
    z = dynamics.codes(X)
    found = dynamics.rollout(X[:, :7], 3, samples=0, output="codes")[0]
    move = z[:, 6] - z[:, 5]
    np.testing.assert_allclose(found, z[:, 6:7] + np.arange(1, 4)[:, None] * move[:, None], rtol=1e-8)
    alone = dynamics.rollout(X[:, 6], 3, samples=0, output="codes")[0]
    np.testing.assert_allclose(alone, np.repeat(z[:, 6:7], 3, axis=1), rtol=1e-8)


def test_a_path_beyond_the_finite_numbers():
    dynamics = exact("float32")
    set_linear(dynamics, 1e5 * A, B, S)
    with pytest.raises(FloatingPointError, match="leaves the finite numbers at step 8"):
        dynamics.rollout(X[:, 0], 20)
