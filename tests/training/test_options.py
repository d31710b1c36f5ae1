"""The table of Keras' options: precision, optimizer options and modes of execution, on arrays and pipelines.

Every row runs on an array without XLA and on `tf.data` with XLA, some in all four ways; all end with the same numbers.
Rows that say how gradients become updates are compared with updates written here in NumPy.
"""

import functools
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.data.batch import Batch
from kvae.numerics import noise
from tests.conformance import Batches, make_vae, quick

X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
RATE, SIZE, EPOCHS = 0.05, 16, 3

# Name: (compile arguments, arguments of SGD, dtype policy)
TABLE = {
    "plain": ({}, {}, "float32"),
    "clipvalue": ({}, {"clipvalue": 0.1}, "float32"),
    "clipnorm": ({}, {"clipnorm": 0.2}, "float32"),
    "global_clipnorm": ({}, {"global_clipnorm": 0.5}, "float32"),
    "gradient_accumulation": ({}, {"gradient_accumulation_steps": 3}, "float32"),
    "use_ema": ({}, {"use_ema": True, "ema_momentum": 0.8}, "float32"),
    "ema_every_4": ({}, {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 4}, "float32"),
    "ema_and_accumulation": (
        {}, {"use_ema": True, "ema_momentum": 0.8, "gradient_accumulation_steps": 2, "clipnorm": 0.2}, "float32",
    ),
    "weight_decay": ({}, {"weight_decay": 0.1}, "float32"),
    "one_step_a_call": ({"steps_per_execution": 1}, {}, "float32"),
    "three_steps_a_call": ({"steps_per_execution": 3}, {}, "float32"),
    "many_steps_a_call": ({"steps_per_execution": 100}, {}, "float32"),
    "run_eagerly": ({"run_eagerly": True}, {}, "float32"),
    "float64": ({}, {}, "float64"),
    "mixed_bfloat16": ({}, {}, "mixed_bfloat16"),
    "mixed_float16": ({}, {}, "mixed_float16"),
    "mixed_float16_fixed_scale": ({"auto_scale_loss": False}, {"loss_scale_factor": 128.0}, "mixed_float16"),
    "mixed_float16_clipnorm": ({}, {"clipnorm": 0.2}, "mixed_float16"),
}  # fmt: skip


def model(name: str, jit_compile=False) -> kvae.VAE:
    arguments, options, policy = TABLE[name]
    keras.config.set_dtype_policy(policy)
    try:
        vae = make_vae(compiled=False)
        # The first weights of the float32 row, so that rows can be compared.
        keras.config.set_dtype_policy("float32")
        for own, common in zip(vae.trainable_weights, make_vae(compiled=False).trainable_weights, strict=True):
            own.assign(common)
        optimizer = keras.optimizers.SGD(RATE, **options)
        vae.compile(optimizer, **{"jit_compile": jit_compile and "run_eagerly" not in arguments, **arguments})
        if isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer):
            vae.optimizer.dynamic_scale.assign(2.0**10)  # low enough that no first step overflows and is left out
    finally:
        keras.config.set_dtype_policy("float32")
    return vae


@functools.cache
def trained(name: str, pipeline=False, jit_compile=False):
    """The model, its history and its weights after `EPOCHS` passes in stored order; made once."""
    vae = model(name, jit_compile)
    data = {"x": tf.data.Dataset.from_tensor_slices(X).batch(SIZE)} if pipeline else {"x": X, "batch_size": SIZE}
    history = vae.fit(**data, epochs=EPOCHS, shuffle=False, verbose=0).history
    return vae, history, [w.numpy() for w in vae.trainable_weights]


def by_hand(options: dict) -> list[np.ndarray]:
    """SGD with these options, in NumPy, on the gradients of the same steps."""
    vae, step, sums, taken = make_vae(compiled=False), 0, 0.0, 0
    w = [weight.numpy().astype(np.float64) for weight in vae.trainable_weights]
    average = [np.zeros_like(one) for one in w]
    accumulate = options.get("gradient_accumulation_steps", 1)
    for _ in range(EPOCHS):
        for first in range(0, len(X), SIZE):
            batch, step = X[first : first + SIZE], step + 1
            eps = noise.normal(vae.seed, step, 0, len(batch), vae.latent_dim)[None]
            for weight, value in zip(vae.trainable_weights, w, strict=True):
                weight.assign(value)
            with tf.GradientTape() as tape:
                terms = vae._terms(Batch(tf.constant(batch), weight=tf.ones(len(batch))), eps, training=True)
                loss = tf.reduce_mean(terms.kl - terms.log_px_z[0])
            g = [one.numpy().astype(np.float64) for one in tape.gradient(loss, vae.trainable_weights)]
            sums = [a + b for a, b in zip(sums, g, strict=True)] if taken else g
            taken += 1
            if taken == accumulate:
                g, taken = clipped([total / accumulate for total in sums], options), 0
                kept = 1.0 - RATE * options.get("weight_decay", 0.0)
                w = [kept * value - RATE * one for value, one in zip(w, g, strict=True)]
            if options.get("use_ema"):  # at every step, of which some are no updates
                m = options["ema_momentum"] if step > accumulate else 0.0  # it begins with the first weights
                average = [m * a + (1.0 - m) * value for a, value in zip(average, w, strict=True)]
                every = options.get("ema_overwrite_frequency")
                if every and step % every == 0:
                    w = average
    return average if options.get("use_ema") else w


def clipped(g, options):
    if "clipvalue" in options:
        return [np.clip(one, -options["clipvalue"], options["clipvalue"]) for one in g]
    if "clipnorm" in options:
        return [one * min(1.0, options["clipnorm"] / np.linalg.norm(one)) for one in g]
    if "global_clipnorm" in options:
        norm = np.sqrt(sum(np.square(one).sum() for one in g))
        return [one * min(1.0, options["global_clipnorm"] / norm) for one in g]
    return g


@quick("test_arrays_and_pipelines_with_xla_and_without")
@quick("test_updates_are_those_by_hand", "ema_and_accumulation")
@quick("test_precision", "1")
class TableTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters((name, name) for name in TABLE)
    def test_arrays_and_pipelines_with_xla_and_without(self, name):
        policy = TABLE[name][2]
        bits = {"float64": 0, "mixed_bfloat16": 2**-8, "mixed_float16": 2**-11}.get(policy, 0)
        vae, history, expected = trained(name)
        others = [(True, False), (False, True)] if name in ("plain", "use_ema", "mixed_float16") else []
        for pipeline, jit_compile in ((True, True), *others):
            other, logs, weights = trained(name, pipeline, jit_compile)
            for key in history:
                self.assertAllClose(logs[key], history[key], rtol=1e-4 + 4 * bits, atol=1e-4 + 4 * bits)
            for a, b in zip(weights, expected, strict=True):
                self.assertAllClose(a, b, rtol=1e-3, atol=1e-5 + 4 * bits)
            self.assertEqual(int(other.draws), int(vae.draws))
        self.assertEqual(int(vae.draws), EPOCHS * 4)

    @parameterized.named_parameters((name, name) for name, row in TABLE.items() if row[1] and row[2] == "float32")
    def test_updates_are_those_by_hand(self, name):
        for a, b in zip(trained(name)[2], by_hand(TABLE[name][1]), strict=True):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-6)

    @parameterized.parameters("one_step_a_call", "three_steps_a_call", "many_steps_a_call", "run_eagerly")
    def test_execution_changes_nothing(self, name):
        for a, b in zip(trained(name)[2], trained("plain")[2], strict=True):
            self.assertAllClose(a, b, rtol=1e-5, atol=1e-7)

    @parameterized.parameters(
        ("float64", None), ("mixed_bfloat16", 0.03), ("mixed_float16", 0.005), ("mixed_float16_fixed_scale", 0.005)
    )
    def test_precision(self, name, tolerance):
        """Like float32 up to rounding (float64 has noise of its own); distributions and losses never below float32."""
        vae, history, _ = trained(name)
        if tolerance is not None:
            for key, values in trained("plain")[1].items():
                self.assertAllClose(history[key], values, rtol=tolerance, atol=tolerance)
        wide = tf.float64 if name == "float64" else tf.float32
        terms = vae.terms(X)
        for value in (vae.encode(X).mean(), terms.z, terms.log_px_z, terms.kl, vae.elbo(X), vae.reconstruct(X)):
            self.assertEqual(value.dtype, wide)
        compute = vae.encoder.layers[-1].compute_dtype
        self.assertEqual(compute, {"float64": "float64", "mixed_bfloat16": "bfloat16"}.get(name, "float16"))
        self.assertEqual({w.dtype for w in vae.trainable_weights}, {wide.name})
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae.save(path)
        again = keras.models.load_model(path)
        self.assertAllEqual(again.elbo(X), vae.elbo(X))
        self.assertEqual(again.encoder.layers[-1].compute_dtype, compute)

    def test_loss_scaling(self):
        """float16 gets a scale; a step that overflows is left out and halves it; small gradients survive."""
        vae = model("mixed_float16")
        self.assertIsInstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)
        self.assertNotIsInstance(model("mixed_bfloat16").optimizer, keras.optimizers.LossScaleOptimizer)
        fresh = make_vae(compiled=False)
        fresh.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE)))
        self.assertEqual(float(fresh.optimizer.dynamic_scale), 2.0**15)
        before = [w.numpy() for w in vae.trainable_weights]
        vae.optimizer.dynamic_scale.assign(2.0**40)
        vae.fit(X, batch_size=50, epochs=1, verbose=0)
        self.assertEqual(float(vae.optimizer.dynamic_scale), 2.0**39)
        for a, b in zip(vae.trainable_weights, before, strict=True):
            self.assertAllEqual(a, b)

    def test_ema_in_evaluation_and_files(self):
        """After a fit the weights are the averages, so that evaluation, files and SavedModels hold them."""
        vae, _, weights = trained("use_ema")
        path = self.create_tempdir().full_path
        vae.save(f"{path}/model.keras")
        again = keras.models.load_model(f"{path}/model.keras")
        for a, b in zip(again.trainable_weights, weights, strict=True):
            self.assertAllEqual(a, b)
        served = tf.saved_model.load(vae.export(f"{path}/1")).signatures
        self.assertAllClose(served["encode"](x=X)["mean"], vae.encode(X).mean(), rtol=1e-5, atol=1e-6)

    @pytest.mark.slow
    def test_infinite_pipelines_and_generators(self):
        expected = trained("plain", pipeline=True)[2]
        endless = tf.data.Dataset.from_tensor_slices(X).batch(SIZE).repeat()

        def batches():
            while True:
                yield from (X[first : first + SIZE] for first in range(0, len(X), SIZE))

        for data, steps in ((endless, 4), (batches(), 4), (Batches(X, SIZE), None)):
            vae = model("plain")
            vae.fit(data, epochs=EPOCHS, steps_per_epoch=steps, shuffle=False, verbose=0)
            for a, b in zip(vae.trainable_weights, expected, strict=True):
                self.assertAllClose(a, b, rtol=1e-5, atol=1e-6)
            self.assertEqual(int(vae.draws), 12)

    @pytest.mark.slow
    def test_op_determinism(self):
        """Two processes with TensorFlow's deterministic operations end with the same bytes."""
        program = textwrap.dedent("""
            import hashlib
            import keras, numpy as np, tensorflow as tf
            from tests.conformance import make_vae, quick
            tf.config.experimental.enable_op_determinism()
            digest = hashlib.sha256()
            for network, shape in (("mlp", (6,)), ("conv_odd", (7, 5, 2))):
                x = np.random.default_rng(0).normal(size=(50, *shape)).astype("float32")
                for data in (x, tf.data.Dataset.from_tensor_slices(x).shuffle(50, seed=1).batch(16)):
                    vae = make_vae(network=network, jit_compile=network == "mlp")
                    vae.fit(data, epochs=2, verbose=0)
                    vae.sample(3, seed=0)
                    for weight in vae.weights:
                        digest.update(weight.numpy().tobytes())
            print(digest.hexdigest())
        """)
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()}
        command = ["timeout", "-k", "5", "200", sys.executable, "-c", program]
        found = [subprocess.run(command, capture_output=True, text=True, env=environment) for _ in range(2)]
        for run in found:
            self.assertEqual(run.returncode, 0, run.stderr[-2000:])
        self.assertLen(found[0].stdout.strip(), 64)
        self.assertEqual(found[0].stdout, found[1].stdout)


if __name__ == "__main__":
    tf.test.main()
