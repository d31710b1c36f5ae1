"""Training, resuming and files."""

from unittest import mock

import keras
import numpy as np
import pytest
from scipy import stats

import kvae
from kvae.dynamics import Dynamics, flows, trajectories
from tests.dynamics.models import linear_vae, set_linear

X = flows.oscillator(16, 30, dt=0.3)


def small(**options) -> Dynamics:
    """An own transition that needs training."""
    keras.utils.set_random_seed(1)
    vae = kvae.VAE(*kvae.networks.mlp((2,), 2, hidden=(8,)))
    inputs = keras.Input((2,))
    h = keras.layers.Dense(16, "tanh")(inputs)
    dynamics = Dynamics(vae, keras.Model(inputs, keras.layers.Dense(2)(h)), **options)
    dynamics.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    return dynamics


def weights(model) -> list[np.ndarray]:
    return [np.asarray(w) for w in (*model.weights, *model.optimizer.variables)]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"horizon": 2}, marks=pytest.mark.slow),
        pytest.param({"objective": "elbo", "horizon": 4}, marks=pytest.mark.slow),
    ],
    ids=["codes", "elbo"],
)
def test_resumed_to_the_byte(options, tmp_path):
    whole, stopped = small(**options), small(**options)
    whole.fit(X, batch_size=100, epochs=4, verbose=0)
    stopped.fit(X, batch_size=100, epochs=2, verbose=0)
    stopped.save(tmp_path / "d.keras")
    resumed = keras.models.load_model(tmp_path / "d.keras")
    assert [type(resumed), resumed.horizon, resumed.objective] == [Dynamics, whole.horizon, whole.objective]
    np.testing.assert_array_equal(resumed.rollout(X[:3, 0], 4, 2, seed=1), stopped.rollout(X[:3, 0], 4, 2, seed=1))
    resumed.fit(X, batch_size=100, epochs=4, initial_epoch=2, verbose=0)
    before = weights(small(**options))
    for one, other in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(np.any(one != start) for one, start in zip(weights(whole), before, strict=True))


def test_an_evaluation_sees_every_window_before_and_after_a_fit():
    dynamics, x = small(), flows.oscillator(10, 30, dt=0.3, seed=3)
    found = []
    dynamics.adapt(X)
    dynamics.evaluate(x, batch_size=50, verbose=0)
    dynamics.fit(X, batch_size=29, epochs=1, verbose=0, validation_data=x)
    assert dynamics.steps_per_execution == 16
    for batch_size in (50, 290):
        found.append(dynamics.evaluate(x, batch_size=batch_size, verbose=0))
        assert float(dynamics.trackers["loss"].count) == 10 * 29
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("method", ["log_likelihood", pytest.param("evaluate", marks=pytest.mark.slow)])
def test_a_prior_that_was_fitted_after_the_first_call(method):
    dynamics, x = small(objective="elbo", horizon=3), X[:4, :6]
    vae = dynamics.vae

    def found(model):
        return model.log_likelihood(x, samples=5) if method == "log_likelihood" else model.evaluate(x, verbose=0)

    before = found(dynamics)
    vae.fit_prior(x.reshape(-1, 2), prior=kvae.priors.MixtureOfNormals(2), seed=0)
    fresh = Dynamics(vae, dynamics.network, objective="elbo", horizon=3)
    assert np.abs(np.subtract(found(fresh), before)).max() > 1e-3
    np.testing.assert_allclose(found(dynamics), found(fresh), rtol=1e-6)


@pytest.mark.slow
def test_a_new_prior_is_trained_after_compiling_again():
    dynamics, x = small(objective="elbo", horizon=3), X[:4, :6]
    vae = dynamics.vae
    dynamics.fit(x, batch_size=4, verbose=0)
    vae.fit_prior(x.reshape(-1, 2), prior=kvae.priors.MixtureOfNormals(2), seed=0)
    with pytest.raises(ValueError, match=r"has other weights than at compile\(\), after fit_prior.* compile\(\) again"):
        dynamics.fit(x, batch_size=4, verbose=0)
    dynamics.compile("adam", jit_compile=False)
    old = np.asarray(vae.prior.trainable_variables[0])
    dynamics.fit(x, batch_size=4, verbose=0)
    assert np.abs(np.asarray(vae.prior.trainable_variables[0]) - old).max() > 1e-4


@pytest.mark.slow
def test_codes_leave_the_vae_alone():
    dynamics = small()
    before = [np.asarray(w) for w in dynamics.vae.weights]
    history = dynamics.fit(X, batch_size=64, epochs=40, verbose=0, validation_data=X[:4]).history
    for one, start in zip(dynamics.vae.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(one), start)
    assert history["loss"][-1] < history["loss"][0] - 0.3 and history["val_loss"][-1] < history["val_loss"][0] - 0.3


@pytest.mark.slow
def test_the_scale_is_the_root_mean_square_of_what_f_leaves():
    z = np.zeros((40, 60, 1))
    random = np.random.default_rng(0)
    for t in range(1, 60):
        z[:, t] = 0.8 * z[:, t - 1] + 0.1 * random.normal(size=(40, 1))
    dynamics = Dynamics(linear_vae([[1.0]], 1e-3, "float32"), "residual", seed=2)
    dynamics.fit(z, batch_size=256, epochs=15, verbose=0)
    assert abs(float(dynamics.scale[0]) / 0.1 - 1.0) < 3 / np.sqrt(2 * 256 * 50)  # of what the average spans
    grid = np.linspace(-0.2, 0.2, 5)[:, None].astype(np.float32)
    np.testing.assert_allclose(dynamics(grid[:, None]), 0.8 * grid, atol=0.02)


@pytest.mark.slow
def test_calibrated_at_a_lead():
    """z_t+1 = 0.9 z_t + c, with one c for a trajectory: n steps on the path is off by c (1 - 0.9^n) / 0.1."""
    c, z = 0.1 * np.random.default_rng(0).choice([-1.0, 1.0], size=200), np.zeros((200, 30))
    for t in range(1, 30):
        z[:, t] = 0.9 * z[:, t - 1] + c
    dynamics = Dynamics(linear_vae([[1.0]], 1e-3), "linear")
    set_linear(dynamics, [[0.9]], np.zeros(1), [1.0])
    dynamics.calibrate(z[..., None])
    np.testing.assert_allclose(dynamics.scale, 0.1, rtol=1e-4)
    dynamics.calibrate(z[..., None], lead=10)
    error = np.square(0.1 * (1 - 0.9**10) / 0.1)
    expected = np.sqrt(error * (1 - 0.9**2) / (1 - 0.9**20))  # of the noise of ten steps that are independent
    np.testing.assert_allclose(dynamics.scale, expected, rtol=4 / np.sqrt(2 * 4096))


@pytest.mark.parametrize("objective", ["codes", "elbo"])
def test_states_that_the_vae_does_not_explain(objective):
    dynamics = small(objective=objective)
    bad = X.copy()
    bad[2, 5, 1] = np.nan
    for call in (dynamics.fit, dynamics.evaluate, dynamics.calibrate, dynamics.log_likelihood):
        with pytest.raises(ValueError, match="is nan"):
            call(bad)
    with pytest.raises(ValueError, match="is nan"):
        dynamics.rollout(bad[:, 5], 3)


def test_a_stopped_fit_goes_on():
    """Of the order of the data and of the optimizer, without a file; `test_resumed_to_the_byte` has one."""
    whole, stopped = small(), small()
    for one in (whole, stopped):
        one.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    whole.fit(X[:4], batch_size=58, epochs=2, verbose=0)
    stopped.fit(X[:4], batch_size=58, epochs=1, verbose=0)
    stopped.fit(X[:4], batch_size=58, epochs=2, initial_epoch=1, verbose=0)
    for one, other in zip(weights(stopped), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_draws_do_not_depend_on_how_many_are_taken_at_a_time():
    dynamics = small(objective="elbo")
    dynamics.calibrate(X)
    found = np.asarray(dynamics.variance)
    with mock.patch.object(trajectories, "STATES", 35):  # more than a trajectory
        dynamics.calibrate(X)
    np.testing.assert_allclose(dynamics.variance, found, rtol=1e-5)
    q = dynamics.vae.encode(X.reshape(-1, 2))
    eps = (dynamics._draws(X).reshape(-1, 2) - q.mean().numpy()) / q.stddev().numpy()
    assert len(np.unique(eps.round(4), axis=0)) > 470 and stats.kstest(eps.ravel(), "norm").pvalue > 0.01


def test_calibrated_on_other_trajectories():
    dynamics = Dynamics(linear_vae([[1.0, 0.2], [0.0, 2.0]], 0.1, "float32"), "linear", horizon=2)
    dynamics.adapt(X)
    assert np.asarray(dynamics.scale).max() < 1e-3
    rough = X + 0.1 * np.random.default_rng(0).normal(size=X.shape)
    dynamics.calibrate(rough)
    z, (a, b) = dynamics.codes(rough), dynamics.linear_map()
    one = z[:, :-2] @ a.T + b
    squares = [np.mean(np.square(z[:, 1:-1] - one), (0, 1)), np.mean(np.square(z[:, 2:] - one @ a.T - b), (0, 1))]
    np.testing.assert_allclose(dynamics.variance, squares, rtol=1e-4)


@pytest.mark.slow
def test_elbo_trains_the_vae_and_the_transition():
    dynamics = small(objective="elbo", horizon=5)
    history = dynamics.fit(X, batch_size=64, epochs=40, verbose=0, validation_data=X[:4]).history
    assert history["val_elbo"][-1] > history["val_elbo"][0] + 0.3
    assert sorted(history) == sorted(f"{p}{n}" for p in ("", "val_") for n in ("elbo", "kl", "loss", "reconstruction"))
    found = dynamics.evaluate(X[:4], verbose=0, return_dict=True)
    np.testing.assert_allclose(found["elbo"], found["reconstruction"] - found["kl"], rtol=1e-5)
    assert dynamics.evaluate(X[:4], verbose=0, return_dict=True) == found


@pytest.mark.slow
@pytest.mark.parametrize("transition", ["linear", "residual", "gru"])
def test_saved_and_loaded(transition, tmp_path):
    dynamics = Dynamics(linear_vae([[1.0, 0.2], [0.0, 2.0]], 0.1, "float32"), transition, seed=3)
    dynamics.compile(keras.optimizers.SGD(1e-3), jit_compile=False)
    dynamics.fit(X, batch_size=100, epochs=1, verbose=0)
    dynamics.save(tmp_path / "d.keras")
    loaded = kvae.load_model(tmp_path / "d.keras")
    for one, other in zip(weights(dynamics), weights(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
    assert isinstance(loaded.optimizer, keras.optimizers.SGD) and loaded.transition == transition
    np.testing.assert_array_equal(loaded.rollout(X[:2, :9], 3, 2), dynamics.rollout(X[:2, :9], 3, 2))
    np.testing.assert_array_equal(loaded.log_likelihood(X[:2]), dynamics.log_likelihood(X[:2]))


@pytest.mark.slow
def test_float16_has_its_loss_scaled(tmp_path):
    scaled = keras.optimizers.LossScaleOptimizer
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        joint = small(objective="elbo")
        own = small().network
    finally:
        keras.config.set_dtype_policy(policy)
    assert isinstance(joint.optimizer, scaled)
    assert isinstance(Dynamics(linear_vae(np.eye(2), 0.1, "float32"), own).optimizer, scaled)
    assert not isinstance(small(objective="elbo").optimizer, scaled)
    before = [np.asarray(w) for w in joint.vae.encoder.trainable_variables]
    joint.fit(X, batch_size=116, epochs=2, verbose=0)
    assert all(np.any(np.asarray(w) != b) for w, b in zip(joint.vae.encoder.trainable_variables, before, strict=True))
    joint.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    assert isinstance(loaded.optimizer, scaled) and not isinstance(loaded.optimizer.inner_optimizer, scaled)
    for one, other in zip(weights(joint), weights(loaded), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_could_not_be_read_is_not_written(tmp_path):
    shared, x, z = keras.layers.Dense(2, name="both"), keras.Input((2,)), keras.Input((2,))
    vae = kvae.VAE(keras.Model(x, shared(x)), keras.Model(z, shared(z)))
    with pytest.raises(ValueError, match=r"encoder and decoder share the layers .'both'"):
        Dynamics(vae, "linear").save(tmp_path / "d.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("epochs", [{}, {"epochs": 3, "initial_epoch": 2}])
def test_a_fit_at_once_calls_its_callbacks(epochs):
    dynamics, called = Dynamics(linear_vae([[1.0, 0.2], [0.0, 2.0]], 0.1, "float32"), "linear"), []
    names = ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")
    callback = keras.callbacks.LambdaCallback(
        **{name: lambda *a, name=name: called.append((name, *a)) for name in names}
    )
    history = dynamics.fit(X, validation_data=X[:2], callbacks=[callback], **epochs)
    first = epochs.get("initial_epoch", 0)
    assert [one[0] for one in called] == list(names) and called[1][1] == called[2][1] == first
    assert called[2][2] == {name: values[0] for name, values in history.history.items()}
    assert history.epoch == [first] and set(history.history) == {"loss", "val_loss"}
    assert history is dynamics.history


def test_frozen_layers_stay_frozen_in_a_file(tmp_path):
    dynamics = Dynamics(linear_vae([[1.0, 0.2], [0.0, 2.0]], 0.1, "float32"), "residual")
    dynamics.network.layers[2].trainable = False
    dynamics.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    dynamics.fit(X[:4], batch_size=58, epochs=1, verbose=0)
    dynamics.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    assert [layer.trainable for layer in loaded.network.layers] == [True, True, False, True, True]
    assert int(loaded.optimizer.iterations) == 2
    for one, other in zip(weights(dynamics), weights(loaded), strict=True):
        np.testing.assert_array_equal(one, other)


def test_order_of_the_windows():
    windows = kvae.dynamics.trajectories.Windows(np.arange(24.0).reshape(2, 12), 3)
    assert len(windows) == 20
    np.testing.assert_array_equal(windows[np.array([0, 9, 10])], [[0, 1, 2], [9, 10, 11], [12, 13, 14]])
    data, steps = windows.shuffled(6, seed=1, done=0)
    batches = [b.numpy() for b in data.take(2 * steps)]
    assert steps == 3
    firsts = [np.concatenate(batches[i : i + 3])[:, 0] for i in (0, 3)]
    assert all(len(set(one)) == 18 for one in firsts) and not np.array_equal(*firsts)
    later = [b.numpy() for b in windows.shuffled(6, seed=1, done=2)[0].take(4)]
    np.testing.assert_array_equal(later, batches[2:])
    assert sum(map(len, windows.in_order(6))) == 20


def test_windows_are_cast_batch_by_batch():
    states = np.arange(24.0).reshape(2, 12)
    windows = trajectories.Windows(states, 3, "float32")
    assert np.shares_memory(windows._views, states)
    assert windows[np.array([3])].dtype == np.float32
    assert {batch.numpy().dtype for batch in windows.in_order(6)} == {np.dtype("float32")}
    dynamics = small(objective="elbo")
    assert np.shares_memory(dynamics._stretches(wide := X.astype("float64"), np.zeros((16, 0)))._views, wide)


@pytest.mark.slow
def test_memory_mapped_trajectories(tmp_path):
    np.save(tmp_path / "x.npy", X)
    one, other = small(objective="elbo", horizon=3), small(objective="elbo", horizon=3)
    one.fit(np.load(tmp_path / "x.npy", mmap_mode="r"), batch_size=200, verbose=0)
    other.fit(X, batch_size=200, verbose=0)
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
