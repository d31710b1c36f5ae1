"""A model that is gone leaves nothing in memory."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import func_graph

import kvae

X = (np.random.default_rng(0).random((32, 12)) > 0.5).astype(np.float32)


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


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"likelihood": "continuous_bernoulli", "posterior": "full_normal"},
        {"likelihood": "beta_binomial", "posterior": "low_rank_normal"},
        {"objective": "monte_carlo"},
        {"posterior": "finite_scalar", "prior": "codes"},
        {"prior": "mixture_of_normals"},
        {"posterior": "flow"},
    ],
    ids=lambda parts: "-".join(parts.values()) or "plain",
)
def test_a_trained_model_leaves_no_graph(parts):
    if parts.get("objective") == "monte_carlo":
        parts = {"objective": kvae.objectives.ELBO(kl="monte_carlo")}
    used(**parts)  # makes what is made once in a process
    before = graphs()
    used(**parts)
    assert graphs() == before


def test_graphs_are_counted():
    before = graphs()
    kept = tf.function(lambda x: x + 1.0).get_concrete_function(tf.TensorSpec([2]))
    assert graphs() == before + 1
    del kept
