"""A KL term that is held at a given size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from tests.conformance import make_vae
from tests.objectives import linear

Capacity = kvae.objectives.Capacity
X = (2.0 * np.random.default_rng(0).normal(size=(200, 6))).astype(np.float32)


class CapacityTest(tf.test.TestCase):
    def test_at_its_capacity_it_is_the_reconstruction(self):
        """X19: the mean of the KL terms being C, to 1e-6, though single examples have other ones."""
        terms = make_vae(posterior=kvae.posteriors.FullNormal).terms(X, samples=3, seed=1)
        kl = terms.kl.numpy()
        self.assertGreater(kl.std(), 0.01)
        objective = Capacity(float(kl.mean()), gamma=1.0)
        self.assertAllClose(objective.loss(terms, 0), -terms.log_px_z.numpy().mean(0), rtol=1e-6, atol=1e-6)

    def test_by_hand(self):
        """gamma |mean KL - C|, above and below C, along a schedule."""
        terms = linear.terms(linear.model("elbo"), linear.OTHER, linear.draws(2, 5))
        mean, scale = linear.OTHER
        kl = 0.5 * (scale**2 + mean**2 - 1.0 - 2.0 * np.log(scale)).sum()
        objective = Capacity(kvae.schedules.Linear(0.0, 2.0, 10), gamma=30.0)
        for step in (0, 5, 10, 99):
            c = 0.2 * min(step, 10)
            expected = 30.0 * abs(kl - c) - terms.log_px_z.numpy().mean(0)
            self.assertAllClose(objective.loss(terms, tf.constant(step, tf.int64)), expected, rtol=1e-6)
            self.assertAllClose(objective.scheduled(step), {"capacity": c})
        self.assertEqual(objective.schedule_end, 10)
        self.assertEqual(Capacity(3.0).scheduled(5), {})

    def test_without_a_closed_form(self):
        """The mean of log q(z|x) - log p(z)."""
        terms = linear.terms(linear.model("elbo"), linear.OTHER, linear.draws(4, 6))._replace(kl=None)
        kl = (terms.log_qz_x - terms.log_pz).numpy().mean()
        expected = abs(kl - 9.0) - terms.log_px_z.numpy().mean(0)
        self.assertAllClose(Capacity(9.0, gamma=1.0).loss(terms, 0), expected, rtol=1e-9)

    @pytest.mark.slow
    def test_the_kl_term_follows(self):
        """C rises from 0 to 3 nats in 300 steps and stays: the KL term is within 5 % of it, where the ELBO's is not."""
        found = []
        schedule = kvae.schedules.Linear(0.0, 3.0, 300)
        for objective in (Capacity(schedule, gamma=100.0), kvae.objectives.ELBO()):
            vae = make_vae(optimizer=keras.optimizers.Adam(3e-3), objective=lambda objective=objective: objective)
            logs = vae.fit(X, batch_size=40, epochs=120, verbose=0).history
            found.append(vae.evaluate(X, verbose=0, return_dict=True)["kl"])
            if "capacity" in logs:
                self.assertAllClose(logs["capacity"][29], 3.0 * 147 / 300)  # the mean of steps 145 to 149
                self.assertAllClose(logs["capacity"][-1], 3.0)
        self.assertAllClose(found[0], 3.0, rtol=0.05)
        self.assertNotAllClose(found[1], 3.0, rtol=0.2)

    def test_wrong_arguments(self):
        for options, message in (
            ({"capacity": -1.0}, "Capacity needs capacity >= 0 or a schedule .*, got -1.0"),
            ({"capacity": kvae.schedules.Linear(1.0, -1.0, 5)}, "Capacity needs a schedule .* is -1.0 at step 5"),
            ({"gamma": -1.0}, "0 <= gamma, got -1.0"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                Capacity(**options)


if __name__ == "__main__":
    tf.test.main()
