"""The flow as a posterior, beside the diagonal normal that it starts from."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.numerics import divergences

KINDS = tuple((f"{kind}_{shape}", kind, shape) for kind in ("iaf", "coupling") for shape in ("affine", "spline"))


def correlated(posterior, s2=0.1):
    """p(x|z) = N(z_1 + z_2, s^2) with both fixed; see tests/evaluate/test_inference_gaps.py."""
    keras.utils.set_random_seed(0)
    likelihood = kvae.likelihoods.Normal(scale=s2**0.5)
    vae = kvae.VAE(*kvae.networks.mlp((1,), 2, hidden=()), posterior=posterior, likelihood=likelihood)
    likelihood.projection.set_weights([np.ones((2, 1)), np.zeros(1)])
    likelihood.trainable = vae.decoder.trainable = False
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 2000)))
    x = np.random.default_rng(0).normal(0.0, (2.0 + s2) ** 0.5, (2000, 1)).astype(np.float32)
    vae.fit(x, batch_size=50, epochs=50, verbose=0)
    return vae, x


class FlowTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(*KINDS)
    def test_a_new_flow_is_the_diagonal_normal(self, kind, transform):
        parameters = tf.constant(np.random.default_rng(0).normal(size=(5, 12)), tf.float32)
        flow, normal = (
            kvae.posteriors.Flow(kind, 3, transform, context=4, project=False),
            kvae.posteriors.DiagonalNormal(project=False),
        )
        flow.build((12,), 4)
        normal.build((8,), 4)
        q, exact = flow.of(parameters), normal.of(parameters[:, :8])
        eps = tf.constant(np.random.default_rng(1).normal(size=(3, 5, 4)), tf.float32)
        z, log_q = flow.drawn(q, eps)
        if transform == "affine":
            self.assertAllEqual(z, normal.draw(exact, eps))
            self.assertAllEqual(flow.center(q), exact.mean())
        self.assertAllClose(z, normal.draw(exact, eps), atol=3e-6, rtol=0.0)
        self.assertAllClose(flow.center(q), exact.mean(), atol=3e-6, rtol=0.0)
        tolerance = 1e-6 if transform == "affine" else 2e-5
        self.assertAllClose(log_q, exact.log_prob(normal.draw(exact, eps)), atol=tolerance, rtol=1e-6)
        other = tf.constant(np.random.default_rng(2).normal(0.0, 4.0, (3, 5, 4)), tf.float32)
        self.assertAllClose(q.log_prob(other), exact.log_prob(other), atol=2e-5, rtol=1e-5)

    def test_the_context_bends_it(self):
        flow = kvae.posteriors.Flow(context=2, hidden=(8,), project=False)
        flow.build((6,), 2)
        for one in flow.flow:
            one.kernels[-1].assign(np.random.default_rng(0).normal(size=one.kernels[-1].shape))
        parameters = np.zeros((2, 6), np.float32)
        parameters[1, 4:] = 1.0
        q = flow.of(tf.constant(parameters))
        z, _ = flow.drawn(q, tf.ones([1, 2, 2]))
        self.assertGreater(np.abs(z[0, 0] - z[0, 1]).min(), 0.05)

    def test_no_closed_forms(self):
        """None of a closed form that there is not: no KL divergence, no mean; and it is in its files."""
        networks = kvae.networks.mlp((6,), 3, hidden=(8,))
        vae = kvae.VAE(*networks, posterior="flow", prior="flow")
        x = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
        terms = vae.terms(x)
        self.assertIsNone(terms.kl)
        self.assertIsNone(divergences.kl(vae.encode(x), vae.encode(x)))
        with self.assertRaises(NotImplementedError):
            vae.encode(x).mean()
        self.assertLen([w for w in vae.posterior.trainable_weights if "kernel" in w.name], 1 + 2 * 3)
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae.save(path)
        again = kvae.load_model(path)
        self.assertEqual(again.posterior.get_config(), vae.posterior.get_config())
        self.assertEqual(again.prior.get_config(), vae.prior.get_config())
        self.assertIsInstance(again.prior, kvae.priors.Flow)
        self.assertAllEqual(again.terms(x).log_qz_x, terms.log_qz_x)

    def test_sample(self):
        """The distribution's own `sample`, which kvae does not use, has the moments of `draw`."""
        flow = kvae.posteriors.Flow(context=0, hidden=(8,), project=False)
        flow.build((4,), 2)
        q = flow.of(tf.constant([[0.5, -1.0, 0.3, 0.2]]))
        z = q.sample(40_000, seed=1).numpy()[:, 0]
        self.assertAllClose(z.mean(axis=0), [0.5, -1.0], atol=4 * 0.9 / 200.0)

    @pytest.mark.slow
    def test_it_narrows_the_approximation_gap(self):
        """p(z|x) has the precision A = I + J / s^2. The best diagonal q is KL = 1/2 (log det diag(A) - log det A) off;
        an affine flow of two numbers holds p(z|x)."""
        found, precision, variance = {}, np.eye(2) + 10.0, 2.1
        exact = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
        for name, posterior in (
            ("diagonal", kvae.posteriors.DiagonalNormal()), ("flow", kvae.posteriors.Flow("iaf", 1, context=0)),
            ("low rank", kvae.posteriors.LowRankNormal(1)),
        ):  # fmt: skip
            vae, x = correlated(posterior)
            log_p = -0.5 * (np.square(x[:40]).mean() / variance + np.log(2 * np.pi * variance))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The effective sample size is below")
                found[name] = log_p - kvae.evaluate.gaps(vae, x[:40], samples=2000, steps=300)["best_elbo"].mean
        self.assertAllClose(found["diagonal"], exact, atol=0.02)
        self.assertLess(found["flow"], 0.05 * exact)
        self.assertLess(found["low rank"], 0.05 * exact)
