"""A joint likelihood of groups of columns, against NumPy and SciPy, and against its parts."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

import kvae
from kvae.data.advice import advise
from kvae.data.column_supports import ColumnSupports
from kvae.likelihoods import Bernoulli, Categorical, Joint, LogNormal, Normal, Poisson
from kvae.numerics.columns import Columns, Order
from tests.conformance import JOINTS, examples, make_vae

COLUMNS = {"job": [3], "real": [0, 5], "times": [1], "counts": [4], "yes": [2]}
RANDOM = np.random.default_rng(0)


def table(n=60, seed=0) -> np.ndarray:
    return examples(JOINTS["joint"](), (6,), n, seed)


def trained(x) -> kvae.VAE:
    vae = make_vae(likelihood=JOINTS["joint"])
    vae.adapt(x)
    vae.fit(x, batch_size=20, epochs=3, verbose=0)
    return vae


@functools.cache
def fitted() -> kvae.VAE:
    """One model for the tests that only read it."""
    return trained(table())


class JointTest(tf.test.TestCase):
    def test_log_density_is_the_sum_of_scipys(self):
        """The parameters group by group along the last axis: 4 logits, 2 means, location and scale, rate, logit."""
        likelihood = JOINTS["joint"](project=False)
        likelihood.build((4 + 2 + 2 + 1 + 1,), (6,))
        parameters = RANDOM.normal(size=(9, 10)).astype(np.float32)
        x = table(9)
        p = likelihood.distribution(tf.constant(parameters))
        a = parameters.astype(np.float64)
        one = x.astype(np.float64)
        spread = 1e-3 + np.log1p(np.exp(a[:, 7]))
        each = {
            "job": np.log((np.exp(a[:, :4]) / np.exp(a[:, :4]).sum(1, keepdims=True))[range(9), x[:, 3].astype(int)]),
            "real": stats.norm.logpdf(one[:, [0, 5]], a[:, 4:6]).sum(1),
            "times": stats.norm.logpdf(np.log(one[:, 1]), a[:, 6], spread) - np.log(one[:, 1]),
            "counts": stats.poisson.logpmf(one[:, 4], np.exp(a[:, 8])),
            "yes": stats.bernoulli.logpmf(one[:, 2], 1.0 / (1.0 + np.exp(-a[:, 9]))),
        }
        self.assertAllClose(likelihood.log_prob(p, x), sum(each.values()), rtol=1e-5)
        for name, found in likelihood.log_prob_by_group(p, x).items():
            self.assertAllClose(found, each[name], rtol=2e-5, atol=2e-6, msg=name)
        mask = RANDOM.random((9, 6)) < 0.5
        found = likelihood.log_prob(p, x, mask)
        own = {name: mask[:, columns[0]] * each[name] for name, columns in COLUMNS.items() if name != "real"}
        own["real"] = (mask[:, [0, 5]] * stats.norm.logpdf(one[:, [0, 5]], a[:, 4:6])).sum(1)
        self.assertAllClose(found, sum(own.values()), rtol=1e-5, atol=1e-5)
        by_group = likelihood.log_prob_by_group(p, x, mask)
        for name in own:
            self.assertAllClose(by_group[name], own[name], rtol=2e-5, atol=2e-6, msg=name)

    def test_mean_variance_and_draws_are_in_their_columns(self):
        likelihood = JOINTS["joint"](project=False)
        likelihood.build((10,), (6,))
        row = np.array([0.1, 0.5, -0.3, 0.2, -1.0, 2.0, 0.3, -2.0, 1.2, 0.4], np.float32)
        n = 40_000
        p = likelihood.distribution(tf.constant(np.tile(row, (n, 1))))
        x = likelihood.draw(p, kvae.numerics.noise.uniform(1, 2, 0, n, 6)).numpy()
        self.assertFalse(likelihood.support.outside(x).any())
        error = np.abs(x.mean(0) - p.mean()[0].numpy()) / (x.std(0) / np.sqrt(n))
        self.assertLess(error.max(), 4.0)
        self.assertAllClose(x.std(0), p.stddev()[0].numpy(), rtol=0.03)
        probabilities = np.exp(row[:4]) / np.exp(row[:4]).sum()
        expected = [-1.0, np.exp(0.3 + (1e-3 + np.log1p(np.exp(-2.0))) ** 2 / 2), 1 / (1 + np.exp(-0.4))]
        self.assertAllClose(p.mean()[0], [*expected, probabilities @ np.arange(4), np.exp(1.2), 2.0], rtol=1e-5)

    def test_finite_at_the_ends(self):
        """Log-density and gradient at the ends of each column's support, parameters to +-30."""
        likelihood = JOINTS["joint"](project=False)
        likelihood.build((10,), (6,))
        for end in (np.maximum(likelihood.support.ends[0], -100.0), np.minimum(likelihood.support.ends[1], 1e6)):
            for sign in (-30.0, 0.0, 30.0):
                parameters = tf.constant(sign * np.ones((1, 10), np.float32) * np.resize([1, -1], 10))
                with tf.GradientTape() as tape:
                    tape.watch(parameters)
                    log_p = likelihood.log_prob(likelihood.distribution(parameters), end[None].astype(np.float32))
                self.assertTrue(np.isfinite(log_p.numpy()).all())
                self.assertTrue(np.isfinite(tape.gradient(log_p, parameters).numpy()).all())

    @pytest.mark.slow
    def test_one_group_is_its_likelihood(self):
        """Bit for bit: training, and what follows."""
        x = table()[:, [0, 5]]
        found = []
        for likelihood in (Normal("optimal", per="element"), Joint({"a": ([0, 1], Normal("optimal", per="element"))})):
            keras.utils.set_random_seed(0)
            vae = kvae.VAE(*kvae.networks.mlp((2,), 2, hidden=(4,)), likelihood=likelihood, seed=0)
            vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
            vae.adapt(x)
            logs = vae.fit(x, batch_size=20, epochs=3, verbose=0).history
            found.append((logs["loss"], vae.elbo(x, seed=1).numpy(), vae.sample(4, seed=2, output="sample").numpy()))
        for one, other in zip(*found, strict=True):
            self.assertAllEqual(one, other)

    def test_the_order_of_groups_and_columns_does_not_matter(self):
        """The same parameters of the same columns: the same density, whatever place they have."""
        parts = {"a": (3, Categorical(4)), "b": ((0, 1, 2), Normal(0.5))}
        orders = parts, {"b": ((2, 0, 1), parts["b"][1]), "a": parts["a"]}
        logits, m = RANDOM.normal(size=(5, 4)).astype(np.float32), RANDOM.normal(size=(5, 3)).astype(np.float32)
        x = np.concatenate([RANDOM.normal(size=(5, 3)), RANDOM.integers(0, 4, (5, 1))], 1).astype(np.float32)
        one, other = (Joint(order, project=False) for order in orders)
        for likelihood in (one, other):
            likelihood.build((7,), (4,))
        first = one.distribution(tf.concat([logits, m], 1)).log_prob(x)
        self.assertAllClose(first, other.distribution(tf.concat([m[:, [2, 0, 1]], logits], 1)).log_prob(x), rtol=1e-6)

    @pytest.mark.slow
    def test_groups_are_logged_and_estimated(self):
        """They add up to the reconstruction: in training, in evaluation, and in the estimates."""
        x = table()
        vae = make_vae(likelihood=JOINTS["joint"])
        history = vae.fit(x, batch_size=20, epochs=2, verbose=0).history
        logs = vae.evaluate(x, verbose=0, return_dict=True)
        for found in ({key: values[-1] for key, values in history.items()}, logs):
            parts = [found[f"reconstruction_{name}"] for name in COLUMNS]
            self.assertAllClose(sum(parts), found["reconstruction"], rtol=1e-5)
        rows = kvae.evaluate.summary(vae, x, samples=40)
        parts = [rows[f"reconstruction_{name}"] for name in COLUMNS]
        self.assertAllClose(sum(part.mean for part in parts), rows["reconstruction"].mean, rtol=1e-6)
        self.assertEqual([part.measure for part in parts], ["mass", "density", "density", "mass", "mass"])
        draws = [
            vae.likelihood.log_prob_by_group(vae.decode(vae.terms(x, samples=200, seed=s).z), x)["times"].numpy().mean()
            for s in range(10)
        ]
        error = np.hypot(np.std(draws) / np.sqrt(10), rows["reconstruction_times"].monte_carlo_error)
        self.assertLess(abs(np.mean(draws) - rows["reconstruction_times"].mean), 4 * error)
        few = kvae.evaluate.summary(vae, x, samples=40, chunk=7)["reconstruction_times"]
        self.assertAllClose(few.mean, rows["reconstruction_times"].mean, rtol=1e-6)
        self.assertAllClose(few.monte_carlo_error, rows["reconstruction_times"].monte_carlo_error, rtol=1e-4)

    @pytest.mark.slow
    def test_a_column_in_other_units(self):
        """c times the column: log p is lower by log c, exactly, after the same training."""
        x = table()
        scale = np.array([1000.0, 8.0, 1.0, 1.0, 1.0, 1e-3], np.float32)
        one, other = trained(x).elbo(x, seed=1).numpy(), trained(x * scale).elbo(x * scale, seed=1).numpy()
        self.assertAllClose(one - other, np.full(60, np.log(scale).sum()), atol=2e-3)

    def test_a_column_that_was_never_observed(self):
        """It changes no ELBO, no gradient of the other groups, and NaN there reaches nothing."""
        x = table()
        mask = np.ones(x.shape, np.float32)
        mask[:, 4] = 0.0
        vae = fitted()
        logs = []
        for value in (0.0, 7.0, np.nan):
            some = x.copy()
            some[:, 4] = value
            terms = vae.terms(some, mask=mask, seed=1)
            logs.append(terms.log_px_z.numpy())
        self.assertAllEqual(logs[0], logs[1])
        self.assertAllEqual(logs[0], logs[2])
        p = vae.decode(vae.terms(x, mask=mask, seed=1).z)
        self.assertAllEqual(vae.likelihood.log_prob_by_group(p, x, mask)["counts"], np.zeros((1, 60)))

    @pytest.mark.slow
    def test_imputed_values_are_in_their_supports(self):
        x = table()
        vae, mask = fitted(), np.random.default_rng(1).random(x.shape) < 0.6
        drawn = vae.impute(x, mask=mask, output="sample", samples=30, seed=0).numpy()
        self.assertAllEqual(np.where(mask, drawn, 0.0), np.where(mask, x, 0.0))
        self.assertFalse(vae.likelihood.support.outside(drawn).any())

    def test_the_baseline_is_that_of_the_parts(self):
        """Independent columns: each group's own baseline, added up."""
        x, y = table(), table(seed=5)
        vae = fitted()
        total = 0.0
        for columns, part in vae.likelihood.groups.values():
            alone = type(part).from_config(part.get_config() | {"name": None})
            one = kvae.VAE(*kvae.networks.mlp((len(columns),), 1, hidden=()), likelihood=alone)
            total += kvae.evaluate.independent_pixels(one, x[:, columns], y[:, columns]).mean
        self.assertAllClose(kvae.evaluate.independent_pixels(vae, x, y).mean, total, rtol=1e-6)

    @pytest.mark.slow
    def test_frozen_parts_stay_so_in_files(self):
        vae = trained(table())
        part = vae.likelihood.groups["times"][1]
        part.projection.trainable = False
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae.save(path)
        again = kvae.load_model(path)
        frozen = {name: not one.projection.trainable for name, (_, one) in again.likelihood.groups.items()}
        self.assertEqual(frozen, {name: name == "times" for name in COLUMNS})
        self.assertEqual(len(again.trainable_weights), len(vae.trainable_weights))

    def test_keras_meets_the_same_groups_again(self):
        """Keras counts containers by identity; that of a new one may be a gone one's, and its weights are passed by."""
        joint = JOINTS["joint"]()
        self.assertIs(joint.groups, joint.groups)
        self.assertEqual(list(joint.groups), list(joint.names))
        for (_, part), own in zip(joint.groups.values(), joint.parts, strict=True):
            self.assertIs(part, own)

    def test_project_false_survives_files(self):
        keras.utils.set_random_seed(0)
        encoder, _ = kvae.networks.mlp((6,), 3, hidden=(8,))
        decoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(10)])
        vae = kvae.VAE(encoder, decoder, likelihood=JOINTS["joint"](project=False), seed=0)
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae.save(path)
        x = table()
        self.assertAllEqual(kvae.load_model(path).terms(x, seed=1).log_px_z, vae.terms(x, seed=1).log_px_z)

    def test_measure_and_unit(self):
        self.assertEqual((JOINTS["joint"]().measure, JOINTS["joint"]().has_unit), ("density", True))
        self.assertEqual((JOINTS["joint_masses"]().measure, JOINTS["joint_masses"]().has_unit), ("mass", False))

    def test_the_encoder_sees_each_column_as_its_likelihood_says(self):
        x = table()
        vae = make_vae(likelihood=JOINTS["joint"])
        vae.adapt(x)
        one, seen = x.astype(np.float64), vae.likelihood.seen(tf.constant(x)).numpy()
        self.assertAllClose(seen[:, 3], one[:, 3] / 3.0, rtol=1e-6)
        self.assertAllEqual(seen[:, 2], x[:, 2])
        for column, t in ((0, one[:, 0]), (5, one[:, 5]), (1, np.log(one[:, 1])), (4, np.log1p(one[:, 4]))):
            self.assertAllClose(seen[:, column], (t - t.mean()) / t.std(), rtol=1e-4, atol=1e-5)
        mean = vae.likelihood.distribution(tf.zeros([1, 8])).mean()[0].numpy()  # features of zero
        self.assertAllClose(mean[[0, 2, 4, 5]], one.mean(axis=0)[[0, 2, 4, 5]], rtol=1e-4)


def test_a_value_outside_is_found_in_its_group():
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=()), likelihood=JOINTS["joint"]())
    for column, value, words in (
        (3, 4.0, r"Group 'job' of Joint explains x in the integers 0..3, but x\[7, 3\] is 4.0"),
        (4, -1.0, r"Group 'counts' of Joint explains x in the integers 0, 1, 2, ..., but x\[7, 4\] is -1.0"),
        (
            1,
            0.0,
            r"Group 'times' of Joint explains x in the positive numbers, but x\[7, 1\] is 0.0 .* no logarithm of 0",
        ),
        (5, np.inf, r"Group 'real' of Joint explains x in the real numbers, but x\[7, 5\] is inf"),
    ):
        x = table()
        x[7, column] = value
        for method in (vae.encode, vae.elbo):
            with pytest.raises(ValueError, match=words):
                method(x)


def test_supports_agree_with_each_columns_own():
    supports, x = JOINTS["joint"]().support, np.array([0.5, -1.0, 3.0, 2.0, 1e14, np.nan])
    x = np.stack(np.broadcast_arrays(x[:, None], np.zeros((6, 6))), 0)[0]
    expected = np.zeros(x.shape, bool)
    for columns, one in supports.groups.values():
        expected[:, columns] = one.outside(x[:, columns])
    np.testing.assert_array_equal(supports.outside(x), expected)
    np.testing.assert_array_equal(supports.outside(tf.constant(x, tf.float32)), expected)
    for row in range(6):
        assert supports.contains(x[row : row + 1]) == (not expected[row].any())
        assert supports.contains(x[row : row + 1], ~expected[row : row + 1])


def built(likelihood, columns):
    """Without a model."""
    likelihood.build((3,), (columns,))
    return likelihood


def test_advice_is_given_group_by_group():
    """The reals of group 'real' are far from unit size; those of other groups are not named."""
    x = table()
    x[:, 5] *= 1e5
    with pytest.warns(UserWarning, match=r"Elements of x have sizes from .* Call vae.adapt\(x\) before fit"):
        advise(kvae.data.Split(x), built(JOINTS["joint"](), 6))


def test_advice_has_the_columns_of_x():
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    x[:, 3] = x[:, 3] > 0
    likelihood = built(Joint({"a": ((0, 4), Normal()), "b": ((1, 2, 3), Normal())}), 5)
    with pytest.warns(UserWarning, match=r"The columns \[3\] hold only 0 and 1. .* a Bernoulli\(\) of their own by"):
        advise(kvae.data.Split(x), likelihood)


def test_columns_in_a_graph():
    """With an open batch, and by XLA: the same numbers."""
    order = Order([[2, 0], [1]])

    def log_prob(m, logits, x):
        return Columns([tfd.Normal(m, 1.0), tfd.Bernoulli(logits)], order).log_prob(x)

    m, logits = RANDOM.normal(size=(4, 2)).astype(np.float32), RANDOM.normal(size=(4, 1)).astype(np.float32)
    x = np.concatenate([RANDOM.normal(size=(4, 1)), RANDOM.integers(0, 2, (4, 1)), RANDOM.normal(size=(4, 1))], 1)
    x = x.astype(np.float32)
    expected = np.stack(
        [
            stats.norm.logpdf(x[:, 0], m[:, 1]),
            stats.bernoulli.logpmf(x[:, 1], 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))),
            stats.norm.logpdf(x[:, 2], m[:, 0]),
        ],
        axis=1,
    )
    spec = [tf.TensorSpec([None, n], tf.float32) for n in (2, 1, 3)]
    for jit in (False, True):
        found = tf.function(log_prob, input_signature=spec, jit_compile=jit)(m, logits, x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    p = Columns([tfd.Normal(m, 1.0), tfd.Bernoulli(logits)], order)
    assert p.batch_shape == (4, 3) and list(p.batch_shape_tensor()) == [4, 3]
    assert p.sample(2).shape == p.sample(2, seed=3).shape == (2, 4, 3)
    drawn = p.sample(20_000, seed=[1, 2]).numpy()
    error = np.abs(drawn.mean(0) - p.mean().numpy()) / (drawn.std(0) / np.sqrt(20_000))
    assert error.max() < 4.0


def test_groups_are_checked():
    assert ColumnSupports({"a": ((1, 0), Bernoulli().support)}).name == "a: {0, 1}"
    for groups, words in (
        ({"a": (0, Normal()), "b": ((0, 1), Poisson())}, r"must be in one group of Joint, but .* \[0, 0, 1\]"),
        ({"a": (1, LogNormal())}, r"must be in one group of Joint, but .* \[1\]. Number them 0, 1, 2"),
    ):
        with pytest.raises(ValueError, match=words):
            Joint(groups)
