"""Schedules of beta, and the warning where a fit ends before they do."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.schedules import Cyclical, Linear
from tests.conformance import make_vae, quick

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


class SchedulesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((4, 0.5), (3, 1.0), (1, 0.25))
    def test_cyclical_by_hand(self, cycles, rising):
        schedule = Cyclical(0.2, 1.4, steps=120, cycles=cycles, rising=rising)
        length = 120 // cycles
        for step in range(160):
            part = 1.0 if step >= 120 else min((step % length) / (length * rising), 1.0)
            self.assertAllClose(schedule(tf.constant(step, tf.int64)), 0.2 + 1.2 * part, atol=1e-5)

    @parameterized.parameters(Linear(0.1, 2.0, 30), Cyclical(0.1, 2.0, 30, cycles=3, rising=0.7))
    def test_config_round_trip(self, schedule):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
        self.assertEqual([float(again(t)) for t in range(40)], [float(schedule(t)) for t in range(40)])

    @parameterized.parameters(
        ({"cycles": 0}, "cycles must be at least 1"), ({"steps": 3}, "steps >= cycles"), ({"rising": 0.0}, "0 < rising")
    )
    def test_wrong_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            Cyclical(**arguments)

    def test_held(self):
        """Held at step 12 of 30, an objective has the loss of that step at every step; the other stays as it was."""
        beta = Linear(0.1, 2.0, 30)
        objective, terms = kvae.objectives.ELBO(beta=beta), make_vae().terms(X)
        held = objective.held(12)
        for step in (0, 12, 40):
            self.assertAllClose(held.loss(terms, step), objective.loss(terms, 12), rtol=1e-6)
        self.assertAllClose(held.get_config()["beta"], 0.1 + 1.9 * 0.4)
        self.assertEqual((held.scheduled(3), held.schedule_end), ({}, 0))
        self.assertAllClose(objective.scheduled(30), {"beta": 2.0})


@quick("test_warns", "linear")
class ShortFitTest(tf.test.TestCase, parameterized.TestCase):
    """Four batches an epoch."""

    def fit(self, beta, data=X, epochs=2, **options):
        vae = make_vae(objective=lambda: kvae.objectives.ELBO(beta=beta))
        vae.fit(data, epochs=epochs, verbose=0, **options)
        return vae

    @parameterized.named_parameters(
        ("linear", Linear(0.0, 1.0, 9)),
        ("cyclical", Cyclical(0.0, 1.0, 12)),
        ("keras", keras.optimizers.schedules.PolynomialDecay(0.0, 9, 1.0)),
    )
    def test_warns(self, beta):
        last = 12 if isinstance(beta, Cyclical) else 9
        with self.assertWarnsRegex(UserWarning, f"ends at optimizer step 8, before .* at step {last}"):
            self.fit(beta, batch_size=10)
        with self.assertWarnsRegex(UserWarning, "ends at optimizer step 8"):
            self.fit(beta, tf.data.Dataset.from_tensor_slices(X).batch(10))

    @pytest.mark.slow
    def test_is_silent_where_the_schedule_ends(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.fit(Linear(0.0, 1.0, 8), batch_size=10)
            self.fit(1.0, batch_size=10)
            vae = self.fit(Linear(0.0, 1.0, 8), epochs=3, batch_size=10)
            vae.fit(X, batch_size=10, epochs=4, initial_epoch=3, verbose=0)
            # A pipeline whose length is not known, of which Keras says that it ended.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            some = tf.data.Dataset.from_tensor_slices(X).filter(lambda x: True).batch(10)
            self.fit(Linear(0.0, 1.0, 99), some, epochs=1)

    def test_counts_from_where_the_optimizer_stands(self):
        with self.assertWarnsRegex(UserWarning, "ends at optimizer step 4,"):
            vae = self.fit(Linear(0.0, 1.0, 8), epochs=1, batch_size=10)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            vae.fit(X, batch_size=10, epochs=1, verbose=0)


if __name__ == "__main__":
    tf.test.main()
