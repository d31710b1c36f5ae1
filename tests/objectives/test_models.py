"""Every objective in a whole model: a resume within a schedule, estimates, and the SavedModel's score."""

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from tests.conformance import OBJECTIVES, make_vae, quick, restarted, state

X = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
RISING = kvae.schedules.Linear(0.0, 3.0, 14)
SCHEDULED = {
    "elbo": lambda: kvae.objectives.ELBO(beta=RISING, gradient="path"),
    "capacity": lambda: kvae.objectives.Capacity(RISING, gamma=10.0),
    "total_correlation": lambda: kvae.objectives.TotalCorrelation(RISING, dataset_size=24),
    "mmd": lambda: kvae.objectives.MMD(beta=RISING, samples=2),
}
KNOWN = {name: make for name, make in OBJECTIVES.items() if name != "elbo_no_kl"}  # whose point masses are elsewhere


@quick("test_resumed_within_a_schedule")
class ResumeTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(SCHEDULED.items())
    def test_resumed_within_a_schedule(self, make):
        """Three batches an epoch. Killed after two epochs of five, it ends with the same bytes and logs."""
        path = f"{self.create_tempdir().full_path}/model.keras"
        whole = make_vae(objective=make)
        history = whole.fit(X, batch_size=8, epochs=5, verbose=0).history
        part = make_vae(objective=make)
        save = kvae.callbacks.Checkpoint(path)
        with pytest.warns(UserWarning, match=f"before the schedule of {next(iter(make().weights))} does at step 14"):
            part.fit(X, batch_size=8, epochs=2, callbacks=[save], verbose=0)
        again = kvae.load_model(path)
        rest = again.fit(X, batch_size=8, epochs=5, initial_epoch=int(again.passes), verbose=0).history
        for a, b in zip(state(whole), state(again), strict=True):
            self.assertAllEqual(a, b)
        for name, values in rest.items():
            self.assertAllEqual(values, history[name][2:])
        (name,) = whole.objective.weights
        self.assertAllClose(rest[name][0], 3.0 * 7 / 14)  # the mean of steps 6, 7 and 8


@quick("test_estimates_and_score")
class EstimatesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(KNOWN.items())
    def test_estimates_and_score(self, make):
        """Those of a model with the same weights and an ELBO: no loss of a batch is in them."""
        vae, plain = make_vae(objective=make), restarted()
        vae.fit(X, batch_size=8, epochs=2, verbose=0)
        plain.set_weights(vae.get_weights())
        found, expected = (kvae.evaluate.summary(one, X, samples=20, seed=1) for one in (vae, plain))
        self.assertEqual(set(found), set(expected))
        for name, estimate in expected.items():
            if hasattr(estimate, "mean"):
                self.assertAllClose(found[name].mean, estimate.mean, rtol=1e-5, atol=1e-5)
        by_draws = getattr(vae.objective, "kl_form", "") == "monte_carlo" or vae.objective.path_gradient
        exact = vae.terms(X).kl
        served = tf.saved_model.load(vae.export(f"{self.create_tempdir().full_path}/1", verbose=False)).signatures
        score = served["score"](x=X, seed=tf.range(24, dtype=tf.int32))
        self.assertAllClose(score["elbo"], score["reconstruction"] - score["kl"], rtol=1e-5, atol=1e-5)
        if not by_draws or isinstance(vae.objective, kvae.objectives.IWAE):
            self.assertAllClose(score["kl"], exact, rtol=1e-4, atol=1e-5)
            reconstruction = tf.reduce_mean(vae.terms(X, seed=2, samples=3).log_px_z, axis=0)
            self.assertAllClose(vae.elbo(X, seed=2, samples=3), reconstruction - exact, rtol=1e-4, atol=1e-4)
        else:
            self.assertGreater(np.abs(score["kl"] - exact).max(), 1e-3)


@quick("test_xla")
class VampPriorTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(
        ("iwae", lambda: kvae.objectives.IWAE(4, "doubly_reparameterized")),
        ("path", lambda: kvae.objectives.ELBO(gradient="path")),
        ("total_correlation", lambda: kvae.objectives.TotalCorrelation(dataset_size=24)),
        ("mmd", lambda: kvae.objectives.MMD(samples=2)),
    )
    @pytest.mark.slow
    def test_xla(self, make):
        """A prior made of the encoder's posteriors, without a bijector: compiled by XLA as without."""
        logs = [
            make_vae(objective=make, prior=lambda: kvae.priors.VampPrior(3), jit_compile=jit)
            .fit(X, batch_size=8, epochs=2, shuffle=False, verbose=0)
            .history
            for jit in (False, True)
        ]
        for name, values in logs[0].items():
            self.assertAllClose(values, logs[1][name], rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    tf.test.main()
