"""The estimators and the diagnosis with each new likelihood: they work, or refuse in a sentence."""

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from tests.conformance import LIKELIHOODS, examples, make_vae

ROWS = [name for name in LIKELIHOODS if name in ("beta", "log_normal") or "student" in name or "element" in name]


@pytest.mark.slow
class EveryLikelihoodTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*ROWS)
    def test_estimators(self, name):
        vae = make_vae(likelihood=LIKELIHOODS[name])
        x = examples(vae.likelihood, vae.event_shape, n=60)
        vae.adapt(x)
        vae.fit(x, batch_size=20, epochs=3, verbose=0)
        table = kvae.evaluate.summary(vae, x, samples=50)
        self.assertTrue(np.isfinite([table[key].mean for key in ("elbo", "kl", "log_likelihood")]).all())
        self.assertEqual(table["elbo"].measure, "density")
        self.assertTrue(np.isfinite(kvae.evaluate.independent_pixels(vae, x, x).mean))
        found = kvae.evaluate.diagnose(vae, x, train=x, probe_steps=20)
        self.assertNotIn("columns of unlike scale", found.faults)
        self.assertNotIn("not finite", found.faults)
        score = kvae.evaluate.score(vae, x)
        self.assertAllClose(score.per_element.sum(axis=1), score.reconstruction, rtol=1e-5)
        if vae.likelihood.support == kvae.data.REAL:
            self.assertTrue(np.isfinite(kvae.evaluate.gaussian(vae, x, x).mean))
        else:
            with self.assertRaisesRegex(ValueError, f"explains x in .*{vae.likelihood.support.name[-4:-1]}"):
                kvae.evaluate.gaussian(vae, x, x)
        if isinstance(vae.likelihood, kvae.likelihoods.Normal):
            each = kvae.evaluate.calibration_by_element(vae, x)
            whole = kvae.evaluate.calibration(vae, x)["mean_square"]
            self.assertAllClose(each.mean_square.mean(), whole.mean, rtol=1e-4)
            by_scale = kvae.evaluate.calibration_by_scale(vae, x, groups=3)
            self.assertAllClose(np.mean([e.mean for e in by_scale.mean_square]), whole.mean, rtol=0.05)
        else:
            with self.assertRaisesRegex(ValueError, "calibration compares errors with the scale of a norm"):
                kvae.evaluate.calibration(vae, x)
        annealed = kvae.evaluate.ais(vae, x[:4], steps=4, chains=2)
        self.assertTrue(np.isfinite(annealed.mean))
        drawn = vae.impute(x, np.broadcast_to(np.arange(6) < 4, x.shape), samples=20, output="sample")
        self.assertFalse(vae.likelihood.support.outside(drawn.numpy()).any())


if __name__ == "__main__":
    tf.test.main()
