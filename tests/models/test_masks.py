"""Missing values: masks in training, evaluation and estimates, and imputation."""

import math
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

import kvae
from kvae.data.batch import Batch
from kvae.data.splits import Split
from kvae.evaluate.per_example import per_example
from tests.conformance import LIKELIHOODS, examples, make_vae, quick

RANDOM = np.random.default_rng(0)
X = (RANDOM.random((40, 4, 4, 1)) < 0.3).astype(np.float32)
MASK = RANDOM.random(X.shape) < 0.7
HOLES = np.where(MASK, X, np.nan).astype(np.float32)
Y = RANDOM.integers(0, 3, 40)

NETWORKS = {
    "mlp": lambda **o: kvae.networks.mlp((4, 4, 1), 2, hidden=(7,), **o),
    "conv": lambda **o: kvae.networks.conv((4, 4, 1), 2, filters=(3,), dense=5, **o),
    "resnet": lambda **o: kvae.networks.resnet((4, 4, 1), 2, filters=(4,), dense=5, **o),
}


def model(network="mlp", jit_compile=False, likelihood="bernoulli", **options) -> kvae.VAE:
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*NETWORKS[network](**options), likelihood=likelihood)
    vae.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=jit_compile)
    return vae


class Dicts(keras.utils.PyDataset):
    """Batches of dicts in order."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        rows = slice(16 * i, 16 * i + 16)
        return {"x": HOLES[rows], "mask": MASK[rows]}


@quick("test_an_encoder_that_is_told")
class FeedingTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(False, True)
    @pytest.mark.slow
    def test_every_way_of_feeding_is_the_same(self, mask):
        """NaN and other numbers beneath a mask, arrays and pipelines, XLA and none, an encoder that is told and not."""
        slices = tf.data.Dataset.from_tensor_slices({"x": HOLES, "mask": MASK.astype(np.float32)})
        ways = {
            "dict": lambda vae, **o: vae.fit({"x": HOLES, "mask": MASK}, batch_size=16, **o),
            "xla": lambda vae, **o: vae.fit({"x": HOLES, "mask": MASK}, batch_size=16, **o),
            "integers": lambda vae, **o: vae.fit({"x": X, "mask": MASK.astype(int)}, batch_size=16, **o),
            "numbers": lambda vae, **o: vae.fit({"x": np.where(MASK, X, 1e30), "mask": MASK}, batch_size=16, **o),
            "split": lambda vae, **o: vae.fit(Split(HOLES, mask=MASK, batch_size=16), **o),
            "labels": lambda vae, **o: vae.fit({"x": HOLES, "mask": MASK, "condition": Y}, batch_size=16, **o),
            "pipeline": lambda vae, **o: vae.fit(Split(HOLES, Y, mask=MASK, batch_size=16).dataset(shuffle=False), **o),
            "tf.data": lambda vae, **o: vae.fit(slices.batch(16), **o),
            "PyDataset": lambda vae, **o: vae.fit(Dicts(), **o),
        }
        found = {}
        for name, fit in ways.items():
            vae = model(jit_compile=name == "xla", mask=mask)
            seen = {"x": HOLES[:8], "mask": MASK[:8]}
            history = fit(vae, epochs=2, shuffle=False, verbose=0, validation_data=seen).history
            found[name] = [*history["elbo"], *history["val_elbo"], *vae.evaluate({"x": HOLES, "mask": MASK}, verbose=0)]
            self.assertAllEqual([np.isfinite(w).all() for w in vae.weights], [True] * len(vae.weights))
        for values in found.values():
            self.assertAllClose(values, found["dict"], rtol=1e-4)

    @pytest.mark.slow
    def test_weights_and_validation_split_keep_their_rows(self):
        weight = np.linspace(0.5, 2.0, 40)
        whole, parts = model(), model()
        data = {"x": HOLES, "mask": MASK, "sample_weight": weight}
        split = whole.fit(data, validation_split=0.2, epochs=2, verbose=0).history
        first, last = ({name: array[rows] for name, array in data.items()} for rows in (slice(32), slice(32, None)))
        given = parts.fit(first, validation_data=last, epochs=2, verbose=0).history
        self.assertEqual(split, given)
        element = Split(HOLES, Y, weight, mask=MASK).dataset().element_spec
        self.assertEqual(set(element), {"x", "condition", "mask", "sample_weight"})

    @parameterized.parameters(*NETWORKS)
    def test_an_encoder_that_is_told(self, network):
        vae = model(network, mask=True, condition=3)
        self.assertEqual([tensor.name for tensor in vae.encoder.inputs], ["x", "condition", "mask"])
        before = vae.encode(X, Y, MASK).mean()
        full = vae.encode(X, Y, np.ones_like(X)).mean()
        self.assertAllEqual(vae.encode(X, Y).mean(), full)
        hidden = np.ones_like(X)
        hidden[:, 1, 1] = 0  # there the network sees 0.5, in `told` with a mask of ones
        half = Batch(np.where(hidden > 0, X, 0.5).astype(np.float32), Y)
        told = vae.posterior.distribution(vae.encode_features(vae.prepared(half))).mean()
        self.assertNotAllClose(vae.encode(X, Y, hidden).mean(), told)
        vae.fit({"x": HOLES, "mask": MASK, "condition": Y}, epochs=2, verbose=0)
        self.assertNotAllClose(vae.encode(X, Y, MASK).mean(), before)
        path = self.create_tempdir().full_path
        vae.save(f"{path}/model.keras")
        again = keras.models.load_model(f"{path}/model.keras")
        self.assertAllEqual(again.encode(HOLES, Y, MASK).mean(), vae.encode(HOLES, Y, MASK).mean())
        served = tf.saved_model.load(vae.export(f"{path}/1")).signatures
        one_hot = np.eye(3, dtype=np.float32)[Y]
        seen = MASK.astype(np.float32)
        self.assertAllClose(
            served["encode"](x=HOLES, condition=one_hot, mask=seen)["mean"], vae.encode(HOLES, Y, MASK).mean(), 1e-5
        )
        score = served["score"](x=HOLES, condition=one_hot, mask=seen, seed=np.arange(40, dtype=np.int32))
        self.assertAllEqual(np.isfinite(score["elbo"]), [True] * 40)

    def test_public_methods(self):
        vae = model()
        split = Split(HOLES, mask=MASK)
        data = {"x": HOLES, "mask": MASK}
        mean = vae.reconstruct(HOLES, mask=MASK)
        self.assertAllEqual(np.isfinite(mean), np.ones_like(X, bool))
        for given in (split, data, tf.data.Dataset.from_tensor_slices(data).batch(9)):
            self.assertAllClose(vae.predict(given, verbose=0), mean, rtol=1e-5, atol=1e-6)
        self.assertAllEqual(vae.encode(split).mean(), vae.encode(HOLES, mask=MASK).mean())
        terms = vae.terms(HOLES, samples=3, seed=1, mask=MASK)
        by_hand = np.where(MASK, vae.decode(terms.z).distribution.log_prob(X), 0.0).sum((2, 3, 4))
        self.assertAllClose(terms.log_px_z, by_hand, rtol=1e-5)
        elbo = tf.reduce_mean(terms.log_px_z, axis=0) - terms.kl
        self.assertAllClose(vae.elbo(HOLES, samples=3, seed=1, mask=MASK), elbo, rtol=1e-5)
        nothing = vae.terms(HOLES, mask=np.zeros_like(MASK))
        self.assertAllEqual(nothing.log_px_z, np.zeros((1, 40)))


class LikelihoodTest(tf.test.TestCase, parameterized.TestCase):
    def test_a_mask_of_ones_is_no_mask(self):
        """Of every family in test_conformance.py."""
        make = kvae.likelihoods.Bernoulli
        plain, masked = make_vae(likelihood=make), make_vae(likelihood=make)
        x = examples(plain.likelihood, plain.event_shape)
        expected = plain.fit(x, batch_size=8, epochs=3, verbose=0).history
        history = masked.fit({"x": x, "mask": np.ones_like(x)}, batch_size=8, epochs=3, verbose=0).history
        for name, values in expected.items():
            self.assertAllClose(history[name], values, rtol=1e-5, atol=1e-5)
        for a, b in zip(plain.weights, masked.weights, strict=True):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-5)

    @parameterized.named_parameters(LIKELIHOODS.items())
    def test_half_of_an_event(self, make):
        """With the right half masked, what counts is what a likelihood of the left half alone gives."""
        likelihood, left = make(project=False), make(project=False)
        size = 6
        likelihood.build((likelihood.per_element * size,), (size,))
        left.build((left.per_element * size // 2,), (size // 2,))
        x = examples(likelihood, (size,))
        features = RANDOM.normal(size=(16, likelihood.per_element, size)).astype(np.float32)
        mask = np.arange(size) < size // 2
        weight = tf.constant(RANDOM.random(16), tf.float32)
        wholes, halves = features.reshape(16, -1), features[..., : size // 2].reshape(16, -1)
        found = []
        for family, inputs, given, seen in (
            (likelihood, wholes, x, np.tile(mask, (16, 1))),
            (left, halves, x[:, : size // 2], None),
        ):
            inputs = tf.constant(inputs)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                p = family.calibrated(given, family.distribution(inputs[None]), weight, seen)
                value = family.log_prob(p, given, seen)
            gradient = tape.gradient(value, inputs).numpy().reshape(16, likelihood.per_element, -1)
            found.append((value, gradient))
        self.assertAllClose(found[0][0], found[1][0], rtol=1e-5)
        self.assertAllClose(found[0][1][..., : size // 2], found[1][1], rtol=1e-4, atol=1e-5)
        self.assertAllEqual(found[0][1][..., size // 2 :], np.zeros_like(found[1][1]))

    def test_optimal_scale_is_that_of_what_was_observed(self):
        likelihood = kvae.likelihoods.Normal(project=False)
        likelihood.build((5,), (5,))
        x, loc = RANDOM.normal(size=(7, 5)).astype("f"), RANDOM.normal(size=(3, 7, 5)).astype("f")
        mask, weight = RANDOM.random((7, 5)) < 0.5, RANDOM.random(7).astype("f")
        p = likelihood.calibrated(x, likelihood.distribution(tf.constant(loc)), weight, mask)
        share = weight[:, None] * mask
        expected = math.sqrt((share * np.square(x - loc).mean(0)).sum() / share.sum())
        self.assertAllClose(p.distribution.scale, expected, rtol=1e-5)
        likelihood.calibrated(x, p, weight, np.zeros_like(mask))  # nothing observed: nothing learned
        self.assertAllClose(likelihood.mean_square, expected**2, rtol=1e-5)


class OracleTest(tf.test.TestCase):
    """x = W z + m + s eps: everything about missing values is known in closed form."""

    W = np.array([[1.0, -0.5], [0.3, 0.8], [-0.7, 0.2], [0.1, 0.1], [0.9, 0.4]])
    M = np.array([0.5, -1.0, 0.2, 0.0, 2.0])
    S = 0.4

    def vae(self):
        networks = kvae.networks.mlp((5,), 2, hidden=(), mask=True)
        vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale=self.S))
        vae.posterior.projection.set_weights([np.zeros((10, 4)), np.array([0.0, 0.0, 1.0, 1.0])])
        vae.likelihood.projection.set_weights([self.W.T, self.M])
        return vae

    def data(self, n=12):
        random = np.random.default_rng(3)
        x = random.normal(size=(n, 2)) @ self.W.T + self.M + self.S * random.normal(size=(n, 5))
        return x.astype(np.float32), random.random((n, 5)) < 0.6

    def conditional(self, x, mask):
        """log p(x_o), and the mean and covariance of p(x_m|x_o)."""
        cov = self.W @ self.W.T + self.S**2 * np.eye(5)
        o, m = np.flatnonzero(mask), np.flatnonzero(~mask)
        log_p = stats.multivariate_normal(self.M[o], cov[np.ix_(o, o)]).logpdf(x[o]) if len(o) else 0.0
        gain = cov[np.ix_(m, o)] @ np.linalg.inv(cov[np.ix_(o, o)])
        mean = self.M[m] + gain @ (x[o] - self.M[o])
        return log_p, mean, cov[np.ix_(m, m)] - gain @ cov[np.ix_(o, m)]

    def test_log_likelihood_of_what_was_observed(self):
        vae, (x, mask) = self.vae(), self.data()
        exact = np.mean([self.conditional(*row)[0] for row in zip(x, mask, strict=True)])
        holes = np.where(mask, x, np.nan)
        estimate = kvae.evaluate.log_likelihood(vae, {"x": holes, "mask": mask}, samples=20_000)
        self.assertLess(estimate.monte_carlo_error, 0.01)
        self.assertLess(abs(estimate.mean - exact), 4 * estimate.monte_carlo_error)
        whole = kvae.evaluate.log_likelihood(vae, np.nan_to_num(holes), samples=20_000)
        self.assertGreater(abs(whole.mean - exact), 0.3)  # the mask does matter

    def test_impute_mean(self):
        vae, (x, mask) = self.vae(), self.data()
        filled = vae.impute(np.where(mask, x, np.nan), samples=40_000).numpy()
        self.assertAllEqual(filled[mask], x[mask])
        for i in range(len(x)):
            _, mean, covariance = self.conditional(x[i], mask[i])
            error = np.sqrt(np.diag(covariance)) / math.sqrt(40_000 / 20)  # an effective sample size of 2,000 or more
            self.assertAllInRange((filled[i, ~mask[i]] - mean) / error, -4.0, 4.0)

    @pytest.mark.filterwarnings("ignore:The effective sample size")
    def test_impute_draws(self):
        """Many draws for the same holes have the mean and the covariance of p(x_m|x_o)."""
        n = 4000
        x, mask = self.data()
        i = int(np.flatnonzero(mask.sum(1) == 3)[0])
        rows, seen = np.tile(x[i], (n, 1)), np.tile(mask[i], (n, 1))
        drawn = self.vae().impute(rows, seen, samples=300, seed=5, output="sample").numpy()
        _, mean, covariance = self.conditional(x[i], mask[i])
        found = drawn[:, ~mask[i]].astype(np.float64)
        error = (found.mean(0) - mean) / np.sqrt(np.diag(covariance) / n)
        self.assertAllInRange(error, -4.0, 4.0)
        self.assertAllClose(np.cov(found.T), covariance, atol=4 * covariance.max() * math.sqrt(2 / n) + 0.01)
        self.assertAllEqual(drawn[:, mask[i]], rows[:, mask[i]])

    def test_impute_draws_from_one_pass(self):
        """Of one example many draws at once; draw k of example i does not depend on how many there are of examples."""
        n = 4000
        x, mask = self.data()
        i = int(np.flatnonzero(mask.sum(1) == 3)[0])
        vae, row, seen = self.vae(), x[i : i + 1], mask[i : i + 1]
        drawn = vae.impute(row, seen, samples=40_000, seed=5, output="sample", draws=n).numpy()[:, 0]
        _, mean, covariance = self.conditional(x[i], mask[i])
        found = drawn[:, ~mask[i]].astype(np.float64)
        self.assertAllInRange((found.mean(0) - mean) / np.sqrt(np.diag(covariance) / n), -4.0, 4.0)
        self.assertAllClose(np.cov(found.T), covariance, atol=4 * covariance.max() * math.sqrt(2 / n) + 0.01)
        several = vae.impute(x[:7], mask[:7], samples=20, seed=5, output="sample", draws=3)
        self.assertEqual(several.shape, (3, 7, 5))
        self.assertAllEqual(vae.impute(x[:4], mask[:4], samples=20, seed=5, output="sample", draws=3), several[:, :4])
        with self.assertRaisesRegex(ValueError, "draws=...\\) goes with output='sample'"):
            vae.impute(row, seen, draws=3)

    def test_few_effective_draws_are_said(self):
        x, mask = self.data()
        far = np.where(mask, 30.0, x)
        with pytest.warns(UserWarning, match="below 5 of 100 draws.*bands of draws are too narrow"):
            self.vae().impute(far, mask, samples=100, output="sample")

    @pytest.mark.slow
    def test_training_on_holes_reaches_the_exact_likelihood(self):
        """Half of the values missing at random: the learned model's log p(x_o) is the truth's within 0.05 nats."""
        random = np.random.default_rng(4)
        x = random.normal(size=(4000, 2)) @ self.W.T + self.M + self.S * random.normal(size=(4000, 5))
        mask = random.random(x.shape) < 0.5
        keras.utils.set_random_seed(1)
        networks = kvae.networks.mlp((5,), 2, hidden=(32,), activation="tanh", mask=True)
        vae = kvae.VAE(*networks, posterior="full_normal", likelihood=kvae.likelihoods.Normal("learned"))
        rate = keras.optimizers.schedules.CosineDecay(1e-2, 60 * 20)
        vae.compile(optimizer=keras.optimizers.Adam(rate))
        holes = {"x": np.where(mask, x, np.nan).astype(np.float32), "mask": mask}
        vae.fit(holes, batch_size=200, epochs=60, verbose=0)
        exact = np.mean([self.conditional(*row)[0] for row in zip(x, mask, strict=True)])
        found = kvae.evaluate.log_likelihood(vae, holes, samples=200)
        self.assertLess(abs(found.mean - exact), 0.05)
        missing = vae.impute(x, mask, samples=500).numpy()[~mask]
        best = np.concatenate([self.conditional(*row)[1] for row in zip(x, mask, strict=True)])
        errors = [np.sqrt(np.square(found - x[~mask]).mean()) for found in (missing, best)]
        self.assertBetween(errors[0] / errors[1], 0.98, 1.03)


class ImputeTest(tf.test.TestCase):
    def test_conditions_splits_and_parts(self):
        """Labels count; a split brings its mask and labels; draws of an example do not depend on its company."""
        vae = model(condition=3)
        vae.fit({"x": HOLES, "mask": MASK, "condition": Y}, epochs=20, batch_size=8, verbose=0)
        for output in ("mean", "sample"):
            filled = vae.impute(HOLES, samples=50, output=output, condition=Y).numpy()
            self.assertAllEqual(filled[MASK], X[MASK])
            split = vae.impute(Split(HOLES, Y, mask=MASK), samples=50, output=output)
            self.assertAllEqual(split, filled)
            self.assertAllEqual(vae.impute(Split(HOLES, Y), samples=50, output=output), filled)  # NaN says where
            with mock.patch.object(kvae.models.importance, "FLOATS_AT_A_TIME", 50 * 16 * 7):  # 7 examples at a time
                self.assertAllClose(vae.impute(HOLES, samples=50, output=output, condition=Y), filled, atol=1e-5)
            if output == "sample":
                self.assertContainsSubset(np.unique(filled), [0.0, 1.0])
                again = vae.impute(HOLES, samples=50, output=output, condition=Y, seed=1)
                self.assertNotAllEqual(again, filled)
        other = vae.impute(HOLES, samples=50, condition=(Y + 1) % 3).numpy()
        self.assertNotAllClose(other, vae.impute(HOLES, samples=50, condition=Y))

    def test_draws_have_the_means_probabilities(self):
        """Of a binary event, many draws are 1 as often as the mean says."""
        vae, n = model(), 4000
        row, seen = np.tile(HOLES[:1], (n, 1, 1, 1)), np.tile(MASK[:1], (n, 1, 1, 1))
        mean = vae.impute(HOLES[:1], MASK[:1], samples=4000)[0].numpy()
        drawn = vae.impute(row, seen, samples=100, output="sample").numpy().mean(0)
        error = np.sqrt(mean * (1.0 - mean) / n)
        self.assertAllInRange(((drawn - mean)[~MASK[0]]) / error[~MASK[0]], -4.5, 4.5)


class EstimatesTest(tf.test.TestCase):
    def test_bits_per_dim_of_what_was_observed(self):
        vae = model()
        x, mask = X, RANDOM.random(X.shape) < np.linspace(0.2, 1.0, 40)[:, None, None, None]
        table = kvae.evaluate.summary(vae, {"x": x, "mask": mask}, samples=50)
        seen = mask.sum((1, 2, 3))
        nats = table["log_likelihood"].mean * 40
        self.assertAllClose(table["bits_per_dim"].mean, -nats / seen.sum() / math.log(2.0), rtol=1e-6)
        # The error against the jackknife of the ratio.
        found = per_example(vae, {"x": x, "mask": mask}, 50, 0)
        left_out = (nats - found.log_likelihood) / (seen.sum() - seen) / math.log(2.0)
        jackknife = math.sqrt(39 / 40 * np.square(left_out - left_out.mean()).sum())
        self.assertAllClose(table["bits_per_dim"].standard_error, jackknife, rtol=0.05)

    def test_means_over_what_was_observed(self):
        x, mask = RANDOM.normal(size=(30, 4)).astype("f"), RANDOM.random((30, 4)) < 0.5
        networks = kvae.networks.mlp((4,), 2, hidden=())
        vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal("learned"))
        holes = {"x": np.where(mask, x, np.nan), "mask": mask}
        vae.adapt(holes)
        mean = (x * mask).sum(0) / mask.sum(0)
        self.assertAllClose(vae.likelihood.projection.bias, mean, rtol=1e-5)
        scale = math.sqrt((np.square(x - mean) * mask).sum() / mask.sum())
        expected = np.where(mask, stats.norm(mean, scale).logpdf(x), 0.0).sum(1)
        found = kvae.evaluate.independent_pixels(vae, holes, holes)
        self.assertAllClose(found.mean, expected.mean(), rtol=1e-5)
        labels = {"x": X, "condition": Y}
        self.assertAllClose(
            kvae.evaluate.independent_pixels(model(condition=3), labels, labels).mean,
            kvae.evaluate.independent_pixels(model(), X, X).mean,
        )
        pixels = kvae.evaluate.independent_pixels(model(), {"x": HOLES, "mask": MASK}, {"x": HOLES, "mask": MASK})
        p = ((X * MASK).sum(0) + 0.5) / (MASK.sum(0) + 1.0)
        by_hand = np.where(MASK, stats.bernoulli(p).logpmf(X), 0.0).sum((1, 2, 3))
        self.assertAllClose(pixels.mean, by_hand.mean(), rtol=1e-5)


class ErrorsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (MASK[:, :2], "has shape \\(40, 2, 4, 1\\), but it must have that of x, \\(40, 4, 4, 1\\)"),
        (MASK[:3], "must have that of x"),
        (MASK * 0.5, "is 1 where x was observed and 0 where it is missing, but its values range from 0.0 to 0.5"),
    )
    def test_masks(self, mask, message):
        vae = model()
        for call in (
            lambda: vae.fit({"x": X, "mask": mask}, verbose=0),
            lambda: vae.evaluate({"x": X, "mask": mask}, verbose=0),
            lambda: kvae.evaluate.log_likelihood(vae, {"x": X, "mask": mask}, samples=2),
            lambda: vae.encode(X, mask=mask),
            lambda: vae.impute(X, mask),
        ):
            with self.assertRaisesRegex(ValueError, message):
                call()
        if len(mask) == len(X):
            with self.assertRaisesRegex(ValueError, "The mask has shape|is 1 where x was observed and 0 where"):
                vae.fit(tf.data.Dataset.from_tensor_slices({"x": X, "mask": mask}).batch(40), verbose=0)
        self.assertEqual(int(vae.draws), 0)

    def test_missing_without_a_mask(self):
        vae = model()
        with self.assertRaisesRegex(ValueError, "Give a mask that is 0 where values are missing"):
            vae.fit(HOLES, verbose=0)
        seen = MASK.copy()
        at = tuple(np.argwhere(~MASK)[0])
        seen[at] = True
        for data in ({"x": HOLES, "mask": seen}, tf.data.Dataset.from_tensors({"x": HOLES, "mask": seen})):
            with self.assertRaisesRegex(ValueError, f"x\\[{', '.join(map(str, at))}\\] is nan"):
                vae.fit(data, verbose=0)

    def test_late_bad_batch(self):
        """Beyond the batches that are looked at, values outside the support are found only where they were observed."""
        x = np.where(MASK, X, 7.0).astype(np.float32)
        data = tf.data.Dataset.from_tensor_slices({"x": x, "mask": MASK}).batch(2)
        model().fit(data, verbose=0)
        wrong = MASK.copy()
        wrong[-1] = True
        with self.assertRaisesRegex(ValueError, "explains x in {0, 1}, but a batch held other values"):
            model().fit(tf.data.Dataset.from_tensor_slices({"x": x, "mask": wrong}).batch(2), verbose=0)

    def test_impute(self):
        vae = model()
        with self.assertRaisesRegex(ValueError, "samples must be at least 1, got 0"):
            vae.impute(X, MASK, samples=0)
        with self.assertRaisesRegex(ValueError, "'mean', 'point' or 'sample', got 'median'"):
            vae.impute(X, MASK, output="median")
        with self.assertRaisesRegex(ValueError, "explains x in {0, 1}, but x"):
            vae.impute(HOLES, np.ones_like(MASK))
        given = {"x": X, "mask": MASK}
        self.assertAllEqual(vae.impute(given, samples=5), vae.impute(X, MASK, samples=5))
        points = kvae.VAE(*NETWORKS["mlp"](), posterior="deterministic", objective=kvae.objectives.ELBO(beta=0))
        with self.assertRaisesRegex(ValueError, "impute needs a density"):
            points.impute(X, MASK)

    def test_networks(self):
        z, seen = keras.Input((2,), name="z"), keras.Input((2,), name="mask")
        decoder = keras.Model([z, seen], keras.layers.Add()([z, seen]))
        with self.assertRaisesRegex(ValueError, "decoder takes z and perhaps a condition"):
            kvae.VAE(NETWORKS["mlp"]()[0], decoder)
        x, seen = keras.Input((4,), name="x"), keras.Input((3,), name="mask")
        encoder = keras.Model([x, seen], keras.layers.Concatenate()([x, seen]))
        with self.assertRaisesRegex(ValueError, r"mask has shape \(3,\).*events of shape \(4,\)"):
            kvae.VAE(encoder, kvae.networks.mlp((4,), 2)[1])


if __name__ == "__main__":
    tf.test.main()
