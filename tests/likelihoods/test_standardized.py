"""What the encoder sees of numbers with a unit."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from tensorflow_probability import distributions as tfd

import kvae
from kvae.data.support import Support
from kvae.likelihoods.standardized import Standardized
from tests.conformance import NETWORKS

POSITIVE = Support("the positive numbers", 1e-30)._replace(low=0.0)
COUNTS = Support("counts", 0.0, integer=True)
KINDS = {  # name: (support, t, its inverse)
    "real": (kvae.data.REAL, lambda x: x, lambda y: y),
    "positive": (POSITIVE, np.log, np.exp),
    "counts": (COUNTS, np.log1p, np.expm1),
    "levels": (Support("0..7", 0.0, 7.0, integer=True), lambda x: x / 7.0, lambda y: 7.0 * y),
    "between": (Support("[-1, 3]", -1.0, 3.0), lambda x: (x + 1.0) / 4.0, lambda y: 4.0 * y - 1.0),
}


@keras.saving.register_keras_serializable("tests")
class Unit(Standardized):
    """A unit normal of t(x), which is not normalised for x; enough to look at units."""

    measure = "density"

    def __init__(self, kind="real", **options):
        super().__init__(**options)
        self.kind, self.support = kind, KINDS[kind][0]

    def get_config(self):
        return super().get_config() | {"kind": self.kind}

    def distribution(self, features):
        return self._independent(tfd.Normal(self._event(features)[0], 1.0))

    def draw(self, p, uniform):
        return p.distribution.quantile(uniform)

    def matching(self, mean):
        return mean


def data(shape=(6,), n=40, seed=0) -> np.ndarray:
    """Whole numbers from 1 to 6, of another mean in each element."""
    random = np.random.default_rng(seed)
    return random.integers(1, np.resize([4, 7], shape), size=(n, *shape)).astype(np.float32)


def model(kind, network="mlp", seed=0, **options) -> kvae.VAE:
    shape, networks = NETWORKS[network]
    keras.utils.set_random_seed(seed)
    return kvae.VAE(*networks(shape), likelihood=Unit(kind, **options))


class StandardizedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*KINDS)
    def test_what_the_encoder_sees(self, kind):
        """(t(x) - center) / spread: t(x) before `adapt`, of mean 0 and spread 1 after it; also from a file."""
        _, t, inverse = KINDS[kind]
        vae, x = model(kind), data() - (3.0 if kind == "between" else 0.0) * (data() > 3)
        self.assertAllClose(vae.likelihood.seen(x), t(x), rtol=1e-6)
        vae.adapt(x)
        y = t(x.astype(np.float64))
        self.assertAllClose(vae.likelihood.center, y.mean(axis=0), rtol=1e-6)
        self.assertAllClose(vae.likelihood.spread, y.std(axis=0), rtol=1e-6)
        self.assertAllClose(vae.likelihood.seen(x), (y - y.mean(axis=0)) / y.std(axis=0), rtol=1e-5, atol=1e-5)
        self.assertAllClose(vae.likelihood.neutral, inverse(y.mean(axis=0)), rtol=1e-5)
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae.save(path)
        self.assertAllEqual(kvae.load_model(path).encode(x).mean(), vae.encode(x).mean())

    def test_the_code_does_not_know_the_unit(self):
        """A column in another unit, with an offset, gives the same codes after `adapt`."""
        x = data()
        codes = []
        for factor, offset in ((1.0, 0.0), (8.0, 0.0), (1.0, 4096.0), (0.25, -32.0)):
            vae = model("real")
            vae.adapt(factor * x + offset)
            codes.append(vae.encode(factor * x + offset).mean())
        for other in codes[1:]:
            self.assertAllClose(other, codes[0], rtol=1e-3, atol=1e-3)
        self.assertGreater(np.ptp(codes[0]), 0.1)

    def test_places_that_are_projected_alike_have_one_unit(self):
        vae, x = model("real", "conv_odd"), data((7, 5, 2))
        vae.adapt(x)
        self.assertEqual(tuple(vae.likelihood.center.shape), (2,))
        self.assertAllClose(vae.likelihood.center, x.mean(axis=(0, 1, 2)), rtol=1e-6)
        self.assertAllClose(vae.likelihood.spread, x.std(axis=(0, 1, 2)), rtol=1e-5)

    def test_masks_constants_and_what_was_never_observed(self):
        vae, x = model("positive"), data()
        mask = np.random.default_rng(1).random(x.shape) < 0.6
        x[:, 1], mask[:, 2] = 0.1, False
        vae.adapt({"x": np.where(mask, x, np.nan), "mask": mask})
        for j in (0, 3, 4, 5):
            seen = np.log(x[mask[:, j], j])
            self.assertAllClose(vae.likelihood.center[j], seen.mean(), rtol=1e-5)
            self.assertAllClose(vae.likelihood.spread[j], seen.std(), rtol=1e-5)
        self.assertAllClose(vae.likelihood.center[1:3], [np.log(0.1), 0.0], rtol=1e-6)
        self.assertAllEqual(vae.likelihood.spread[1:3], [1.0, 1.0])
        with_mask = vae.encode({"x": np.where(mask, x, np.nan), "mask": mask}).mean()
        self.assertAllClose(with_mask, vae.encode(np.where(mask, x, vae.likelihood.neutral)).mean(), rtol=1e-6)

    def test_without_a_projection(self):
        """`adapt` sets the unit alone."""
        networks = kvae.networks.mlp((6,), 2, hidden=(6,))
        vae, x = kvae.VAE(*networks, likelihood=Unit(project=False)), data()
        vae.adapt(x)
        self.assertAllClose(vae.likelihood.center, x.mean(axis=0), rtol=1e-6)


if __name__ == "__main__":
    tf.test.main()
