"""The loop behind `fit`: what it may run at a time, and that nothing is left behind by repeated use."""

import gc
import os
import pathlib
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.numerics import compilation, noise
from kvae.training import loop, step_time
from tests.conformance import make_vae, quick


class StepTimeTest(tf.test.TestCase):
    def test_the_fastest_call_after_the_first_counts(self):
        seen = step_time.StepTime()
        with mock.patch("time.perf_counter", side_effect=[0.0, 10.0, 10.5, 12.5, 100.0, 100.1]):
            seen.start(2)  # compiles, for ten seconds
            seen.start(5)
            self.assertEqual(seen.steps(1.0), 0)
            seen.start(5)  # the second took 0.1 s a step
            self.assertEqual(seen.steps(1.0), 10)
            seen.start(5)  # the third 0.4 s
            self.assertEqual(seen.steps(1.0), 10)
            seen.restart()  # an epoch's end lies between
            seen.start(1)
            seen.start(1)
            self.assertEqual(seen.steps(1.05), 10)

    def test_steps_of_one_call_by_a_count_of_multiply_adds(self):
        encoder, decoder = kvae.networks.conv((28, 28, 1), 2, filters=(32, 64), dense=16)
        vae = kvae.VAE(encoder, decoder, likelihood="bernoulli")
        down = 14 * 14 * 9 * 32 + 7 * 7 * 9 * 32 * 64 + 7 * 7 * 64 * 16 + 16 * 4
        up = 2 * 16 + 16 * 7 * 7 * 64 + 7 * 7 * 9 * 64 * 64 + 14 * 14 * 9 * 64 * 32 + 28 * 28 * 32
        self.assertEqual(step_time.multiply_adds(encoder, vae.posterior), down)
        self.assertEqual(step_time.multiply_adds(decoder, vae.likelihood), up)
        with mock.patch.multiple(
            step_time, _SECONDS_PER_STEP=0.0, _FLOPS_PER_SECOND=6.0 * 10 * (down + up), _FIRST_SECONDS=7
        ):
            self.assertEqual(step_time.steps_per_call(vae, 10, 100), 7)
            self.assertEqual(step_time.steps_per_call(vae, 10, 5), 5)
            self.assertEqual(step_time.steps_per_call(vae, 1000, 5), 1)


@quick("test_running_ahead_changes_nothing", "0")
class HurriedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, 7)
    def test_running_ahead_changes_nothing(self, steps_per_epoch):
        x = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)
        arguments = {"batch_size": 4, "epochs": 6, "steps_per_epoch": steps_per_epoch, "verbose": 0}
        plain = make_vae()
        plain.compile(keras.optimizers.Adam(1e-2), steps_per_execution=1, jit_compile=False)
        expected = plain.fit(x, **arguments, validation_data=x[:10]).history
        vae = make_vae()
        run = loop.Loop._run
        with (
            mock.patch.object(step_time, "_FIRST_SECONDS", 1e-9),
            mock.patch.object(loop.Loop, "_run", autospec=True) as spy,
        ):
            spy.side_effect = run
            history = vae.fit(x, **arguments, validation_data=x[:10]).history
        self.assertEqual(history, expected)
        for a, b in zip(vae.variables, plain.variables, strict=True):
            self.assertAllEqual(a, b)
        steps = [call.args[3] for call in spy.mock_calls if call.args[0].training]
        self.assertEqual(sum(steps), 6 * (steps_per_epoch or 23))
        self.assertEqual(steps[:2], [1, 1])
        self.assertGreater(max(steps), 5)


class RepeatedUseTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_memory_is_flat(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        x = (np.random.default_rng(0).random((2000, 6)) < 0.5).astype(np.float32)

        def use(times):
            for i in range(times):
                vae.fit(x, batch_size=100, verbose=0)
                vae.evaluate(x, verbose=0)
                vae.sample(1 + i % 5, seed=i)
            gc.collect()
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

        use(30)
        before = use(1)
        self.assertLess(use(100) - before, 10.0)  # megabytes; a copy of x alone in every fit would be 5


class AllKnownTest(tf.test.TestCase):
    def test_values_are_the_same(self):
        """None, and the sparse gradient of an embedding, among them."""
        table, slope, other = tf.Variable(tf.ones((5, 2))), tf.Variable(1.5), tf.Variable(3.0)

        def gradients(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table, [1, 3, 3]) * x * slope)
            return compilation.gradient_barrier(tape.gradient(loss, [table, slope, other]))

        def compiled(x):
            with noise.under_xla():
                rows, dense, none = gradients(x)
            self.assertIsInstance(rows, tf.IndexedSlices)
            self.assertIsNone(none)
            return tf.convert_to_tensor(rows) + dense

        expected = np.array([[0, 0], [3, 3], [0, 0], [6, 6], [0, 0]]) + 12.0  # d/d slope: 6 entries times 2
        self.assertAllEqual(tf.function(compiled, jit_compile=True)(tf.constant(2.0)), expected)
        self.assertAllEqual(compiled(tf.constant(2.0)), expected)  # eagerly there is nothing to be done
        found = tf.function(compiled, jit_compile=True).experimental_get_compiler_ir(tf.constant(2.0))(stage="hlo")
        self.assertIn("opt-barrier", found)

    def test_none_at_all(self):
        """A model whose weights are all held fast."""
        with noise.under_xla():
            self.assertEqual(tf.function(lambda: compilation.gradient_barrier([]), jit_compile=True)(), [])
