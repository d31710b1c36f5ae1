"""Files that an earlier kvae wrote: they load, give the same numbers, and training goes on from them as it did then.

Where the processor and TensorFlow compute as they did where the files were made, every byte is the same; elsewhere the
numbers agree to float32.
"""

import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kvae
from tests.conformance import quick
from tests.golden import make

FOLDER = pathlib.Path(make.__file__).parent
EXPECTED = dict(np.load(FOLDER / "expected.npz"))
OLDER = tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15)  # than the Keras that wrote them


@quick("test_a_model_loads_and_goes_on", "0", "1")
class GoldenTest(tf.test.TestCase, parameterized.TestCase):
    def check(self, found: dict, prefix: str):
        expected = {key.removeprefix(prefix): value for key, value in EXPECTED.items() if key.startswith(prefix)}
        self.assertLessEqual(set(found), set(expected))
        for key, value in found.items():
            if np.array_equal(make.processor(), EXPECTED["processor"]):
                self.assertAllEqual(value, expected[key])
            else:
                self.assertAllClose(value, expected[key], rtol=1e-4, atol=1e-4)

    @parameterized.parameters(*make.MODELS)
    def test_a_model_loads_and_goes_on(self, name):
        if OLDER:
            with self.assertRaisesRegex(ValueError, r"was written with Keras 3\.15\.1 and cannot be read by Keras 3"):
                kvae.load_model(FOLDER / f"{name}.keras")
            return
        vae = kvae.load_model(FOLDER / f"{name}.keras")
        self.check(make.found(name, vae), f"{name}/")
        make.go_on(name, vae)
        self.check({"weights": make.weights(vae)}, f"{name}/")

    def test_keras_loads_it_as_well(self):
        if OLDER:
            return
        vae = keras.models.load_model(FOLDER / "binary.keras")
        self.check({"code": vae.encode(make.data("binary", vae)["x"]).mean().numpy()}, "binary/")

    def test_a_saved_model_serves(self):
        found = make.served(FOLDER / "saved_model")
        self.assertLen(found, sum(key.startswith("served/") for key in EXPECTED))
        self.check(found, "served/")
