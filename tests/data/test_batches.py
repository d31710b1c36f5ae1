"""Data in batches, in tuples and as labels: what is no batch is said in one sentence."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

import kvae
from kvae.data import conditions, inputs
from kvae.data.batch import unpack
from kvae.data.splits import Split, labels
from kvae.data.support import BINARY, REAL
from tests.conformance import Batches, make_vae

X = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)


@pytest.mark.parametrize("data, message", [
    (lambda: tf.data.Dataset.range(5), "The data give single numbers, such as .*, not batches"),
    (lambda: iter([1.0, 2.0]), "The data give single numbers, such as 1.0, not batches"),
    (lambda: zip(X, np.arange(8), strict=True), "The data give single examples, not batches"),
    (lambda: iter([X, X[:, :3]]), r"examples of all batches must have one shape, got \(3,\) and \(6,\)"),
    (lambda: tuple(X), r"A tuple of data is \(x,\), \(x, y\) or \(x, y, sample_weight\), got one of 8"),
    (lambda: (), "A tuple of data is .*, got one of 0"),
    (lambda: keras.KerasTensor((8, 6)), "x must be an array of numbers"),
])  # fmt: skip
def test_what_is_no_batch(data, message):
    with pytest.raises(ValueError, match=message):
        inputs.in_memory(data())


def test_a_dataset_of_keras():
    vae = make_vae()
    np.testing.assert_array_equal(inputs.in_memory(Batches(X, 4)).x, X)
    np.testing.assert_array_equal(vae.encode(Batches(X, 4)).mean(), vae.encode(X).mean())


def test_weights():
    for weight in ([], np.zeros((0, 4)), np.ones((8, 1)), -np.ones(8), np.full(8, np.nan), "a", np.zeros(8)):
        with pytest.raises(ValueError, match="sample_weight "):
            Split(X, sample_weight=weight)


def test_how_many_there_are():
    assert inputs.count(X) == inputs.count((X, X)) == inputs.count(Split(X)) == 8
    for data in (iter([X]), 3, tf.constant(2), np.array(2), None):
        assert inputs.count(data) is None


def test_tuples_of_a_pipeline():
    assert unpack((X,)).x is X and unpack((X, 1, 2)).weight == 2
    with pytest.raises(ValueError, match=r"A tuple of data is .*, got one of 4"):
        unpack((X, 1, 2, 3))


def test_labels():
    assert labels(["a", "b"]).tolist() == ["a", "b"] and labels(range(3)).tolist() == [0, 1, 2]
    for y in (None, 3, "ab", {"a": 1}, object(), [[1], [2, 3]], sparse.csr_matrix(X + 1j)):
        with pytest.raises(ValueError, match="y must be one label or vector for each example, got"):
            labels(y)


def test_open_ends():
    """Only what float32 tells from the end, and whose logarithm is finite there, belongs."""
    cases = {kvae.data.POSITIVE: [1.2e-38, 1e-3, 1e13], kvae.data.OPEN_UNIT: [1.2e-38, 0.5, 1.0 - 2.0**-24]}
    for support, inside in cases.items():
        assert support.contains(np.array(inside)) and not support.outside(tf.constant(inside)).numpy().any()
        assert np.isfinite(np.log(np.float32(inside))).all()
        for value in (0.0, 1e-40, -1e-3, np.nan, *([1.0, 1.0 - 1e-9, 1.1] if support.high == 1.0 else [np.inf])):
            assert not support.contains(np.array([0.5, value])) and support.outside(np.float64(value))
        assert not support.outside(np.array(support.neutral))


def test_numbers_whose_squares_overflow():
    """At 1e13 the ELBO is a number at the smallest scale; beyond it x, z and conditions are refused."""
    for x in (np.float32([[-1e13, 1e13]]), np.float64([[0.0, -1e13]])):
        assert REAL.contains(x) and not REAL.outside(x).any()
    for value in (1e14, -1e30, 3e38, np.inf, np.nan):
        x = np.float32([[0.0, value]])
        assert not REAL.contains(x) and REAL.outside(x).tolist() == [[False, True]]
        assert tf.constant([[False, True]]).numpy().tolist() == REAL.outside(tf.constant(x)).numpy().tolist()
        assert not BINARY.contains(x)
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(3,)), likelihood=kvae.likelihoods.Normal(1e-3, floor=1e-3))
    assert np.isfinite(vae.elbo(np.full((1, 6), 1e13))).all()
    for call in (vae.elbo, vae.reconstruct, vae.predict, lambda x: kvae.evaluate.summary(vae, x, samples=2)):
        with pytest.raises(ValueError, match=r"x\[0, 0\] is 1e\+30 .*beyond 1e\+13 overflow: give x in another unit"):
            call(np.full((1, 6), 1e30, np.float32))
    with pytest.raises(ValueError, match=r"z must hold finite numbers up to 1e\+13"):
        vae.decode(np.full((1, 2), 1e30))
    with pytest.raises(ValueError, match=r"condition must be finite.*beyond 1e\+13"):
        conditions.checked(np.full((1, 2), 1e300), (2,))

    @tf.function(input_signature=[tf.TensorSpec([None, 6])])
    def elbo(x):
        return vae.elbo(x)

    assert np.isnan(elbo(tf.constant(np.full((3, 6), [[0.0], [1e30], [1.0]], np.float32)))).tolist() == [
        False,
        True,
        False,
    ]


def test_sparse_conditions_are_made_dense():
    hot = np.eye(3)[[2, 0]]
    found = conditions.checked(sparse.csr_matrix(hot), (3,), 2)
    assert found.tolist() == hot.tolist()


def test_flags_of_keras_methods():
    vae = make_vae()
    for method in (vae.evaluate, vae.train_on_batch, vae.test_on_batch):
        with pytest.raises(ValueError, match="return_dict must be True or False, got"):
            method(X, return_dict=X)
    for verbose in (X, "loud", 3, None):
        with pytest.raises(ValueError, match="verbose must be 'auto', 0, 1 or 2, got"):
            vae.predict(X, verbose=verbose)
    assert vae.predict(X, verbose=np.False_).shape == X.shape


def test_symbols_of_keras():
    vae = make_vae()
    for call in (vae.reconstruct, vae.encode, vae.elbo):
        with pytest.raises(ValueError, match=r"x is a KerasTensor, which has no values.*, call vae\(x\)"):
            call(keras.Input((6,)))
    with pytest.raises(ValueError, match="z is a KerasTensor"):
        vae.decode(keras.Input((3,)))
    symbol = keras.Input((6,))
    assert keras.Model(symbol, vae(symbol)).output_shape == (None, 6)


def test_the_order_of_a_split_takes_a_seed():
    for seed in (-1, 2**32, 0.5, None):
        with pytest.raises(ValueError, match="seed must be a whole number from 0"):
            Split(X).order(seed, 0)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        next(Split(X).chunks(0))
