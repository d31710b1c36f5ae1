"""A VAE with more units than the data need: what the transition does with those that hold next to nothing."""

import keras
import numpy as np
import pytest
from scipy import stats

from kvae.dynamics import Dynamics, flows
from tests.dynamics.models import linear_vae

RNG = np.random.default_rng(0)
BASIS = np.linalg.qr(RNG.normal(size=(5, 3)))[0]
W = BASIS * [1.0, 1.0, 0.02]  # the last unit has a deviation of 0.04 in its centers, and of 0.98 in q


def data(trajectories: int, seed: int, dtype="float32") -> np.ndarray:
    """An oscillator in a plane, and noise in the direction of the last unit."""
    x = flows.oscillator(trajectories, 40, dt=0.3, seed=seed, dtype=dtype) @ BASIS[:, :2].T
    return (x + 0.02 * np.random.default_rng(seed).normal(size=(*x.shape[:2], 1)) * BASIS[:, 2]).astype(dtype)


def curved() -> keras.Model:
    """A network of one's own, whose moves all depend on all units, from weights that are not small."""
    inputs = keras.Input((3,))
    h = keras.layers.Dense(16, "tanh", kernel_initializer=keras.initializers.RandomNormal(seed=1))(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=2))(h))


def trained(transition) -> Dynamics:
    keras.utils.set_random_seed(1)
    dynamics = Dynamics(linear_vae(W, 0.1, "float32"), transition)
    dynamics.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    dynamics.fit(data(16, 0), batch_size=64, epochs=10, verbose=0)
    return dynamics


@pytest.mark.parametrize(
    "transition", [curved, pytest.param("residual", marks=pytest.mark.slow)], ids=["own", "residual"]
)
def test_an_ensemble_stays_around_the_path_of_the_mean(transition):
    dynamics = trained(transition() if callable(transition) else transition)
    x = data(8, 1)
    z, q = dynamics.codes(x), dynamics.vae.encode(x[0])
    assert z[..., 2].std() < 0.05 and q.stddev().numpy()[:, 2].min() > 0.9
    np.testing.assert_array_equal(dynamics.active, [1.0, 1.0, 0.0])
    mean = dynamics.rollout(x[:, 0], 10, samples=0, output="codes")[0, ..., :2]
    paths = dynamics.rollout(x[:, 0], 10, samples=400, seed=1, output="codes")
    assert paths[..., 2].std() > 0.8  # the last unit stays where q put it
    error = paths[..., :2].mean(axis=0) - mean
    assert np.sqrt(np.mean(np.square(error))) < 0.04  # of paths with a deviation of 0.4, whose mean has 0.02


def test_the_linear_map_keeps_an_inactive_unit():
    dynamics = Dynamics(linear_vae(W, 0.1), "linear", order=2)
    dynamics.fit(data(16, 0, "float64"))
    kernel, bias = dynamics.linear_map()
    z = dynamics.codes(data(4, 1, "float64"))
    found = z[:, :2].reshape(4, 6) @ kernel.T + bias
    np.testing.assert_allclose(dynamics(z[:, :2]), found, rtol=1e-8)
    np.testing.assert_allclose(found[:, 2], z[:, 1, 2], rtol=1e-12)


def test_a_constant_unit_has_no_part_in_the_loss():
    dynamics = Dynamics(linear_vae(BASIS * [1.0, 1.0, 0.0], 0.1), "linear")
    x = data(16, 0, "float64")
    history = dynamics.fit(x).history
    z, (kernel, bias) = dynamics.codes(x), dynamics.linear_map()
    mean, scale = z[:, :-1] @ kernel.T + bias, np.asarray(dynamics.scale)
    density = stats.norm(mean[..., :2], scale[:2]).logpdf(z[:, 1:, :2]).sum(axis=-1).mean()
    np.testing.assert_allclose(history["loss"][0], -density, rtol=1e-6)


def test_all_units_are_active_where_none_is():
    dynamics = Dynamics(linear_vae(0.01 * BASIS, 1.0, "float32"), "linear")
    dynamics.adapt(data(16, 0))
    np.testing.assert_array_equal(dynamics.active, np.ones(3))


def test_a_joint_training_sees_every_unit():
    dynamics = Dynamics(linear_vae(W, 0.1, "float32"), "linear", objective="elbo")
    dynamics.adapt(data(16, 0))
    np.testing.assert_array_equal(dynamics.active, np.ones(3))
