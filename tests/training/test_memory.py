"""A model that is gone leaves nothing in memory."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import func_graph

import kvae
from tests.conformance import slow_but

X = (np.random.default_rng(0).random((32, 12)) > 0.5).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def _apart():
    """What other tests left behind is neither counted nor collected here."""
    gc.freeze()


def graphs() -> int:
    """How many graphs of functions there are."""
    gc.collect()
    return sum(isinstance(one, func_graph.FuncGraph) for one in gc.get_objects())


def used(**parts) -> None:
    """Make a model, train and use it."""
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((12,), 4, hidden=(5,)), **{"likelihood": "bernoulli"} | parts)
    vae.compile("adam", jit_compile=False)
    vae.fit(X, batch_size=8, epochs=1, verbose=0)
    vae.evaluate(X, batch_size=8, verbose=0)
    vae.encode(X)
    vae.terms(X)


MODELS = {
    "plain": {},
    "continuous_bernoulli-full_normal": {"likelihood": "continuous_bernoulli", "posterior": "full_normal"},
    "beta_binomial-low_rank_normal": {"likelihood": "beta_binomial", "posterior": "low_rank_normal"},
    "monte_carlo": {"objective": lambda: kvae.objectives.ELBO(kl="monte_carlo")},
    "codes": {"posterior": "finite_scalar", "prior": "codes"},
    "mixture_of_normals": {"prior": "mixture_of_normals"},
    "flow": {"posterior": "flow"},
}


@pytest.mark.parametrize("name", slow_but(MODELS, "plain"))
def test_a_trained_model_leaves_no_graph(name):
    parts = {part: made() if callable(made) else made for part, made in MODELS[name].items()}
    used(**parts)  # makes what is made once in a process
    before = graphs()
    used(**parts)
    assert graphs() == before


def test_graphs_are_counted():
    before = graphs()
    kept = tf.function(lambda x: x + 1.0).get_concrete_function(tf.TensorSpec([2]))
    assert graphs() == before + 1
    del kept


@pytest.mark.parametrize("name", slow_but(["continuous_bernoulli-full_normal", "codes"], "codes"))
def test_a_served_model_leaves_no_graph(tmp_path, name):
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((12,), 4, hidden=(5,)), **{"likelihood": "bernoulli"} | MODELS[name])
    path = vae.export(tmp_path / "1", verbose=False)
    tf.saved_model.load(path)
    before = graphs()
    tf.saved_model.load(path)
    assert graphs() == before


def test_the_gradient_of_a_served_score(tmp_path):
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((12,), 4, hidden=(5,), activation="tanh")
    vae = kvae.VAE(*networks, likelihood="continuous_bernoulli", posterior="full_normal")
    served = tf.saved_model.load(vae.export(tmp_path / "1", verbose=False))
    score = served.signatures["score"]
    x = tf.constant(np.random.default_rng(0).uniform(0.2, 0.8, (3, 12)).astype(np.float32))
    seed = tf.range(3)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(score(x=x, seed=seed)["score"])
    found = tape.gradient(total, x).numpy()
    step = 0.05 * np.eye(12, dtype=np.float32)
    above, below = (score(x=tf.repeat(x, 12, 0) + s * np.tile(step, (3, 1)), seed=tf.repeat(seed, 12)) for s in (1, -1))
    np.testing.assert_allclose(found, np.reshape(above["score"] - below["score"], (3, 12)) / 0.1, rtol=1e-2, atol=1e-3)
