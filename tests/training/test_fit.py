"""Training and evaluation: every form of data, weights, logs, callbacks, order, and exact resume."""

import math
import os
import pathlib
import signal
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
from tests.conformance import make_vae, quick, restarted, state

N = 50
X = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
Y = np.arange(N)
W = np.random.default_rng(1).random(N).astype(np.float32)


class InputsTest(tf.test.TestCase, parameterized.TestCase):
    def assert_same(self, one, other):
        for a, b in zip(one, other, strict=True):
            self.assertAllEqual(a, b)

    def fitted(self, x, y=None, **arguments):
        vae = restarted()
        vae.fit(x, y, verbose=0, epochs=2, **arguments)
        self.assertEqual(int(vae.draws), int(vae.optimizer.iterations))
        return [v.numpy() for v in vae.trainable_variables + vae.optimizer.variables]

    def test_forms_of_arrays_agree(self):
        expected = self.fitted(X, batch_size=16)
        labels_ignored = [
            self.fitted((X,), batch_size=16),
            self.fitted((X, Y), batch_size=16),
            self.fitted(X, Y, batch_size=16),
            self.fitted({"x": X}, batch_size=16),
            self.fitted(X.astype(np.float64), batch_size=16),
            self.fitted(tf.constant(X), batch_size=16),
            self.fitted(kvae.data.from_arrays(X, validation=0.0, batch_size=16).train),
        ]
        for other in labels_ignored:
            self.assert_same(expected, other)

    @pytest.mark.slow
    def test_forms_of_datasets_agree(self):
        def batches(*parts):
            parts = parts[0] if len(parts) == 1 else parts
            return tf.data.Dataset.from_tensor_slices(parts).batch(16)

        expected = self.fitted(batches(X))
        self.assert_same(expected, self.fitted(batches(X, Y)))
        self.assert_same(expected, self.fitted(tf.data.Dataset.from_tensor_slices((X,)).batch(16)))
        self.assert_same(expected, self.fitted(tf.data.Dataset.from_tensor_slices({"x": X}).batch(16)))
        self.assert_same(expected, self.fitted(batches(X).repeat(), steps_per_epoch=4))
        # The stored order of an array is the order of the dataset.
        for a, b in zip(expected, self.fitted(X, batch_size=16, shuffle=False), strict=True):
            self.assertAllClose(a, b, atol=1e-5)

    def test_weights_of_every_form_agree(self):
        expected = self.fitted(X, batch_size=16, sample_weight=W, shuffle=False)
        dataset = tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(16)
        dicts = tf.data.Dataset.from_tensor_slices({"x": X, "sample_weight": W}).batch(16)
        for other in (
            self.fitted((X, Y, W), batch_size=16, shuffle=False),
            self.fitted({"x": X, "sample_weight": W}, batch_size=16, shuffle=False),
            self.fitted(dataset),
            self.fitted(dicts),
        ):
            for a, b in zip(expected, other, strict=True):
                self.assertAllClose(a, b, atol=1e-5)
        unweighted = self.fitted(X, batch_size=16, shuffle=False)
        self.assertGreater(max(np.abs(a - b).max() for a, b in zip(expected, unweighted, strict=True)), 1e-3)

    def test_weights_scale_the_gradient(self):
        """loss = sum(w l) / B: one SGD step with weight 2 moves twice as far; weight 0 leaves everything."""

        vae = make_vae(optimizer=keras.optimizers.SGD(1e-3))
        start = vae.get_weights()

        def moved(weight):
            vae.set_weights(start)
            before = vae.encoder.get_weights()
            vae.fit(tf.data.Dataset.from_tensors((X, Y, np.full(N, weight))), verbose=0)
            return [b - a for a, b in zip(before, vae.encoder.get_weights(), strict=True)]

        for one, two, none in zip(moved(1.0), moved(2.0), moved(0.0), strict=True):
            self.assertAllClose(2 * one, two, rtol=1e-3, atol=1e-7)
            self.assertAllEqual(none, np.zeros_like(none))

    @pytest.mark.slow
    def test_trackers_are_weighted_means(self):
        """sum(w v) / sum(w) over examples, on ragged batches and weights that are all zero in one of them."""
        vae = restarted()
        per_example = vae.evaluate  # the noise of example i is the same in every call
        alone = np.array([per_example_elbo(vae, i) for i in range(N)])
        weight = W.copy()
        weight[16:32] = 0.0
        for data in ({"x": X, "sample_weight": weight}, tf.data.Dataset.from_tensor_slices((X, Y, weight)).batch(16)):
            logs = per_example(data, batch_size=None if isinstance(data, tf.data.Dataset) else 16, **QUIET)
            self.assertAllClose(logs["elbo"], (weight * alone).sum() / weight.sum(), rtol=1e-5)
        ragged = vae.evaluate(X, batch_size=16, **QUIET)
        self.assertAllClose(ragged["elbo"], alone.mean(), rtol=1e-5)
        with self.assertRaisesRegex(ValueError, "sample_weight is 0 for every example"):
            vae.evaluate({"x": X, "sample_weight": np.zeros(N)}, **QUIET)

    def test_predict_takes_the_same(self):
        vae = restarted()
        expected = vae.reconstruct(X).numpy()
        split = kvae.data.from_arrays(X, validation=0.0, batch_size=16).train
        for data in (X, split, tf.data.Dataset.from_tensor_slices(X).batch(16)):
            self.assertAllClose(vae.predict(data, verbose=0), expected, rtol=1e-5, atol=1e-6)

    def test_validation_split_is_the_last_part(self):
        vae = restarted()
        a, moved = vae.fit(X, validation_split=0.2, epochs=2, verbose=0).history, state(vae)
        b = restarted().fit(X[:40], validation_data=X[40:], epochs=2, verbose=0).history
        self.assertEqual(a, b)
        self.assert_same(state(vae), moved)

    def test_train_on_batch(self):
        vae = restarted()
        logs = vae.train_on_batch(X[:16], return_dict=True)
        self.assertEqual(int(vae.optimizer.iterations), 1)
        self.assertAllClose(logs["elbo"], logs["reconstruction"] - logs["kl"], rtol=1e-6)
        self.assertIn("elbo", vae.test_on_batch(X[:16], return_dict=True))


QUIET = {"verbose": 0, "return_dict": True}


def per_example_elbo(vae, i):
    """The ELBO of example i as `evaluate` draws its noise, from the pieces."""
    eps = noise.normal(vae.seed, noise.EVALUATION, i, 1, vae.latent_dim)
    terms = vae._terms(Batch(tf.constant(X[i : i + 1])), eps[None])
    return float(terms.log_px_z[0, 0] - terms.kl[0])


class LogsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("array", "dataset")
    def test_elbo_is_reconstruction_minus_kl(self, kind):
        schedule = kvae.objectives.ELBO(beta=kvae.schedules.Linear(0.0, 2.0, 10))
        vae = make_vae(objective=lambda: schedule)
        x = X if kind == "array" else tf.data.Dataset.from_tensor_slices(X).batch(16)
        history = vae.fit(
            x, batch_size=None if kind == "dataset" else 16, validation_data=X[:20], epochs=4, verbose=0
        ).history
        names = {"loss", "elbo", "reconstruction", "kl", "beta"}
        self.assertEqual(set(history), names | {f"val_{name}" for name in names})
        for prefix in ("", "val_"):
            elbo, reconstruction, kl = (np.array(history[prefix + n]) for n in ("elbo", "reconstruction", "kl"))
            self.assertAllClose(elbo, reconstruction - kl, rtol=1e-6)
        # The validation of an epoch is at one step of the schedule: its loss is -reconstruction + beta kl.
        val = {name: np.array(history["val_" + name]) for name in names}
        self.assertAllClose(val["loss"], val["beta"] * val["kl"] - val["reconstruction"], rtol=1e-5)
        self.assertEqual(history["val_beta"][-1], 2.0)

    def test_train_and_validation_share_the_code(self):
        """With a learning rate of 0, the training logs and `evaluate` estimate the same ELBO (4 se)."""
        vae = make_vae(optimizer=keras.optimizers.SGD(0.0))
        history = vae.fit(X, epochs=200, verbose=0).history
        train = np.array(history["elbo"])
        exact = float(tf.reduce_mean(vae.elbo(X, seed=1, samples=4000)))
        self.assertLess(abs(train.mean() - exact), 4 * train.std() / math.sqrt(len(train)) + 1e-3)
        self.assertLess(abs(vae.evaluate(X, **QUIET)["elbo"] - exact), 5 * train.std())

    def test_beta_changes_the_loss_and_the_gradient(self):
        def gradients(beta):
            vae = make_vae(objective=lambda: kvae.objectives.ELBO(beta=beta))
            eps = vae._noise(0, 1, 0, N, 1)
            with tf.GradientTape() as tape:
                terms = vae._terms(Batch(tf.constant(X)), eps)
                loss = tf.reduce_mean(vae.objective.loss(terms, 0))
            return loss, tape.gradient(loss, vae.posterior.trainable_weights)[0], tf.reduce_mean(terms.kl)

        (l0, g0, kl), (l1, g1, _), (l4, g4, _) = gradients(0.0), gradients(1.0), gradients(4.0)
        self.assertAllClose(l1 - l0, kl, rtol=1e-4)
        self.assertAllClose(l4 - l0, 4 * kl, rtol=1e-4)
        self.assertAllClose(g4 - g0, 4 * (g1 - g0), rtol=1e-3, atol=1e-5)
        self.assertGreater(float(tf.norm(g1 - g0)), 1e-3)

    def test_free_bits(self):
        """sum_j max(mean_B KL_j, lambda): no gradient on a KL below lambda, the ELBO at lambda = 0."""
        vae = restarted()
        terms = vae.terms(X, seed=1)
        large = kvae.objectives.ELBO(free_bits=50.0).loss(terms, 0)
        self.assertAllClose(large, 150.0 - terms.log_px_z[0], rtol=1e-6)
        some = float(np.median(tf.reduce_mean(terms.kl_per_dim, 0)))
        by_hand = np.maximum(terms.kl_per_dim.numpy().mean(0), some).sum() - terms.log_px_z[0].numpy()
        self.assertAllClose(kvae.objectives.ELBO(free_bits=some).loss(terms, 0), by_hand, rtol=1e-5)

    def test_the_step_is_section_7(self):
        """One SGD step of fit equals the algorithm written out with NumPy-like pieces and finite noise."""
        vae = make_vae(optimizer=keras.optimizers.SGD(0.1), objective=lambda: kvae.objectives.ELBO(kl="monte_carlo"))
        twin = make_vae()
        eps = noise.normal(twin.seed, 1, 0, N, 3)
        x = tf.constant(X)
        with tf.GradientTape() as tape:
            mean, raw = tf.split(twin.posterior.projection(twin.encoder(x)), 2, -1)
            scale = 1e-5 + tf.math.softplus(raw)
            z = mean + scale * eps
            log_q = tf.reduce_sum(-0.5 * eps**2 - 0.5 * math.log(2 * math.pi) - tf.math.log(scale), -1)
            log_p_z = tf.reduce_sum(-0.5 * z**2 - 0.5 * math.log(2 * math.pi), -1)
            out = twin.likelihood.projection(twin.decoder(z))
            s2 = tf.stop_gradient(tf.reduce_mean((x - out) ** 2))
            log_p_x = tf.reduce_sum(-0.5 * (x - out) ** 2 / s2 - 0.5 * tf.math.log(2 * math.pi * s2), -1)
            loss = -tf.reduce_mean(log_p_x + log_p_z - log_q)
        gradients = tape.gradient(loss, twin.trainable_weights)
        expected = [w - 0.1 * g for w, g in zip(twin.trainable_weights, gradients, strict=True)]
        logs = vae.fit(X, batch_size=N, shuffle=False, verbose=0).history
        self.assertAllClose(logs["loss"][0], loss, rtol=1e-5)
        for a, b in zip(vae.trainable_weights, expected, strict=True):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-5)

    def test_evaluation_repeats_and_does_not_train(self):
        vae = restarted()
        first = vae.evaluate(X, **QUIET)
        self.assertEqual(first, vae.evaluate(X, **QUIET))
        for size in (1, 7, 50):
            for name, value in vae.evaluate(X, batch_size=size, **QUIET).items():
                self.assertAllClose(value, first[name], rtol=1e-5)
        with_validation = vae.fit(X, validation_data=X, epochs=3, verbose=0).history["elbo"]
        self.assertEqual(with_validation, restarted().fit(X, epochs=3, verbose=0).history["elbo"])

    def test_list_of_results(self):
        vae = restarted()
        self.assertAllClose(vae.evaluate(X, verbose=0)[0], vae.evaluate(X, **QUIET)["loss"])


@quick("test_steps_per_execution_change_nothing", "1")
class CallbacksTest(tf.test.TestCase, parameterized.TestCase):
    def test_keras_callbacks(self):
        path = self.create_tempdir().full_path
        callbacks = [
            keras.callbacks.EarlyStopping("val_elbo", mode="max", patience=2, restore_best_weights=True),
            keras.callbacks.ModelCheckpoint(f"{path}/best.keras", "val_elbo", mode="max", save_best_only=True),
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.CSVLogger(f"{path}/log.csv"),
        ]
        vae = make_vae(optimizer=keras.optimizers.Adam(0.05))
        history = vae.fit(X[:40], validation_data=X[40:], epochs=200, verbose=0, callbacks=callbacks).history
        best = max(history["val_elbo"])
        self.assertLess(len(history["loss"]), 200)
        self.assertEqual(len(history["loss"]), int(np.argmax(history["val_elbo"])) + 3)
        self.assertAllClose(vae.evaluate(X[40:], **QUIET)["elbo"], best, rtol=1e-5)
        loaded = keras.models.load_model(f"{path}/best.keras")
        self.assertAllClose(loaded.evaluate(X[40:], **QUIET)["elbo"], best, rtol=1e-5)
        with open(f"{path}/log.csv") as file:
            self.assertLen(file.readlines(), len(history["loss"]) + 1)

    def test_per_batch_callbacks_see_every_step(self):
        class Count(keras.callbacks.Callback):
            steps = []

            def on_train_batch_end(self, batch, logs=None):
                self.steps.append((batch, int(self.model.optimizer.iterations)))

        vae = restarted()
        vae.fit(X, batch_size=16, epochs=2, verbose=0, callbacks=[Count()])
        self.assertEqual(Count.steps, [(i % 4, i + 1) for i in range(8)])

    @parameterized.parameters(1, 3, 4, 100)
    def test_steps_per_execution_change_nothing(self, steps):
        expected, vae = restarted(), make_vae()
        expected.fit(X, batch_size=16, epochs=3, verbose=0)
        vae.compile(keras.optimizers.Adam(1e-2), steps_per_execution=steps, jit_compile=False)
        vae.fit(X, batch_size=16, epochs=3, verbose=0)
        self.assertEqual(int(vae.optimizer.iterations), 12)
        for a, b in zip(state(expected), state(vae), strict=True):
            self.assertAllEqual(a, b)

    def test_steps_per_epoch_cross_passes(self):
        vae = restarted()
        vae.fit(X, batch_size=16, epochs=3, steps_per_epoch=3, verbose=0)  # 9 steps of 4 a pass
        self.assertEqual((int(vae.passes), int(vae.position), int(vae.draws)), (2, 1, 9))
        crossed = state(vae)
        straight = restarted()
        straight.fit(X, batch_size=16, epochs=2, verbose=0)
        straight.fit(X, batch_size=16, epochs=1, steps_per_epoch=1, verbose=0)
        for a, b in zip(state(straight), crossed, strict=True):
            self.assertAllEqual(a, b)

    def test_repeated_calls_do_not_retrace(self):
        vae = make_vae()
        traces = []
        terms = vae._terms
        vae._terms = lambda *a, **k: traces.append(1) or terms(*a, **k)

        def once(n):
            vae.fit(X[:n], validation_data=X[:n], batch_size=16, epochs=2, verbose=0)
            vae.evaluate(X[:n], verbose=0)
            vae.elbo(X[:n])

        once(40)
        once(50)  # other sizes generalise the trace once
        before = len(traces)
        for n in (50, 45, 40):
            once(n)
        self.assertEqual(len(traces), before)


class KerasTest(tf.test.TestCase, parameterized.TestCase):
    """What users of Keras expect of any model."""

    def test_validation_pipelines_see_every_row(self):
        """Keras' compiled step functions are kept between calls of `fit`, `evaluate` and `predict`."""
        still = {"optimizer": keras.optimizers.SGD(0.0), "likelihood": lambda: kvae.likelihoods.Normal(scale=1.0)}
        vae = make_vae(**still)
        pipeline = tf.data.Dataset.from_tensor_slices(X).batch(5)
        expected = vae.evaluate(pipeline, **QUIET)["elbo"]
        shapes = []
        predict = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: shapes.append(vae.predict(X, batch_size=5, verbose=0).shape)
        )
        history = vae.fit(X, batch_size=5, validation_data=pipeline, epochs=2, verbose=0, callbacks=[predict]).history
        self.assertAllClose(history["val_elbo"], [expected] * 2, rtol=1e-6)
        self.assertEqual(shapes, [(N, 6)] * 2)
        first = vae.evaluate(X[:10], batch_size=5, **QUIET)["elbo"]
        self.assertAllClose(vae.evaluate(pipeline.repeat(), steps=2, **QUIET)["elbo"], first, rtol=1e-6)
        fresh = make_vae(**still | {"optimizer": keras.optimizers.SGD(0.0)})
        fresh.fit(X, batch_size=5, validation_data=pipeline, verbose=0)
        self.assertAllClose(fresh.evaluate(pipeline.repeat(), steps=2, **QUIET)["elbo"], first, rtol=1e-6)

    def test_other_data_begin_a_new_pass(self):
        vae = restarted()
        vae.fit(X, batch_size=5, steps_per_epoch=7, verbose=0)
        history = vae.fit(X[:20], batch_size=5, epochs=2, verbose=0).history
        self.assertEqual((int(vae.passes), int(vae.position), int(vae.draws)), (3, 0, 7 + 8))
        self.assertNotIn(0.0, history["elbo"])

    def test_dropout_resumes_exactly(self):
        def fresh():
            keras.utils.set_random_seed(0)
            drop = keras.layers.Dropout(0.5)
            encoder = keras.Sequential([keras.Input((6,)), drop, keras.layers.Dense(5)])
            vae = kvae.VAE(encoder, kvae.networks.mlp((6,), 2, hidden=(5,))[1])
            vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
            return vae

        path = f"{self.create_tempdir().full_path}/model.keras"
        whole, half = fresh(), fresh()
        whole.fit(X, epochs=4, verbose=0)
        half.fit(X, epochs=2, verbose=0)
        half.save(path)
        keras.utils.set_random_seed(1)
        resumed = keras.models.load_model(path)
        resumed.fit(X, epochs=4, initial_epoch=2, verbose=0)
        for a, b in zip(whole.trainable_variables, resumed.trainable_variables, strict=True):
            self.assertAllEqual(a, b)

    def test_any_layers(self):
        """Wrapped subclassed models, nested models, recurrent layers: nothing is asked of them but their shapes."""

        class Wrapped(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(4)

            def call(self, x):
                return self.dense(x)

        x, z = keras.Input((6,)), keras.Input((2,))
        series = keras.layers.LSTM(3)(keras.layers.Reshape((3, 2))(x))
        encoder = keras.Model(x, Wrapped()(series))
        state = keras.layers.LSTM(3, return_state=True)(keras.layers.Reshape((2, 1))(z))
        vae = kvae.VAE(encoder, keras.Model(z, Wrapped()(state[0])))
        vae.compile()
        vae.fit(X, validation_data=X, verbose=0)
        self.assertTrue(np.isfinite(kvae.evaluate.log_likelihood(vae, X, samples=3).mean))

    def test_booleans(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        vae.fit(X > 0, verbose=0)
        self.assertAllEqual(vae.elbo(X > 0), vae.elbo((X > 0).astype(np.float32)))

    def test_a_schedule_that_is_no_tensor_function(self):
        vae = make_vae(compiled=False)
        with self.assertRaisesRegex(TypeError, "tf.minimum"):
            vae = make_vae(objective=lambda: kvae.objectives.ELBO(beta=lambda step: min(1.0, step / 100)))
            vae.fit(X, verbose=0)


class OrderTest(tf.test.TestCase):
    def test_every_pass_sees_every_row_once_in_its_own_order(self):
        split = kvae.data.from_arrays(X, validation=0.0).train
        orders = [split.order(3, epoch) for epoch in range(3)]
        for order in orders:
            self.assertAllEqual(np.sort(order), np.arange(N))
        self.assertNotAllEqual(orders[0], orders[1])
        self.assertNotAllEqual(orders[0], split.order(4, 0))
        self.assertAllEqual(orders[1], split.order(3, 1))


RESUME = """
    import os, sys
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import hashlib
    import keras, kvae
    import numpy as np

    what, path = sys.argv[1:]
    grey = np.random.default_rng(1).integers(0, 256, (90, 6)).astype(np.uint8)
    data = kvae.data.from_arrays(grey, validation=0.0, binarize="dynamic", batch_size=16).train
    def fresh(jit):
        rate = keras.optimizers.schedules.CosineDecay(1e-2, 30)
        beta = kvae.schedules.Linear(0.0, 1.0, 20)
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp((6,), 2, hidden=(5,))
        vae = kvae.VAE(*networks, likelihood="bernoulli", objective=kvae.objectives.ELBO(beta=beta), seed=4)
        vae.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=jit)
        return vae

    class Die(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if what.startswith("killed") and int(self.model.draws) == 15:
                os.kill(os.getpid(), 9)

    def backed_up(frequency):
        vae = fresh(False)
        backup = keras.callbacks.BackupAndRestore(f"{path}/{frequency}", save_freq=frequency)
        vae.fit(data, epochs=5, verbose=0, callbacks=[backup, Die()])
        return vae

    def tell(name, vae):
        state = b"".join(np.asarray(v).tobytes() for v in vae.weights + vae.optimizer.variables)
        counts = int(vae.passes), int(vae.position), int(vae.draws), int(vae.optimizer.iterations)
        print(name, *counts, hashlib.sha256(state).hexdigest())

    if what == "killed_epoch":
        backed_up("epoch")
    if what == "killed_4":
        backed_up(4)
    for jit in (False, True):
        if what == "first":
            vae = fresh(jit)
            vae.fit(data, epochs=2, verbose=0)
            vae.save(f"{path}/{jit}.keras")
            vae = fresh(jit)
            vae.fit(data, epochs=5, verbose=0)
            tell(jit, vae)
        if what == "second":
            vae = keras.models.load_model(f"{path}/{jit}.keras")
            vae.fit(data, epochs=5, initial_epoch=2, verbose=0)
            tell(jit, vae)
    if what == "second":
        tell("epoch", backed_up("epoch"))
        tell("4", backed_up(4))
"""


class ResumeTest(tf.test.TestCase):
    """Fresh processes: a run that was cut in two ends with the same bytes as one that was not."""

    def run_part(self, what, path, killed=False):
        script = f"{path}/part.py"
        with open(script, "w") as file:
            file.write(textwrap.dedent(RESUME))
        command = ["timeout", "-k", "5", "200", sys.executable, script, what, path]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(pathlib.Path(kvae.__file__).parent.parent)},
        )
        if killed:
            self.assertIn(done.returncode, (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr)
        else:
            self.assertEqual(done.returncode, 0, done.stderr)
        return {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}

    @pytest.mark.slow
    def test_continued_and_killed_runs_end_with_the_same_bytes(self):
        """Saved and loaded, with and without XLA; killed within a pass and restored by Keras' BackupAndRestore."""
        path = self.create_tempdir().full_path
        whole = self.run_part("first", path)
        for frequency in ("epoch", "4"):  # steps 4, 8, 12: the end of the second pass, before its epoch's end
            self.run_part(f"killed_{frequency}", path, killed=True)
        resumed = self.run_part("second", path)
        self.assertEqual(whole["False"][:4], ["5", "0", "30", "30"])
        self.assertNotEqual(whole["False"], whole["True"])  # XLA rounds otherwise
        for jit in ("False", "True"):
            self.assertEqual(resumed[jit], whole[jit])
        for frequency in ("epoch", "4"):
            self.assertEqual(resumed[frequency], whole["False"])
