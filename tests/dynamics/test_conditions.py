"""Transitions that depend on a condition of the trajectory, such as a viscosity."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.dynamics import Dynamics, flows
from tests.dynamics.models import kalman, linear_vae

DT, K = 0.05, np.repeat([1, 2, 3], 2)
NUS = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
X = np.concatenate([flows.heat(4, 30, nu=nu, dt=DT, seed=i, dtype="float64") for i, nu in enumerate(NUS)])
C = np.repeat(NUS, 4)


def heat_vae(dtype="float64", scale=1e-3) -> kvae.VAE:
    """Codes are the coordinates of cos kx and sin kx, k = 1, 2, 3."""
    x = 2 * np.pi * np.arange(32) / 32
    waves = np.stack([f(k * x) for k in (1, 2, 3) for f in (np.cos, np.sin)], axis=1)
    return linear_vae(waves, scale, dtype, posterior="diagonal_normal")


def test_heat_decays_by_its_viscosity():
    dynamics = Dynamics(heat_vae(), "linear", condition=1)
    assert dynamics.solved_at_once
    dynamics.fit(X, condition=C)
    for nu in (*NUS, 0.08, 0.22):  # the last two are new
        expected = np.exp(-nu * DT * K**2)
        np.testing.assert_allclose(np.sort(dynamics.eigenvalues(nu).real), np.sort(expected), atol=1e-4)
    test = np.concatenate([flows.heat(1, 41, nu=nu, dt=DT, seed=9, dtype="float64") for nu in (0.08, 0.22)])
    twice = np.concatenate([test, test])
    forecast = dynamics.rollout(twice[:, 0], 40, samples=0, condition=[0.08, 0.22, 0.22, 0.08])[0]
    np.testing.assert_allclose(forecast[:2], test[:, 1:], atol=1e-2)
    assert np.abs(forecast[2:] - test[:, 1:]).max() > 0.1  # the other's viscosity


def test_a_matrix_that_is_a_polynomial_of_two_conditions():
    """z' = (M0 + a M1 + b^2 M2) z + a v is found to rounding."""
    random = np.random.default_rng(0)
    m, v = 0.3 * random.normal(size=(3, 2, 2)), random.normal(size=2)
    given = random.normal(size=(40, 2))
    maps = m[0] + given[:, :1, None] * m[1] + given[:, 1:, None] ** 2 * m[2]
    z = [random.normal(size=(40, 2))]
    for _ in range(5):
        z.append(np.einsum("nij,nj->ni", maps, z[-1]) + given[:, :1] * v)
    w = np.linalg.qr(random.normal(size=(4, 2)))[0]
    dynamics = Dynamics(linear_vae(w, 1e-3), "linear", condition=2)
    dynamics.fit(np.stack(z, axis=1) @ w.T, condition=given)
    for one, expected in zip(given[:4], maps[:4], strict=True):
        a, b = dynamics.linear_map(one)
        np.testing.assert_allclose(a, expected, atol=1e-6)
        np.testing.assert_allclose(b, one[0] * v, atol=1e-5)  # codes are x less a millionth


def test_each_trajectory_has_its_own_kalman_filter():
    """A = M0 + c M1: log p of each trajectory as NumPy's filter has it with that A."""
    random = np.random.default_rng(1)
    w, bias = random.normal(size=(4, 2)), random.normal(size=4)
    m, b, s = np.array([[[0.8, 0.2], [-0.1, 0.7]], [[0.1, -0.2], [0.3, 0.1]]]), np.array([0.1, -0.2]), [0.2, 0.3]
    dynamics = Dynamics(linear_vae(w, 0.4, "float64", bias), "linear", condition=1)
    kernel = np.concatenate([m[0].T - np.eye(2), m[1].T, np.zeros((4, 2))])  # of z, c z, c^2 z, c, c^2
    dynamics.network.layers[-1].set_weights([kernel, b])
    dynamics.variance.assign(np.square(s)[None])
    dynamics.adapted.assign(1)
    given, x = np.array([-0.5, 1.0]), random.normal(size=(2, 8, 4))
    expected = [kalman(one, m[0] + c * m[1], b, s, w, bias, 0.4)[0] for one, c in zip(x, given, strict=True)]
    np.testing.assert_allclose(dynamics.log_likelihood(x, 3, condition=given), expected, rtol=1e-8)
    mean = dynamics.codes(x[:, :1])[:, 0]
    mean = np.stack([(m[0] + c * m[1]) @ z + b for z, c in zip(mean, given, strict=True)])
    found = dynamics.rollout(x[:, 0], 1, samples=2000, seed=2, output="codes", condition=given)[:, :, 0]
    assert np.all(np.abs(found.mean(axis=0) - mean) < 4 * found.std(axis=0) / np.sqrt(2000))


@pytest.mark.slow
@pytest.mark.parametrize("transition", ["linear", "residual", "gru", "own"])
def test_trained_by_steps_and_read_again(transition, tmp_path):
    """The rate of decay is the condition: a few passes tell fast from slow, and a file keeps it."""
    keras.utils.set_random_seed(0)
    if transition == "own":
        z, c = keras.Input((1,)), keras.Input((1,))
        h = keras.layers.Dense(32, "tanh")(keras.layers.Concatenate()([z, c]))
        transition = keras.Model([z, c], keras.layers.Dense(1)(h))
    given = np.linspace(0.02, 0.2, 24).astype(np.float32)
    start = np.random.default_rng(0).choice([-1.0, 1.0], 24)[:, None] * np.linspace(0.5, 2.0, 24)[:, None]
    z = (start * np.exp(-given[:, None] * np.arange(20)))[..., None].astype(np.float32)
    dynamics = Dynamics(linear_vae([[1.0]], 1e-3, "float32"), transition, horizon=2, condition=1)
    dynamics.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    dynamics.fit(z, batch_size=24, epochs=40, verbose=0, condition=given, validation_data=(z[:3], given[:3]))
    found = dynamics.rollout(z[::6, 0], 10, samples=0, condition=given[::6])[0, ..., 0]
    truth = z[::6, 1:11, 0]
    assert np.sqrt(np.mean(np.square(found - truth))) < 0.1 * np.sqrt(np.mean(np.square(truth)))
    dynamics.save(tmp_path / "d.keras")
    again = kvae.load_model(tmp_path / "d.keras")
    np.testing.assert_array_equal(again.rollout(z[::6, 0], 10, samples=0, condition=given[::6])[0, ..., 0], found)
    for one, other in zip(again.weights, dynamics.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_joint_training_and_the_saved_model(tmp_path):
    dynamics = Dynamics(heat_vae("float32", 0.1), "linear", objective="elbo", horizon=3, condition=1, seed=1)
    dynamics.compile(keras.optimizers.SGD(1e-6), jit_compile=False)
    x = X.astype(np.float32)
    dynamics.fit(x, batch_size=64, epochs=1, verbose=0, condition=C)
    dynamics.calibrate(x, condition=C)
    found = dynamics.evaluate(x, verbose=0, condition=C, return_dict=True)["kl"]
    assert found < dynamics.evaluate(x, verbose=0, condition=C[::-1], return_dict=True)["kl"]
    loaded = tf.saved_model.load(dynamics.export(tmp_path / "1", steps=5))
    given = np.array([[0.1], [0.3], [np.nan]], np.float32)
    served = loaded.signatures["rollout"](x=x[:3, 0], seed=tf.constant([4, 5, 6]), condition=tf.constant(given))
    np.testing.assert_array_equal(served["valid"], [True, True, False])
    for row, seed in enumerate((4, 5)):
        expected = dynamics.rollout(x[row : row + 1, 0], 5, 1, seed, condition=given[row : row + 1])[0, 0]
        np.testing.assert_allclose(served["mean"][row], expected, atol=1e-5)
    z = dynamics.codes(x[:2])[:, 0]
    step = loaded.signatures["step"](z=tf.constant(z), condition=tf.constant(given[:2]))
    np.testing.assert_allclose(step["mean"], dynamics(z[:, None], given[:2]), atol=1e-6)
