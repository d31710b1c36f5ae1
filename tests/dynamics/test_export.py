"""The SavedModel against Python's roll-out, read by Python and by C."""

import importlib.util
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from kvae.dynamics import Dynamics, flows
from kvae.numerics import noise
from tests.dynamics.models import linear_vae

X = flows.oscillator(6, 30, dt=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 3])
def test_saved_model(order, tmp_path):
    dynamics = Dynamics(linear_vae([[1.0, 0.2], [0.0, 2.0]], 0.1, "float32"), "linear", order=order)
    dynamics.adapt(X + 0.1 * np.random.default_rng(0).normal(size=X.shape))
    assert float(dynamics.scale[0]) > 0.05
    path = dynamics.export(tmp_path / "d" / "1", steps=7)
    loaded = tf.saved_model.load(path)
    seeds = np.array([5, 0, 3], np.int32)
    found = loaded.signatures["rollout"](x=tf.constant(X[:3, 0]), seed=tf.constant(seeds))
    for row, seed in enumerate(seeds):
        codes = dynamics.rollout(X[row : row + 1, 0], 7, 1, int(seed), output="codes")[0, 0]
        np.testing.assert_allclose(found["codes"][row], codes, atol=1e-5)
        expected = dynamics.rollout(X[row : row + 1, 0], 7, 1, int(seed))[0, 0]
        np.testing.assert_allclose(found["mean"][row], expected, atol=1e-5)
    without = dynamics.rollout(X[:1, 0], 7, samples=0, output="codes")[0, 0]
    assert np.abs(found["codes"][0] - without).max() > 1e-2
    z = dynamics.codes(X)[:, :order]
    step = loaded.signatures["step"](z=tf.constant(z[:, 0] if order == 1 else z))
    np.testing.assert_allclose(step["mean"], dynamics(z), atol=1e-6)
    np.testing.assert_allclose(step["scale"][0], dynamics.scale, atol=1e-7)
    bad = X[:2, 0].copy()
    bad[1, 0] = np.nan
    found = loaded.signatures["rollout"](x=tf.constant(bad), seed=tf.constant(seeds[:2]))
    np.testing.assert_array_equal(found["valid"], [True, False])
    assert np.isfinite(found["mean"]).all()
    manifest = json.loads((tmp_path / "d" / "1" / "assets.extra" / "manifest.json").read_text())
    assert manifest["dynamics"] == {"transition": "linear", "order": order, "steps": 7, "condition": 0}
    assert manifest["signatures"]["rollout"]["outputs"]["mean"]["shape"] == [None, 7, 2]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("condition", [0, 1])
def test_c(condition, tmp_path):
    """TensorFlow's C API: `rollout` is Python's to 1e-5, `step` too, and the noise is the same bit for bit."""
    file = pathlib.Path(__file__).resolve().parents[2] / "examples" / "serve" / "reader.py"
    spec = importlib.util.spec_from_file_location("reader", file)
    reading = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reading)
    reading.compile_reader(tmp_path / "reader")

    # f(z) = -z and s = 1: each code is the noise of its step
    flat = Dynamics(linear_vae(np.eye(2), 0.1, "float32"), "linear", condition=condition)
    kernel = np.zeros((8 if condition else 2, 2))
    kernel[:2] = -np.eye(2)
    flat.network.layers[-1].set_weights([kernel, np.zeros(2)])
    dynamics = Dynamics(linear_vae([[1.0, 0.2], [0.0, 2.0]], 0.1, "float32"), "residual", condition=condition, seed=1)
    given = np.linspace(0.1, 0.6, 6)[:, None].astype(np.float32)
    beside = {"condition": given} if condition else {}
    dynamics.adapt(X + 0.1 * np.random.default_rng(0).normal(size=X.shape), **beside)
    last = dynamics.network.layers[-1]
    last.set_weights([0.1 * np.random.default_rng(1).normal(size=(256, 2)), np.array([0.1, -0.1])])
    seeds = np.array([5, 0, 3, -7, 2**31 - 1, 1], np.int32)
    fed = {"x": X[:, 0], "seed": seeds} | beside
    for name, model in (("flat", flat), ("trained", dynamics)):
        path = pathlib.Path(model.export(tmp_path / name / "1", steps=6))
        manifest = json.loads((path / "assets.extra" / "manifest.json").read_text())
        served = tf.saved_model.load(str(path)).signatures
        work = tmp_path / f"{name}-work"
        work.mkdir()
        found = reading.run_reader(tmp_path / "reader", path, manifest["signatures"]["rollout"], fed, work)
        python = served["rollout"](**{key: tf.constant(value) for key, value in fed.items()})
        assert found["valid"].all()
        if name == "flat":
            for step in range(6):
                eps = noise.normal_of_seeds(tf.constant(seeds), noise.ROLLOUT - step - 1, 0, 1, 2, "float32")
                np.testing.assert_array_equal(found["codes"][:, step], eps[:, 0])
            continue
        for row in (0, 1, 2, 5):
            own = {"condition": given[row : row + 1]} if condition else {}
            for output in ("codes", "mean"):
                expected = model.rollout(X[row : row + 1, 0], 6, 1, int(seeds[row]), output, **own)[0, 0]
                np.testing.assert_allclose(found[output][row], expected, atol=1e-5)
        np.testing.assert_allclose(found["codes"], python["codes"], atol=1e-5)
        z = model.codes(X)[:, 0]
        step = reading.run_reader(tmp_path / "reader", path, manifest["signatures"]["step"], {"z": z} | beside, work)
        np.testing.assert_allclose(step["mean"], model(z[:, None], *beside.values()), atol=1e-5)
        np.testing.assert_array_equal(step["scale"], np.repeat(np.asarray(model.scale)[None], 6, axis=0))
