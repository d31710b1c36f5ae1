"""A normal likelihood with a scale for each column or channel, in the units of the data."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats
from tensorflow_probability import distributions as tfd

import kvae
from tests.conformance import NETWORKS, make_vae

UNITS = np.array([1e-3, 0.2, 1.0, 7.0, 300.0, 2e4])


def table(n=200, seed=0) -> np.ndarray:
    """Six columns that have two factors in common, of unlike spreads and offsets, float32."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 2)) @ random.normal(size=(2, 6)) + 0.3 * random.normal(size=(n, 6)) + 1.0
    return (UNITS * x).astype(np.float32)


def model(scale="optimal", per="element", network="mlp", **options) -> kvae.VAE:
    return make_vae(network, likelihood=lambda: kvae.likelihoods.Normal(scale, per=per, **options))


def assigned(weight, value) -> np.ndarray:
    """What a weight holds of a value, as float64."""
    weight.assign(value)
    return np.asarray(weight, np.float64)


class UnitScalesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(scale=["optimal", "learned", "local", 0.3], per=["channel", "element"])
    def test_density(self, scale, per):
        """scipy's normal of mean center + spread m and scale spread s; mean, spread and draws of it."""
        shape = (3, 2, 2)
        likelihood = kvae.likelihoods.Normal(scale, per=per, project=False)
        likelihood.build(feature_shape=(likelihood.per_element * 12,), event_shape=shape)
        random = np.random.default_rng(0)
        unit = shape[-1:] if per == "channel" else shape
        center, spread = 50.0 * random.normal(size=unit), np.exp(3.0 * random.normal(size=unit))
        center, spread = assigned(likelihood.center, center), assigned(likelihood.spread, spread)
        s = 1.0
        if scale == "optimal":
            s = np.sqrt(assigned(likelihood.mean_square, np.exp(random.normal(size=unit))))
        elif scale == "learned":
            s = 1e-3 + np.logaddexp(0.0, assigned(likelihood.raw_scale, random.normal(size=unit)))
        elif scale == 0.3:
            s = 0.3
        features = random.normal(size=(5, likelihood.per_element * 12)).astype(np.float32)
        m = features[:, :12].reshape(5, *shape)
        if scale == "local":
            s = 1e-3 + np.logaddexp(0.0, features[:, 12:]).reshape(5, *shape)
        p = likelihood.distribution(tf.constant(features))
        x = (center + spread * (m + random.normal(size=m.shape))).astype(np.float32)
        expected = stats.norm(center + spread * m, spread * s)
        self.assertAllClose(p.log_prob(x), expected.logpdf(x).sum(axis=(1, 2, 3)), rtol=1e-5)
        self.assertAllClose(p.mean(), expected.mean(), rtol=1e-5)
        self.assertAllClose(p.stddev(), np.broadcast_to(expected.std(), m.shape), rtol=1e-5)
        uniform = random.uniform(size=m.shape).astype(np.float32)
        self.assertAllClose(likelihood.draw(p, tf.constant(uniform)), expected.ppf(uniform), rtol=1e-4, atol=1e-4)

    @parameterized.parameters("optimal", "learned", "local", 0.5)
    def test_another_unit(self, scale):
        """A column c times as large lowers log p by log c."""
        x, z = table(), np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
        for c in (np.ones(6), np.array([1e3, 0.3, 7.0, 1.0, 9.81, 1e-3])):
            vae, scaled = model(scale), (c * x).astype(np.float32)
            vae.adapt(scaled)
            found = vae.decode(z).distribution.log_prob(scaled).numpy() + np.log(c)
            code = vae.encode(scaled).mean()
            if (c == 1.0).all():
                expected, expected_code = found, code
        self.assertAllClose(found, expected, rtol=1e-5, atol=1e-5)
        self.assertAllClose(code, expected_code, rtol=1e-4, atol=1e-4)

    def test_another_unit_in_training(self):
        """By powers of two, which float32 holds exactly, training goes the same way."""
        c, x = 2.0 ** np.array([3, -2, 10, -10, 0, 2]), table()
        one, other = model(), model()
        for vae, data in ((one, x), (other, (c * x).astype(np.float32))):
            vae.adapt(data)
            vae.fit(data, batch_size=50, epochs=3, verbose=0)
        self.assertAllClose(one.likelihood.mean_square, other.likelihood.mean_square, rtol=1e-5)
        elbo = other.elbo((c * x).astype(np.float32), seed=1)
        self.assertAllClose(one.elbo(x, seed=1) - np.log(c).sum(), elbo, rtol=1e-5)

    def test_far_from_zero(self):
        """Columns around 1e6 of spread 1: log p is that of float64, but for the digits x has."""
        random = np.random.default_rng(0)
        x = (1e6 + random.normal(size=(50, 6))).astype(np.float32)
        vae = model("learned")
        vae.adapt(x)
        likelihood, m = vae.likelihood, random.normal(size=(50, 6)).astype(np.float32)
        p = likelihood._in_units(tfd.Normal(m, 0.5))
        center, spread = (np.asarray(w, np.float64) for w in (likelihood.center, likelihood.spread))
        expected = stats.norm.logpdf(x.astype(np.float64), center + spread * m, 0.5 * spread)
        self.assertAllClose(p.log_prob(x), expected, rtol=1e-5, atol=1e-5)
        self.assertAllClose(spread, x.astype(np.float64).std(axis=0), rtol=1e-6)

    @parameterized.parameters("channel", "element")
    def test_optimal_by_hand(self, per):
        """The batch's error of each element, with weights, masks and two draws, and the moving average over batches."""
        shape, random = NETWORKS["mlp_image"][0], np.random.default_rng(0)
        likelihood = kvae.likelihoods.Normal("optimal", momentum=0.6, per=per, project=False)
        likelihood.build(feature_shape=(12,), event_shape=shape)
        unit = shape[-1:] if per == "channel" else shape
        axes = (0, 1, 2) if per == "channel" else (0,)
        center = assigned(likelihood.center, random.normal(size=unit))
        spread = assigned(likelihood.spread, np.exp(random.normal(size=unit)))
        average, updates = np.ones(unit), np.zeros(unit)
        for _ in range(6):
            x, weight = random.normal(size=(8, *shape)), random.integers(0, 3, size=8) * 0.5
            mask = random.random((8, *shape)) < 0.5
            mask[:, 0, 0, 0] = False
            m = random.normal(size=(2, 8, *shape))
            p = likelihood.distribution(tf.constant(m.reshape(2, 8, 12), tf.float32))
            p = likelihood.calibrated(*(tf.constant(a, tf.float32) for a in (x,)), p, tf.constant(weight), mask)
            each = weight[:, None, None, None] * mask
            square = np.square((x - center) / spread - m).mean(axis=0)
            total, seen = each.sum(axis=axes), (each.max(axis=axes[1:]) > 0).sum(axis=0)
            now = (each * square).sum(axis=axes) / np.where(total > 0, total, 1.0)
            keep = np.where(total > 0, np.minimum(0.6, updates / (updates + 1.0)), 1.0)
            average, updates = keep * average + (1.0 - keep) * now, updates + (total > 0)
            self.assertAllClose(likelihood.mean_square, average, rtol=1e-5)
            self.assertAllEqual(likelihood.updates, updates)
            scale = spread * np.sqrt(np.where(seen < 2, average, now))
            self.assertAllClose(p.stddev()[0, 0], np.broadcast_to(scale, shape), rtol=1e-5)

    @parameterized.product(scale=["optimal", "learned", "local", 2.0], network=["mlp", "mlp_image"])
    def test_independent_pixels(self, scale, network):
        """Each element's mean and standard deviation, or each channel's of the residuals, of what was observed."""
        shape, random = NETWORKS[network][0], np.random.default_rng(0)
        per = "element" if network == "mlp" else "channel"
        units = np.resize(UNITS if network == "mlp" else [0.1, 20.0], shape)
        x = (units * (random.normal(size=(80, *shape)) + 3.0)).astype(np.float32)
        mask = random.random(x.shape) < 0.8
        holed = np.ma.masked_array(x.astype(np.float64), ~mask)
        mean = np.asarray(holed[:60].mean(axis=0))
        square = np.square(holed[:60] - mean)
        spread = np.sqrt(square.mean(axis=0 if per == "element" or scale == "local" else (0, 1, 2)))
        if scale == 2.0:  # one number in units of the spread, to which all places of a channel count alike: fitted, too
            axes = () if per == "element" else (0, 1)
            total = np.asarray(np.square(holed[:60] - mean.mean(axis=axes)).mean(axis=0)).mean(axis=axes)
            spread = np.sqrt(total * np.mean(np.asarray(spread) ** 2 / total))
        expected = np.ma.masked_array(stats.norm.logpdf(holed.data, mean, spread), ~mask)[60:]
        data = [{"x": np.where(mask, x, np.nan)[rows], "mask": mask[rows]} for rows in (slice(60), slice(60, 80))]
        found = kvae.evaluate.independent_pixels(model(scale, per, network), *data)
        self.assertAllClose(found.mean, expected.reshape(20, -1).sum(axis=1).mean(), rtol=1e-5)

    def test_every_column_counts(self):
        """On a raw table: one scale for all neglects the small columns, one for each explains all of them."""
        x, r2 = table() / np.float32(30.0), {}
        for per in ("all", "element"):
            vae = model(per=per)
            vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
            vae.adapt(x)
            vae.fit(x, batch_size=50, epochs=60, verbose=0)
            r2[per] = 1.0 - np.square(x - vae.reconstruct(x).numpy()).mean(axis=0) / x.var(axis=0)
        self.assertLess(r2["all"].min(), 0.1)
        self.assertGreater(r2["element"].min(), 0.6)


if __name__ == "__main__":
    tf.test.main()
