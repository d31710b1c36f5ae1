"""What `diagnose` says of models made ill on purpose, and of a good one; calibration; accuracy of codes."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

import kvae
from tests.conformance import examples, make_vae
from tests.test_oracle import digits, linear_vae, set_closed_form


def trained(data, epochs=1, callbacks=(), likelihood="bernoulli", **parts) -> kvae.VAE:
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(data.event_shape, 10, hidden=(100, 100))
    vae = kvae.VAE(*networks, likelihood=likelihood, **parts)
    vae.compile(optimizer=keras.optimizers.Adam(2e-3), jit_compile=False)
    vae.fit(data.train, epochs=epochs, batch_size=50, verbose=0, callbacks=list(callbacks))
    return vae


def binary():
    return kvae.data.load("digits", binarize="dynamic")


def grey():
    return kvae.data.load("digits", dequantize=True)


@functools.cache
def shared(epochs: int, beta: float = 1.0) -> tuple:
    """The binary digits and a model of them, which no test changes."""
    data = binary()
    return data, trained(data, epochs, objective=kvae.objectives.ELBO(beta=beta))


@functools.cache
def shared_grey() -> tuple:
    """The grey digits and a model of them with the best scale, which no test changes."""
    data = grey()
    return data, trained(data, 40, likelihood=kvae.likelihoods.Normal("optimal"))


@pytest.mark.slow
class DiagnoseTest(tf.test.TestCase, parameterized.TestCase):
    def test_healthy(self):
        data, vae = shared(60)
        before = vae.get_weights()
        for train in (data.train, None):
            found = kvae.evaluate.diagnose(vae, data.test, train)
            self.assertEqual(found.faults, ())
            self.assertTrue(found.healthy)
            self.assertRegex(
                str(found), r"^Healthy: the ELBO, -2\d\.\d\d nats, is \d\.\d\d above independent pixels, and"
            )
        for a, b in zip(before, vae.get_weights(), strict=True):
            self.assertAllEqual(a, b)
        summary = kvae.evaluate.summary(vae, data.test, samples=10)
        self.assertEqual(found.figures["elbo"], summary["elbo"])
        self.assertAllClose(found.figures["kl"].mean, summary["kl"].mean)

    def test_unused_dimensions_are_named(self):
        """The linear model of 10 dimensions, with 4 more that nothing goes into and nothing comes out of."""
        ten, vae = linear_vae(10, "learned"), linear_vae(14, "learned")
        set_closed_form(ten, digits(), 10)
        (kernel, bias), (out, mean) = ten.posterior.projection.get_weights(), ten.likelihood.projection.get_weights()
        none = np.zeros((64, 4))
        kernel = np.concatenate([kernel[:, :10], none, kernel[:, 10:], none], axis=1)
        one = np.full(4, np.log(np.expm1(1.0 - vae.posterior.floor)))
        vae.posterior.projection.set_weights([kernel, np.concatenate([bias[:10], np.zeros(4), bias[10:], one])])
        vae.likelihood.projection.set_weights([np.concatenate([out, none.T]), mean])
        vae.likelihood.raw_scale.assign(ten.likelihood.raw_scale)
        found = kvae.evaluate.diagnose(vae, digits().astype(np.float32), probe_steps=0)
        self.assertEqual(found.unused, (10, 11, 12, 13))
        self.assertIn("4 of 14 latent dimensions carry nothing (10, 11, 12, 13)", found.text)

    def test_collapsed(self):
        data, vae = shared(20, beta=50.0)
        for train in (data.train, None):
            found = kvae.evaluate.diagnose(vae, data.test, train)
            self.assertEqual(found.faults, ("collapsed",))
            self.assertRegex(found.text, "Collapsed: all 10 latent dimensions carry 0.0.* beta, which is 50")
            self.assertEqual(found.unused, tuple(range(10)))

    def test_after_one_epoch(self):
        data, vae = shared(1)
        for train in (data.train, None):
            found = kvae.evaluate.diagnose(vae, data.test, train)
            self.assertEqual(found.faults, ("under-trained",))
            self.assertGreater(found.figures["gain_by_training"].mean, 0.5)
        found = kvae.evaluate.diagnose(trained(data, 4), data.test, probe_steps=0)
        self.assertEqual(found.faults, ("under-trained",))
        self.assertIn("not clearly above the log-likelihood of independent pixels", found.text)

    @parameterized.parameters((10.0, "scale too large"), (0.1, "scale too small"))
    def test_scale(self, factor, fault):
        data, good = shared_grey()
        self.assertTrue(kvae.evaluate.diagnose(good, data.test, data.train).healthy)
        scale = factor * math.sqrt(float(good.likelihood.mean_square))
        found = kvae.evaluate.diagnose(
            trained(data, 40, likelihood=kvae.likelihoods.Normal(scale)), data.test, data.train
        )
        self.assertEqual(found.faults[0], fault)
        self.assertIn(f"instead of {scale:.3g}", found.text)

    def test_overfitting(self):
        x = (digits() > 0.5).astype(np.float32)
        data = kvae.data.from_arrays(x[:100], x[100:600], validation=0.0)
        keras.utils.set_random_seed(0)
        vae = kvae.VAE(*kvae.networks.mlp((64,), 10, hidden=(200, 200)), likelihood="bernoulli")
        vae.compile(optimizer=keras.optimizers.Adam(1e-3))
        vae.fit(data.train, epochs=400, batch_size=20, verbose=0)
        found = kvae.evaluate.diagnose(vae, data.test, data.train)
        self.assertEqual(found.faults, ("overfitting",))
        self.assertRegex(found.text, r"of the \d+\.\d\d nats learnt beyond independent pixels \d+\.\d\d are lost")

    def test_every_kind_of_data_and_model(self):
        """It runs on pipelines, on conditional models, on posteriors whose KL does not split, and leaves the model."""
        vae = make_vae(posterior=kvae.posteriors.FullNormal)
        x = examples(vae.likelihood, vae.event_shape, n=40)
        found = kvae.evaluate.diagnose(vae, tf.data.Dataset.from_tensor_slices(x).batch(8))
        self.assertIn("gain_by_training", found.figures)
        self.assertEqual(found.unused, ())
        conditional = kvae.VAE(*kvae.networks.mlp((6,), 2, condition=3), prior="conditional_normal")
        self.assertIn("gain_by_training", kvae.evaluate.diagnose(conditional, (x, np.arange(40) % 3)).figures)
        points = make_vae(posterior=kvae.posteriors.Deterministic, objective=lambda: kvae.objectives.ELBO(beta=0))
        with self.assertRaisesRegex(ValueError, "has none"):
            kvae.evaluate.diagnose(points, x)

    def test_a_schedule_stands_where_it_is(self):
        """Stopped when beta has just reached 1: the copy goes on at 1, and does not begin again at 0."""
        data = binary()
        vae = trained(data, 15, objective=kvae.objectives.ELBO(beta=kvae.schedules.Linear(0.0, 1.0, 400)))
        self.assertEqual(int(vae.optimizer.iterations), 405)
        found = kvae.evaluate.diagnose(vae, data.test, data.train)
        self.assertGreater(found.figures["gain_by_training"].mean, 0.2)

    def test_the_copy_trains_as_long_on_a_pipeline(self):
        data, vae = shared(1)
        found = kvae.evaluate.diagnose(vae, data.test, data.train.first(320).dataset(batch_size=64))
        self.assertGreater(found.figures["gain_by_training"].mean, 1.0)

    def test_few_examples(self):
        data, vae = shared(60)
        found = [kvae.evaluate.diagnose(vae, data.test.first(n), data.train).faults for n in (1, 5, 10, 20)]
        self.assertEqual(found[0], ("too few examples",))
        self.assertLessEqual({fault for faults in found for fault in faults}, {"too few examples"})
        self.assertEqual(found[-1], ())

    def test_nothing_learnt_is_not_overfitting(self):
        """A model spoilt on purpose: worse than independent pixels on both parts."""
        data = binary()
        vae = trained(data, 30)
        for weight in vae.decoder.weights:
            weight.assign(3.0 * weight)
        found = kvae.evaluate.diagnose(vae, data.test, data.train, probe_steps=0)
        self.assertEqual(found.faults, ("under-trained",))

    def test_callback_checks_before_the_training(self):
        points = make_vae(posterior=kvae.posteriors.Deterministic, objective=lambda: kvae.objectives.ELBO(beta=0))
        x = examples(points.likelihood, (6,))
        with self.assertRaisesRegex(ValueError, "a diagnosis needs a density"):
            points.fit(x, epochs=3, verbose=0, callbacks=[kvae.callbacks.Diagnose(x)])
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        with self.assertRaisesRegex(ValueError, "Bernoulli"):
            vae.fit((x > 0).astype("f"), epochs=3, verbose=0, callbacks=[kvae.callbacks.Diagnose(x)])
        self.assertEqual(int(vae.passes), 0)

    def test_callback(self):
        """It names the collapse once, at the second check that finds it, and sums up at the end."""
        (data, plain), said = shared(20, beta=50.0), []
        watch = kvae.callbacks.Diagnose(data.test, every=5, say=said.append)
        vae = trained(data, 20, callbacks=[watch], objective=kvae.objectives.ELBO(beta=50.0))
        self.assertLen(said, 2)
        self.assertRegex(said[0], "^Epoch (10|15): Collapsed")
        self.assertStartsWith(said[1], "Collapsed")
        self.assertEqual(watch.found.faults, ("collapsed",))
        for a, b in zip(plain.get_weights(), vae.get_weights(), strict=True):  # it does not disturb the training
            self.assertAllEqual(a, b)
        with self.assertRaisesRegex(ValueError, "every must be at least 1, got 0"):
            kvae.callbacks.Diagnose(data.test, every=0)


class CalibrationTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(1.0, 0.5, 3.0)
    def test_linear_model(self, factor):
        """At the exact posterior E (x - m(z))^2 over the data is s^2: for a scale f s, 1 / f^2 of its square."""
        x = digits().astype(np.float32)
        vae = linear_vae(10, "learned")
        _, s2, _ = set_closed_form(vae, digits(), 10)
        vae.likelihood.raw_scale.assign(np.log(np.expm1(factor * math.sqrt(s2) - vae.likelihood.floor)))
        found = kvae.evaluate.calibration(vae, x, samples=20)
        error = math.hypot(found["mean_square"].monte_carlo_error, 1e-5)
        self.assertLess(abs(found["mean_square"].mean - factor**-2), 4 * error)
        self.assertEqual(found["mean_square"].unit, "")

    def test_by_hand(self):
        """A decoder that says 0 with scale 1/2, whatever z: the residuals are x itself, where it was observed."""
        vae = kvae.VAE(*kvae.networks.mlp((3, 2), 2, hidden=()), likelihood=kvae.likelihoods.Normal(0.5))
        vae.likelihood.projection.set_weights([np.zeros((2, 6)), np.zeros(6)])
        random = np.random.default_rng(0)
        x, mask = random.normal(size=(700, 3, 2)).astype(np.float32) / 2, random.random((700, 3, 2)) < 0.6
        mask[:50] = False  # nothing of these was observed
        data = {"x": np.where(mask, x, np.nan), "mask": mask}
        found = kvae.evaluate.calibration(vae, data, samples=2)
        for name, value in (
            ("mean_square", 4 * x**2), ("within_one", np.abs(x) <= 0.5), ("within_two", np.abs(x) <= 1.0)
        ):  # fmt: skip
            total, seen = (value * mask).sum((1, 2)), mask.sum((1, 2))
            self.assertAllClose(found[name].mean, total.sum() / seen.sum(), rtol=1e-5)
            left_out = (total.sum() - total) / (seen.sum() - seen)  # the jackknife
            error = math.sqrt(699 / 700 * np.square(left_out - left_out.mean()).sum())
            self.assertAllClose(found[name].standard_error, error, rtol=0.02)
            self.assertEqual(found[name].monte_carlo_error, 0.0)
        self.assertTrue(math.isnan(kvae.evaluate.calibration(vae, data, samples=1)["mean_square"].monte_carlo_error))
        self.assertAllClose(found["within_one"].mean, stats.norm.cdf(1) - stats.norm.cdf(-1), atol=0.04)

    @pytest.mark.slow
    def test_monte_carlo_error(self):
        vae = make_vae(likelihood=lambda: kvae.likelihoods.Normal("local"))
        x = examples(vae.likelihood, vae.event_shape, n=40)
        vae.fit(x, epochs=30, verbose=0)
        runs = [kvae.evaluate.calibration(vae, x, samples=5, seed=seed)["mean_square"] for seed in range(40)]
        spread = np.std([run.mean for run in runs], ddof=1)
        self.assertBetween(np.mean([run.monte_carlo_error for run in runs]) / spread, 0.7, 1.4)

    def test_errors(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        with self.assertRaisesRegex(ValueError, "scale of a normal distribution, and Bernoulli is none"):
            kvae.evaluate.calibration(vae, np.zeros((2, 6), np.float32))
        with self.assertRaisesRegex(ValueError, "samples must be at least 1, got 0"):
            kvae.evaluate.calibration(make_vae(), np.zeros((2, 6), np.float32), samples=0)


class CannotTellTest(tf.test.TestCase):
    X = examples(kvae.likelihoods.Bernoulli(), (6,), n=60)

    def test_weights_that_are_not_numbers(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        kernel, bias = vae.posterior.projection.get_weights()
        vae.posterior.projection.set_weights([np.full_like(kernel, np.nan), bias])
        found = kvae.evaluate.diagnose(vae, self.X)
        self.assertEqual(found.faults, ("not finite",))
        self.assertIn("the ELBO of 60 of 60 examples is not a finite number", found.text)
        self.assertTrue(all(math.isnan(part.mean) for part in kvae.evaluate.collapse(vae, self.X)))
        self.assertTrue(math.isnan(kvae.evaluate.summary(vae, self.X, samples=2)["active_units"].mean))

    def test_few_examples_of_a_model_without_training(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        found = kvae.evaluate.diagnose(vae, self.X[:5], self.X, probe_steps=0)
        self.assertEqual(found.faults, ("too few examples",))
        self.assertFalse(found.healthy)
        self.assertIn("Give 30 examples or more", found.text)

    def test_a_dataset_that_is_shuffled_anew_every_time(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        vae.fit(self.X, epochs=20, verbose=0)
        shuffled = tf.data.Dataset.from_tensor_slices(self.X).shuffle(60).batch(7)
        found, mixed = (
            kvae.evaluate.diagnose(vae, data, data, samples=100, probe_steps=0) for data in (self.X, shuffled)
        )
        self.assertEqual(mixed.faults, found.faults)
        for name in ("learnt", "train_learnt"):
            self.assertAllClose(mixed.figures[name].mean, found.figures[name].mean, atol=0.05)
            self.assertAllClose(mixed.figures[name].standard_error, found.figures[name].standard_error, rtol=0.1)

    def test_steps_below_zero(self):
        with self.assertRaisesRegex(ValueError, "probe_steps must be at least 0, got -1"):
            kvae.evaluate.diagnose(make_vae(), self.X, probe_steps=-1)


class NeighboursTest(tf.test.TestCase):
    def test_examples_are_checked(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        x, y = examples(vae.likelihood, vae.event_shape, n=20), np.arange(20) % 2
        for wrong in (255.0 * x, np.nan * x):
            with self.assertRaisesRegex(ValueError, "Bernoulli"):
                kvae.evaluate.knn_accuracy(vae, (x, y), (wrong, y), 3)

    def test_by_hand(self):
        """Codes are 2 x: the nearest three by NumPy."""
        vae = kvae.VAE(*kvae.networks.mlp((2,), 2, hidden=()))
        kernel = np.concatenate([2 * np.eye(2), np.zeros((2, 2))], axis=1)
        vae.posterior.projection.set_weights([kernel, np.zeros(4)])
        random = np.random.default_rng(0)
        y = random.integers(0, 3, 400)
        x = (random.normal(size=(400, 2)) + 1.5 * np.stack([np.cos(2 * y), np.sin(2 * y)], 1)).astype(np.float32)
        train, test = (x[:300], y[:300]), (x[300:], y[300:])
        nearest = np.argsort(np.square(test[0][:, None] - train[0]).sum(-1), axis=1)[:, :3]
        guess = np.array([np.bincount(train[1][row], minlength=3).argmax() for row in nearest])
        right = (guess == test[1]).mean()
        found = kvae.evaluate.knn_accuracy(vae, train, test, neighbours=3)
        self.assertAllClose(found.mean, right)
        self.assertAllClose(found.standard_error, math.sqrt(right * (1 - right) / 100))
        self.assertEqual((found.examples, found.unit), (100, ""))
        split = kvae.data.from_arrays(x[:300], x[300:], None, y[:300], y[300:], validation=0.0)
        self.assertEqual(kvae.evaluate.knn_accuracy(vae, split.train, split.test, 3), found)

    def test_errors(self):
        vae, x = make_vae(), np.zeros((4, 6), np.float32)
        with self.assertRaisesRegex(ValueError, "test needs one label for each example"):
            kvae.evaluate.knn_accuracy(vae, (x, np.arange(4)), x)
        with self.assertRaisesRegex(ValueError, "neighbours must be 1 to 4, the examples of train, got 15"):
            kvae.evaluate.knn_accuracy(vae, (x, np.arange(4)), (x, np.arange(4)))


if __name__ == "__main__":
    tf.test.main()
