"""A signature whose inputs have different numbers of rows says so, in its own words."""

import numpy as np
import pytest
import tensorflow as tf

import kvae

ROWS = {
    "x": lambda n: np.zeros((n, 6), np.float32),
    "z": lambda n: np.zeros((n, 3), np.float32),
    "seed": lambda n: np.arange(n, dtype=np.int32),
    "condition": lambda n: np.eye(4, dtype=np.float32)[np.arange(n) % 4],
    "mask": lambda n: np.ones((n, 6), np.float32),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The signatures of a model with a condition and a mask, as they are loaded."""
    vae = kvae.VAE(*kvae.networks.mlp((6,), 3, hidden=(8,), condition=4, mask=True))
    return tf.saved_model.load(vae.export(tmp_path_factory.mktemp("model") / "1", verbose=False)).signatures


def asked(signature, **numbers):
    return signature(**{name: tf.constant(ROWS[name](n)) for name, n in numbers.items()})


@pytest.mark.parametrize("name", [
    "serving_default", "encode", "decode", "reconstruct", "sample", "score", "log_likelihood",
])  # fmt: skip
def test_other_numbers_of_rows(served, name):
    signature = served[name]
    names = list(signature.structured_input_signature[1])
    assert all(len(output) == 5 for output in asked(signature, **dict.fromkeys(names, 5)).values())
    for wrong in names:
        for n in (0, 1, 4, 6):
            with pytest.raises(tf.errors.InvalidArgumentError) as error:
                asked(signature, **(dict.fromkeys(names, 5) | {wrong: n}))
            message = str(error.value)
            assert f"{name} takes as many rows of one input as of another. Give as many of each: those of" in message
            listed = message.split("those of ")[1].split(" are]")[0].split(", ")
            numbers = message.split(" are] [")[1].split("]")[0].split()
            assert dict(zip(listed, map(int, numbers), strict=True)) == dict.fromkeys(names, 5) | {wrong: n}
