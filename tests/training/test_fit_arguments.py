"""Steps, epochs, sizes and optimizers are checked before the first step, and data without end or without a row."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.data import Split
from tests.conformance import Batches

X = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def vae():
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,)))
    vae.compile(jit_compile=False)
    return vae


@pytest.mark.parametrize("form", ["array", "split", "dataset"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps_per_epoch": 0}, "steps_per_epoch must be at least 1, got 0"),
        ({"steps_per_epoch": -1}, "steps_per_epoch must be at least 1, got -1"),
        ({"steps_per_epoch": "3"}, "steps_per_epoch must be a whole number, got '3'"),
        ({"epochs": -1}, "epochs must be at least 0, got -1"),
        ({"epochs": "2"}, "epochs must be a whole number, got '2'"),
        ({"epochs": 2.0}, r"epochs must be a whole number, got 2\.0"),
        ({"epochs": None}, "epochs must be a whole number, got None"),
        ({"initial_epoch": -1}, "initial_epoch must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"validation_freq": -1}, "validation_freq must be at least 1, got -1"),
        ({"validation_freq": [0]}, "validation_freq must be at least 1, got 0"),
        ({"validation_steps": 0}, "validation_steps must be at least 1, got 0"),
        ({"validation_batch_size": 1.5}, r"validation_batch_size must be a whole number, got 1\.5"),
        ({"validation_split": 1.0}, r"0 <= validation_split < 1, got 1\.0"),
        ({"validation_split": "half"}, "validation_split must be a finite number"),
        ({"verbose": "loud"}, "verbose must be 'auto', 0, 1 or 2, got 'loud'"),
        ({"shuffle": "yes"}, "shuffle must be True or False, got 'yes'"),
        ({"callbacks": [print]}, "callbacks must be Keras callbacks, got builtin_function"),
    ],
)
def test_fit(vae, form, arguments, words):
    data = {"array": X, "split": Split(X), "dataset": tf.data.Dataset.from_tensors(X)}[form]
    before = vae.get_weights()
    with pytest.raises(ValueError, match=words):
        vae.fit(data, **arguments)
    for old, new in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("method", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": -1}, "steps must be at least 1, got -1"),
        ({"batch_size": "8"}, "batch_size must be a whole number, got '8'"),
        ({"verbose": 3}, "verbose must be 'auto', 0, 1 or 2, got 3"),
        ({"callbacks": "csv"}, "callbacks must be Keras callbacks, got str 'csv'"),
    ],
)
def test_evaluate_and_predict(vae, method, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(vae, method)(X, **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"optimizer": None}, "optimizer must be a Keras optimizer or its name, such as 'adam', got None"),
        ({"optimizer": "adamm"}, "optimizer must be a Keras optimizer or its name"),
        ({"steps_per_execution": -1}, "steps_per_execution must be at least 1, got -1"),
        ({"steps_per_execution": "many"}, "steps_per_execution must be a whole number, got 'many'"),
        ({"jit_compile": "yes"}, "jit_compile must be True, False or 'auto', got 'yes'"),
        ({"run_eagerly": 1}, "run_eagerly must be True or False, got 1"),
        ({"auto_scale_loss": None}, "auto_scale_loss must be True or False, got None"),
    ],
)
def test_compile(arguments, words):
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=()))
    with pytest.raises(ValueError, match=words):
        vae.compile(**arguments)


@pytest.mark.parametrize(
    "data", [tf.data.Dataset.from_tensors(X).repeat(), Batches(X, 20, endless=True)], ids=["dataset", "pydataset"]
)
def test_data_without_end(vae, data):
    for call, words in (
        (lambda: vae.fit(data, verbose=0), "never end: give steps_per_epoch="),
        (lambda: vae.fit(X, validation_data=data, verbose=0), "never end: give validation_steps="),
        (lambda: vae.evaluate(data, verbose=0), "never end: give steps="),
        (lambda: vae.predict(data, verbose=0), "never end: give steps="),
        (lambda: vae.encode(data), "never ends"),
        (lambda: kvae.evaluate.log_likelihood(vae, data, samples=2), "never ends"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert len(vae.fit(data, steps_per_epoch=2, epochs=2, verbose=0).history["loss"]) == 2
    assert np.isfinite(vae.evaluate(data, steps=2, verbose=0)).all()


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_data_without_a_row(vae, method):
    nothing = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=tf.TensorSpec([None, 6]))
    for data in (nothing, [], X[:0]):
        with pytest.raises(ValueError, match="The data are empty"):
            getattr(vae, method)(data, verbose=0)


def test_weights_of_zero(vae):
    for method in (vae.fit, vae.evaluate, vae.train_on_batch):
        with pytest.raises(ValueError, match="sample_weight is 0 for every example"):
            method(X, sample_weight=np.zeros(20))


def test_nothing_to_train():
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=()))
    vae.trainable = False
    vae.compile()
    with pytest.raises(ValueError, match="nothing to train: all weights are frozen"):
        vae.fit(X, verbose=0)
    assert np.isfinite(vae.evaluate(X, verbose=0)).all()


def test_files_of_another_kind(vae, tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "plain.h5")
    with pytest.raises(ValueError, match=r"plain.h5 is an HDF5 file. kvae reads .keras files"):
        kvae.load_model(tmp_path / "plain.h5")
    for path, words in ((tmp_path / "model.h5", "writes .keras files"), (tmp_path / "model", "must end in .keras")):
        with pytest.raises(ValueError, match=words):
            vae.save(path)
    for path in (None, 3, "", b"a"):
        with pytest.raises(ValueError, match="must be a path"):
            vae.save(path)
        with pytest.raises(ValueError, match="must be a path"):
            kvae.load_model(path)
    with pytest.raises(ValueError, match=r"is a folder.*tf.saved_model.load"):
        kvae.load_model(tmp_path)
    assert not list(tmp_path.glob("model*"))


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, None, "3", True, np.random.default_rng(0)])
def test_one_rule_for_seeds(vae, seed):
    networks = kvae.networks.mlp((6,), 2, hidden=())
    for call in (
        lambda: kvae.VAE(*networks, seed=seed),
        lambda: Split(X, seed=seed),
        lambda: kvae.data.from_arrays(X, seed=seed),
        lambda: vae.elbo(X, seed=seed),
        lambda: vae.terms(X, seed=seed),
        lambda: vae.impute(X, seed=seed),
        lambda: kvae.evaluate.log_likelihood(vae, X, samples=2, seed=seed),
        *([] if seed is None else [lambda: vae.sample(2, seed=seed)]),
    ):
        with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\*\*32 - 1, got"):
            call()
