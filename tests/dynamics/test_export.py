"""The SavedModel against Python's roll-out."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kvae.dynamics import Dynamics, flows
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
    assert manifest["dynamics"] == {"transition": "linear", "order": order, "steps": 7}
    assert manifest["signatures"]["rollout"]["outputs"]["mean"]["shape"] == [None, 7, 2]
