"""Errors of imputation as HI-VAE defines them, and what they are compared with."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import stats

import kvae
from kvae.evaluate import imputers
from kvae.evaluate.imputation import column_errors, columns_of
from kvae.evaluate.imputers import Column

W = np.array([[1.0, -0.5], [0.3, 0.8], [-0.7, 0.2], [0.1, 0.1], [0.9, 0.4]])
M = np.array([0.5, -1.0, 0.2, 0.0, 2.0])
S = 0.4
SEEN = np.array([True, False, True, True, False])


def exact() -> kvae.VAE:
    """x = W z + M + S eps, with the exact q(z|x_o) for the one pattern of holes `SEEN`."""
    networks = kvae.networks.mlp((5,), 2, hidden=())
    likelihood = kvae.likelihoods.Normal(scale=S)
    vae = kvae.VAE(*networks, posterior="full_normal", likelihood=likelihood)
    likelihood.projection.set_weights([W.T, M])
    w = W[SEEN]
    covariance = np.linalg.inv(np.eye(2) + w.T @ w / S**2)
    kernel = np.zeros((5, 2))
    kernel[SEEN] = w @ covariance / S**2
    factor = np.linalg.cholesky(covariance)
    raw = factor.copy()
    raw[[0, 1], [0, 1]] = np.log(np.expm1(np.diag(factor) - vae.posterior.floor))
    order = [raw[1, 1], raw[1, 0], raw[0, 0]]  # of `tfp.math.fill_triangular`
    bias = np.concatenate([-M @ kernel, order])
    vae.posterior.projection.set_weights([np.concatenate([kernel, np.zeros((5, 3))], axis=1), bias])
    return vae


class LinearTest(tf.test.TestCase):
    """A linear VAE with holes is probabilistic PCA with missing values."""

    def setUp(self):
        super().setUp()
        random = np.random.default_rng(1)
        self.x = (random.normal(size=(9, 2)) @ W.T + M + S * random.normal(size=(9, 5))).astype(np.float32)
        self.mask = np.tile(SEEN, (9, 1))
        self.covariance = W @ W.T + S**2 * np.eye(5)

    def test_the_order_of_the_factor(self):
        vae = exact()
        w = W[SEEN]
        expected = np.linalg.inv(np.eye(2) + w.T @ w / S**2)
        self.assertAllClose(vae.encode(self.x, mask=self.mask).covariance()[0], expected, rtol=1e-4)

    def test_log_p_of_what_was_observed(self):
        """By one draw already: with the exact posterior all weights are p(x_o)."""
        marginal = stats.multivariate_normal(M[SEEN], self.covariance[np.ix_(SEEN, SEEN)])
        expected = marginal.logpdf(self.x[:, SEEN])
        for samples in (1, 20):
            found = kvae.evaluate.log_likelihood_per_example(exact(), {"x": self.x, "mask": self.mask}, samples)
            self.assertAllClose(found.log_likelihood, expected, rtol=1e-5, atol=2e-5)

    def test_conditional_means_are_those_of_the_regression(self):
        gain = self.covariance[np.ix_(~SEEN, SEEN)] @ np.linalg.inv(self.covariance[np.ix_(SEEN, SEEN)])
        expected = M[~SEEN] + (self.x[:, SEEN] - M[SEEN]) @ gain.T
        vae = exact()
        self.assertAllClose(vae.reconstruct(self.x, mask=self.mask).numpy()[:, ~SEEN], expected, rtol=1e-5, atol=1e-5)
        gaussian = kvae.evaluate.Gaussian(M, self.covariance)
        self.assertAllClose(gaussian.impute(self.x, self.mask)[:, ~SEEN], expected, rtol=1e-5, atol=1e-5)
        draws = 4000
        filled = vae.impute(self.x, self.mask, samples=draws, output="point").numpy()[:, ~SEEN]
        error = np.sqrt(np.diag(W[~SEEN] @ np.linalg.inv(np.eye(2) + W[SEEN].T @ W[SEEN] / S**2) @ W[~SEEN].T) / draws)
        self.assertAllInRange((filled - expected) / error, -4.0, 4.0)


COLUMNS = [
    Column("a", "real", 0), Column("b", "positive", 0), Column("n", "count", 0), Column("t", "binary", 2),
    Column("c", "categorical", 3), Column("o", "ordinal", 5),
]  # fmt: skip
X = np.array([
    [0.0, 1.0, 0.0, 1.0, 2.0, 4.0],
    [2.0, 3.0, 4.0, 0.0, 1.0, 0.0],
    [4.0, 9.0, 2.0, 1.0, 0.0, 2.0],
    [1.0, 5.0, 6.0, 1.0, 0.0, 1.0],
])  # fmt: skip
FILLED = X + np.array([
    [1.0, 0.0, 3.0, 0.0, -1.0, -2.0],
    [2.0, 0.0, 0.0, 1.0, 0.0, 1.0],
    [9.0, 9.0, 9.0, 9.0, 9.0, 9.0],
    [0.0, 4.0, 1.0, 0.0, 0.0, 0.0],
])  # fmt: skip


class ErrorsTest(tf.test.TestCase):
    def test_by_hand(self):
        """As HI-VAE's `error_computation`: over missing cells, the width that of the whole column."""
        hidden = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1], [0] * 6, [0, 1, 0, 0, 1, 1]], bool)
        found = column_errors(X, np.ones_like(hidden), hidden, FILLED, COLUMNS)
        expected = [np.sqrt(2.5) / 4, np.sqrt(16 / 3) / 8, 3 / 6, 1 / 2, 1 / 3, (2 + 1 + 0) / 3 / 5]
        self.assertAllClose(found, expected)

    def test_nothing_hidden_of_a_column(self):
        hidden = np.zeros(X.shape, bool)
        hidden[:, 0] = True
        found = column_errors(X, np.ones_like(hidden), hidden, FILLED, COLUMNS)
        self.assertAllEqual(np.isnan(found), [False, True, True, True, True, True])

    def test_kinds_of_a_joint_and_of_plain_likelihoods(self):
        frame = pd.DataFrame(X, columns=[column.name for column in COLUMNS])
        kinds = {column.name: column.kind for column in COLUMNS}
        made = kvae.data.table(frame.astype(int), kinds | {"o": range(5)})
        vae = kvae.VAE(*kvae.networks.mlp((6,), 1, hidden=()), likelihood=made.likelihood())
        self.assertEqual(columns_of(vae.likelihood), COLUMNS)
        grades = kvae.VAE(*kvae.networks.mlp((2,), 1, hidden=()), likelihood=kvae.likelihoods.Ordinal(4))
        self.assertEqual(columns_of(grades.likelihood), [Column("0", "ordinal", 4), Column("1", "ordinal", 4)])

    def test_means(self):
        holes = np.where(np.eye(4, 6, dtype=bool), np.nan, X)
        found = imputers.mean(holes, COLUMNS, 0)[0]
        rest = [X[1:, 0].mean(), X[[0, 2, 3], 1].mean(), np.rint(X[[0, 1, 3], 2].mean()), 1.0, 0.0, 1.0]
        self.assertAllClose(found, rest)

    def test_one_gaussian_is_the_regression(self):
        """Of real columns; of classes what their indicators say."""
        random = np.random.default_rng(0)
        x = random.normal(size=(300, 1)) + 0.5 * random.normal(size=(300, 4))
        mask = random.random(x.shape) < 0.7
        columns = [Column(str(i), "real", 0) for i in range(4)]
        found = imputers.gaussian(np.where(mask, x, np.nan), columns, 0)
        ridge = 1e-6 * np.nanvar(np.where(mask, x, np.nan), axis=0)
        expected = kvae.evaluate.Gaussian.fit({"x": x, "mask": mask}, ridge, tolerance=1e-5).impute(x, mask)
        self.assertAllClose(found, expected, atol=1e-6)
        label = (x[:, 0] > 0.5).astype(float) + (x[:, 0] > -0.5)
        mixed = np.column_stack([x, np.where(random.random(300) < 0.5, label, np.nan)])
        hidden = np.isnan(mixed[:, 4])
        for method in (imputers.gaussian, imputers.iterative):
            filled = method(mixed, [*columns, Column("c", "categorical", 3)], 0)
            self.assertTrue(np.isin(filled[:, 4], [0.0, 1.0, 2.0]).all())
            self.assertAllEqual(filled[~hidden, 4], label[~hidden])
            self.assertGreater((filled[hidden, 4] == label[hidden]).mean(), 0.65)

    def test_a_column_without_a_value(self):
        x = np.random.default_rng(0).normal(size=(30, 3))
        x[:, 1] = np.nan
        columns = [Column(str(i), "real", 0) for i in range(3)]
        for method in imputers.IMPUTERS.values():
            found = method(x, columns, 0)
            self.assertTrue(np.isnan(found[:, 1]).all())
            expected = np.tile(x.mean(axis=0), (30, 1)) if method is imputers.mean else x
            self.assertAllClose(found[:, [0, 2]], expected[:, [0, 2]])


class ImputationTest(tf.test.TestCase):
    def test_a_model_beside_the_others(self):
        random = np.random.default_rng(2)
        z = random.normal(size=(200, 1))
        frame = pd.DataFrame(z + 0.3 * random.normal(size=(200, 3)), columns=["a", "b", "c"])
        frame["label"] = np.where(z[:, 0] > 0.0, "up", "down")
        frame.iloc[:20, 0] = np.nan
        made = kvae.data.table(frame)
        train = made.data.hide(0.3)
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp((4,), 1, hidden=(16,), mask=True)
        vae = kvae.VAE(*networks, likelihood=made.likelihood())
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        vae.adapt(train)
        stop = kvae.callbacks.HeldOutCells(made.data, train.mask, every=5, patience=3)
        logs = vae.fit(train, epochs=200, verbose=0, callbacks=[stop]).history
        found = kvae.evaluate.imputation(vae, made.data, train.mask, samples=100)
        self.assertEqual(list(found.error), ["vae", "mean", "gaussian", "iterative"])
        self.assertEqual(found.cells, int((made.mask & ~train.mask).sum()))
        self.assertEqual(list(found.kinds["vae"]), ["real", "binary"])
        self.assertLess(found.error["vae"], 0.7 * found.error["mean"])
        self.assertLess(found.error["vae"], 1.2 * found.error["gaussian"])
        self.assertAllClose(found.error["vae"], min(logs["imputation_error"]), rtol=1e-6)  # the best weights are back
        self.assertEqual(stop.best, min(logs["imputation_error"]))
        self.assertEqual(stop.best_epoch, 5 * (1 + int(np.argmin(logs["imputation_error"]))))
        self.assertLess(len(logs["loss"]), 200)
        filled = vae.impute(made.data.x, train.mask, samples=100, output="point").numpy()
        hidden = made.mask & ~train.mask
        by_hand = np.sqrt(np.mean((filled - made.values)[hidden[:, 1], 1] ** 2)) / np.ptp(made.values[:, 1])
        self.assertAllClose(found.columns["vae"]["b"], by_hand, rtol=1e-4)
        lines = str(found).splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["vae", "real", "binary", "mean"])
