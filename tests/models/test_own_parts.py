"""Parts of a user's own, as CONTRIBUTING.md writes them: the code is taken from there, into a module of its own."""

import importlib.util
import math
import pathlib
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import kvae

ROOT = pathlib.Path(__file__).resolve().parents[2]
X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


class OwnPartsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL)
        path = pathlib.Path(tf.compat.v1.test.get_temp_dir(), "mine.py")
        path.write_text(code)
        spec = importlib.util.spec_from_file_location("mine", path)
        cls.mine = sys.modules["mine"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(cls.mine)
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp((4,), 2, hidden=(8,))
        parts = {"likelihood": cls.mine.Laplace(), "posterior": cls.mine.UnitNormal(), "prior": cls.mine.TwoHills()}
        cls.vae = kvae.VAE(*networks, **parts)
        cls.vae.adapt(X)
        cls.vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        cls.history = cls.vae.fit(X, epochs=40, verbose=0).history

    @classmethod
    def tearDownClass(cls):
        del sys.modules["mine"]
        super().tearDownClass()

    def test_it_trains_on_the_terms_of_scipy(self):
        self.assertGreater(self.history["elbo"][-1], self.history["elbo"][0] + 0.5)
        terms = self.vae.terms(X, samples=3, seed=1)
        p = self.vae.decode(terms.z).distribution
        log_px_z = stats.laplace(p.loc.numpy(), p.scale.numpy()).logpdf(X).sum(-1)
        self.assertAllClose(terms.log_px_z, log_px_z, rtol=1e-4)
        z = terms.z.numpy().astype(np.float64)
        hills = [stats.norm(center, 0.5).logpdf(z).sum(-1) for center in (-1.0, 1.0)]
        self.assertAllClose(terms.log_pz, np.logaddexp(*hills) - math.log(2.0), rtol=1e-4)
        self.assertAllClose(terms.log_qz_x, stats.norm(self.vae.encode(X).mean().numpy()).logpdf(z).sum(-1), rtol=1e-4)
        self.assertIsNone(terms.kl)

    def test_both_parameters_are_learned(self):
        """Of columns with scales of their own: the best scale of a Laplace density is its mean absolute error."""
        random = np.random.default_rng(1)
        wide = (random.laplace(size=(400, 4)) * [0.2, 1.0, 2.0, 4.0]).astype(np.float32)
        vae = kvae.VAE(*kvae.networks.mlp((4,), 1, hidden=()), likelihood=self.mine.Laplace())
        rate = keras.optimizers.schedules.CosineDecay(0.1, 1300)
        vae.compile(keras.optimizers.Adam(rate), jit_compile=False)
        vae.fit(wide, epochs=100, verbose=0)
        p = vae.decode(vae.terms(wide, samples=20).z).distribution
        errors = np.abs(wide - p.loc.numpy()) / p.scale.numpy()
        self.assertAllInRange(errors.mean(axis=(0, 1)), 0.9, 1.1)

    def test_samples_are_the_priors_and_the_likelihoods(self):
        z = self.vae.prior_draws(20_000, seed=3).numpy()
        error = np.sqrt(np.array([1.25, 1.25]) / len(z))
        self.assertAllInRange(z.mean(0) / error, -4.0, 4.0)
        self.assertAllClose((np.square(z)).mean(0), [1.25, 1.25], rtol=0.05)  # 1 between the hills, 1/4 within
        p = self.vae.decode(np.zeros((1, 2), np.float32)).distribution
        uniform = kvae.numerics.noise.uniform(0, 1, 0, 20_000, 4)
        x = self.vae.likelihood.draw(self.vae.decode(np.zeros((1, 2), np.float32)), uniform).numpy()
        for j in range(4):
            law = stats.laplace(float(p.loc[0, j]), float(p.scale[0, j]))
            self.assertGreater(stats.kstest(x[:, j], law.cdf).pvalue, 1e-4)
        self.assertEqual(self.vae.sample(5, seed=1, output="sample").shape, (5, 4))

    def check_chains(self, start):
        """Importance sampling and annealed chains agree."""
        expected = kvae.evaluate.log_likelihood(self.vae, X[:6], samples=5000)
        found = kvae.evaluate.ais(self.vae, X[:6], steps=50, chains=32, start=start)
        error = math.hypot(found.monte_carlo_error, expected.monte_carlo_error)
        self.assertLess(abs(found.mean - expected.mean), 4 * error)

    @pytest.mark.slow
    def test_it_is_evaluated_from_the_posterior(self):
        self.check_chains("posterior")

    @pytest.mark.slow
    def test_it_is_evaluated_from_the_prior(self):
        """The prior is no bijector."""
        self.check_chains("prior")
        with self.assertRaisesRegex(ValueError, "TwoHills is no bijector of noise. Give start='posterior'"):
            kvae.evaluate.sandwich(self.vae, 3, steps=2, start="prior")

    @pytest.mark.slow
    def test_it_is_saved_and_exported(self):
        path = self.create_tempdir().full_path
        self.vae.save(f"{path}/model.keras")
        again = kvae.load_model(f"{path}/model.keras")
        self.assertAllEqual(again.elbo(X, seed=3), self.vae.elbo(X, seed=3))
        for vae in (again, self.vae):
            vae.fit(X, epochs=1, verbose=0)
        for a, b in zip(again.weights, self.vae.weights, strict=True):
            self.assertAllEqual(a, b)
        served = tf.saved_model.load(self.vae.export(f"{path}/1", verbose=False)).signatures
        seed = tf.range(60, dtype=tf.int32)
        drawn = served["sample"](seed=seed)
        self.assertAllClose(self.vae.decode(drawn["z"]).mean(), drawn["mean"], rtol=1e-5, atol=1e-6)
        self.assertAllClose(served["encode"](x=X)["mean"], self.vae.encode(X).mean(), rtol=1e-5, atol=1e-6)
        score = served["score"](x=X, seed=seed)
        self.assertAllClose(score["elbo"], score["reconstruction"] - score["kl"], rtol=1e-5, atol=1e-5)
        self.assertAllClose(
            served["log_likelihood"](x=X, seed=seed)["log_likelihood"].numpy().mean(),
            kvae.evaluate.log_likelihood(self.vae, X, samples=100).mean,
            atol=0.1,
        )
