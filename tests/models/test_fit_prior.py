"""`vae.fit_prior`: what it gains, that all that follows uses the new prior, and what stays as it was."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

import kvae
from kvae.objectives import ELBO
from tests.conformance import quick


def clusters(n=600, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Two clusters in four dimensions, and which each example is of."""
    random = np.random.default_rng(seed)
    label = random.integers(2, size=n)
    center = np.where(label[:, None] > 0, 1.5, -1.5) * np.array([1.0, 1.0, -1.0, 0.5])
    return (center + 0.3 * random.normal(size=(n, 4))).astype(np.float32), label


X, LABELS = clusters()


def made(trained=True, optimizer=None, **parts) -> kvae.VAE:
    keras.utils.set_random_seed(0)
    parts = {"likelihood": kvae.likelihoods.Normal(0.3), **parts}
    vae = kvae.VAE(*kvae.networks.mlp((4,), 2, hidden=(16,)), **parts)
    vae.compile(optimizer or keras.optimizers.Adam(1e-2), jit_compile=False)
    if trained:
        vae.fit(X, epochs=10, verbose=0)
    return vae


class NotFinite(kvae.priors.StandardNormal):
    def distribution(self, encode=None, condition=None):
        p = super().distribution()
        return type(p)(p.mean(), p.stddev() * np.nan)


def rest(vae) -> list[np.ndarray]:
    """All weights but the prior's."""
    return [w.numpy() for part in vae.parts()[:-1] for w in part.weights] + [vae.draws.numpy(), vae.passes.numpy()]


@quick("test_after_an_error_the_model_is_as_it_was", "2")
class FitPriorTest(tf.test.TestCase, parameterized.TestCase):
    def test_a_mixture_raises_the_evidence_and_samples_show_both_clusters(self):
        vae, (new, _) = made(), clusters(300, seed=1)
        before, start = kvae.evaluate.log_likelihood_per_example(vae, new, samples=500), rest(vae)
        gaps = vae.sample(2000, seed=1).numpy() @ np.array([1.0, 1.0, -1.0, 0.5]) / 3.25
        bound = vae.evaluate(new, verbose=0, return_dict=True)
        fit = vae.fit_prior(X, kvae.priors.MixtureOfNormals(4), validation_data=new)
        for a, b in zip(rest(vae), start, strict=True):
            self.assertAllEqual(a, b)
        after = kvae.evaluate.log_likelihood_per_example(vae, new, samples=500)
        gain = after.log_likelihood - before.log_likelihood
        self.assertGreater(gain.mean(), 10.0 * gain.std() / np.sqrt(len(gain)))
        moved = vae.evaluate(new, verbose=0, return_dict=True)
        self.assertAllClose(moved["reconstruction"], bound["reconstruction"], rtol=1e-5)
        self.assertAllClose(
            fit.gain, moved["elbo"] - bound["elbo"], atol=0.1
        )  # by other draws, and a KL in closed form
        self.assertAllClose(fit.gain, fit.after - fit.before)
        self.assertGreater(fit.gain, 10.0 * fit.standard_error)
        samples = vae.sample(2000, seed=1).numpy() @ np.array([1.0, 1.0, -1.0, 0.5]) / 3.25
        share = (samples > 0.0).mean()
        self.assertLess(abs(share - (LABELS > 0).mean()), 4.0 * np.sqrt(0.25 / 2000 + 0.25 / len(X)))
        between = [np.mean(np.abs(one) < 0.75) for one in (gaps, samples)]  # half-way, where no data are
        self.assertGreater(between[0], 0.1)
        self.assertLess(between[1], 0.02)

    @parameterized.parameters("mixture", "vamp")
    @pytest.mark.slow
    def test_it_is_deterministic_and_what_follows_agrees(self, kind):
        """Save and load, export, and training that goes on, byte for byte."""

        def prior():
            return kvae.priors.MixtureOfNormals(3) if kind == "mixture" else kvae.priors.VampPrior(6)

        vae, twin = made(), made()
        fit, same = vae.fit_prior(X, prior(), steps=60), twin.fit_prior(X, prior(), steps=60)
        self.assertEqual(fit[:4], same[:4])
        self.assertLen(fit.history, 0 if kind == "mixture" else 60)
        for a, b in zip(vae.prior.weights, twin.prior.weights, strict=True):
            self.assertAllEqual(a, b)
        path = self.create_tempdir().full_path
        vae.save(f"{path}/model.keras")
        again = kvae.load_model(f"{path}/model.keras")
        self.assertIsInstance(again.prior, type(vae.prior))
        self.assertAllEqual(again.terms(X, seed=3).log_pz, vae.terms(X, seed=3).log_pz)
        self.assertAllEqual(again.sample(5, seed=1), vae.sample(5, seed=1))
        served = tf.saved_model.load(vae.export(f"{path}/1", verbose=False)).signatures
        seeds = tf.range(16, dtype=tf.int32)
        score, drawn = served["score"](x=X[:16], seed=seeds), served["sample"](seed=seeds)
        q, z = vae.encode(X[:16]), vae.encode(X[:16]).mean()
        at_mean = vae.decode(z).log_prob(X[:16]) + vae.prior_distribution().log_prob(z) - q.log_prob(z)
        self.assertAllClose(score["score"], at_mean, rtol=1e-4, atol=1e-4)
        self.assertAllClose(score["elbo"], score["reconstruction"] - score["kl"], rtol=1e-5, atol=1e-5)
        self.assertAllClose(served["decode"](z=drawn["z"])["mean"], drawn["mean"], rtol=1e-5, atol=1e-5)
        many = served["sample"](seed=tf.range(2000, dtype=tf.int32))["z"].numpy()
        p, own = vae.prior_distribution(), vae.prior_draws(2000, 5).numpy()
        self.assertGreater(min(stats.ks_2samp(many[:, j], own[:, j]).pvalue for j in range(2)), 1e-3)
        self.assertAllClose(many.mean(0), p.mean(), atol=4.0 * float(many.std(0).max()) / np.sqrt(2000))
        for model in (vae, again):
            model.fit(X, epochs=2, verbose=0)
        for a, b in zip(vae.weights + vae.optimizer.variables, again.weights + again.optimizer.variables, strict=True):
            self.assertAllEqual(a, b)

    @pytest.mark.slow
    def test_vamp_prior_begins_at_examples_and_climbs(self):
        vae = made()
        fit = vae.fit_prior(X, kvae.priors.VampPrior(20, learned_weights=True), steps=400, learning_rate=0.02)
        self.assertGreater(fit.gain, 10.0 * fit.standard_error)
        self.assertGreater(fit.history[-50:].mean(), fit.history[:5].mean() + 0.02)
        self.assertTrue(np.isfinite(fit.history).all())

    @pytest.mark.slow
    def test_steps_that_go_too_far_are_taken_back(self):
        """Of 200 codes a transformer learns each by heart. By those held out it is kept where it is best on others."""
        x = np.random.default_rng(0).normal(size=(600, 6)).astype(np.float32)
        few, new, found, steps = x[:200], x[200:], {}, {}
        for name, held_out in (("default", None), ("none", few)):  # the second judges by what it is fitted to
            keras.utils.set_random_seed(0)
            vae = kvae.VAE(*kvae.networks.mlp((6,), 6, hidden=(16,)), posterior=kvae.posteriors.FiniteScalar((5,)),
                           prior="codes")  # fmt: skip
            vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
            prior = kvae.priors.Codes("autoregressive", units=32, layers=1, heads=2)
            fit = vae.fit_prior(few, prior, held_out, steps=600, learning_rate=0.01)
            found[name], steps[name] = vae.terms(new).log_pz.numpy().mean(), fit.best_step
        self.assertGreater(found["default"], -6 * np.log(5))  # the uniform prior's
        self.assertGreater(found["default"], found["none"] + 0.2)
        self.assertLess(0, steps["default"])
        self.assertLess(steps["default"], steps["none"])

    @pytest.mark.slow
    def test_pseudo_inputs_are_not_among_the_codes_held_out(self):
        """Else the start, examples of the data, could not be bettered on them."""
        vae = made()
        fit = vae.fit_prior(X[:400], kvae.priors.VampPrior(300), steps=100, learning_rate=0.01)
        self.assertGreater(fit.best_step, 0)
        seen = []
        vae.random_examples = lambda data, n, seed, without=(): (
            seen.append(without) or kvae.VAE.random_examples(vae, data, n, seed, without)
        )
        vae.fit_prior(X[:400], kvae.priors.VampPrior(5), steps=1)
        self.assertLen(seen[0], 100)  # up to a quarter

    @pytest.mark.slow
    def test_steps_that_diverge_are_an_error(self):
        vae = made()
        before = [w.numpy() for w in vae.weights]
        with self.assertRaisesRegex(FloatingPointError, "is not finite. Give a smaller learning_rate"):
            vae.fit_prior(X, kvae.priors.Flow("coupling"), steps=60, learning_rate=1e30)
        for weight, value in zip(vae.weights, before, strict=True):
            self.assertAllEqual(weight, value)

    @pytest.mark.slow
    def test_a_conditional_prior_is_fitted_with_the_conditions(self):
        """By gradients: each class gets the mean and the scale of its codes."""
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp((4,), 2, hidden=(16,), condition=2)
        vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(0.3))
        random = np.random.default_rng(0)
        x = (X - np.where(LABELS[:, None] > 0, 1.0, -1.0) * random.uniform(size=(len(X), 1))).astype(np.float32)
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        vae.fit(x, LABELS, epochs=5, verbose=0)
        fit = vae.fit_prior((x, LABELS), "conditional_normal", steps=600, learning_rate=0.03, samples=20)
        self.assertGreater(fit.gain, 0.0)
        q = vae.encode(x, LABELS)
        for label in (0, 1):
            mean, scale = q.mean().numpy()[label == LABELS], q.stddev().numpy()[label == LABELS]
            p = vae.prior_distribution(np.eye(2, dtype=np.float32)[[label]])
            self.assertAllClose(p.mean()[0], mean.mean(axis=0), atol=0.1)
            self.assertAllClose(p.stddev()[0], np.sqrt(mean.var(axis=0) + np.square(scale).mean(axis=0)), atol=0.1)

    def test_an_autoencoder_gets_a_prior_for_samples(self):
        vae = made(posterior="deterministic", objective=ELBO(beta=0))
        codes = vae.encode(X).mean().numpy()
        fit = vae.fit_prior(X, kvae.priors.MixtureOfNormals(4))
        p = vae.prior_distribution()
        self.assertAllClose(fit.after, p.log_prob(codes).numpy().mean(), rtol=1e-5)
        self.assertAllClose(p.mean(), codes.mean(axis=0), atol=0.05 * codes.std())
        drawn = vae.prior_draws(4000, 3).numpy()
        self.assertAllClose(np.cov(drawn.T), np.cov(codes.T), rtol=0.15, atol=0.1 * codes.var())
        self.assertEqual(set(vae.evaluate(X, verbose=0, return_dict=True)), {"loss", "reconstruction"})
        with self.assertRaisesRegex(ValueError, "needs a density"):
            kvae.evaluate.log_likelihood(vae, X)
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae.save(path)
        self.assertAllEqual(kvae.load_model(path).sample(4, seed=1), vae.sample(4, seed=1))

    def test_the_optimizer_keeps_what_it_knows_of_the_networks(self):
        """Its moments, steps and rate; those of the prior begin at zero."""
        vae = made(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 500)))
        slots = [v.numpy() for v in vae.optimizer.variables]
        vae.fit_prior(X, kvae.priors.MixtureOfNormals(3))
        found = [v.numpy() for v in vae.optimizer.variables]
        self.assertLen(found, len(slots) + 6)  # two for each of three weights
        for a, b in zip(found, slots, strict=False):
            self.assertAllEqual(a, b)
        self.assertAllEqual(found[-1], np.zeros(found[-1].shape))
        vae.fit(X, epochs=1, verbose=0)
        self.assertEqual(int(vae.optimizer.iterations), 11 * 19)

    @pytest.mark.slow
    def test_again_and_back(self):
        vae, first = made(), kvae.priors.MixtureOfNormals(2)
        vae.fit_prior(X, first)
        with self.assertRaisesRegex(ValueError, "belongs to another model already"):
            made(trained=False, prior=first)
        vae.fit(X, epochs=3, verbose=0)
        again = vae.fit_prior(X)  # its own
        self.assertIs(vae.prior, first)
        self.assertGreater(again.gain, 0.0)
        back = vae.fit_prior(X, "standard_normal")
        self.assertLess(back.gain, 0.0)
        self.assertLen(vae.trainable_weights, 8)
        self.assertIsNotNone(vae.terms(X[:2]).kl)
        forth = vae.fit_prior(X, first)  # which is free again
        self.assertAllClose(forth.after, again.after, rtol=1e-5)

    def test_a_model_that_was_never_compiled(self):
        vae = kvae.VAE(*kvae.networks.mlp((4,), 2, hidden=(8,)))
        vae.fit_prior(X, "mixture_of_normals")
        self.assertFalse(vae.compiled)
        self.assertTrue(np.isfinite(kvae.evaluate.log_likelihood(vae, X[:20], samples=20).mean))

    @parameterized.parameters(
        (lambda: "conditional_normal", {}, "is a prior of the condition, but neither network has one"),
        (lambda: None, {}, "StandardNormal has no weights to fit. Give another prior"),
        (lambda: NotFinite(), {}, r"log p\(z\) under the fitted NotFinite is not finite"),
    )
    def test_after_an_error_the_model_is_as_it_was(self, make, options, message):
        vae = made()
        old, weights, elbo = vae.prior, [w.numpy() for w in vae.weights], vae.elbo(X[:5]).numpy()
        with self.assertRaisesRegex((ValueError, FloatingPointError), message):
            vae.fit_prior(X, make(), **options)
        self.assertIs(vae.prior, old)
        for a, b in zip(vae.weights, weights, strict=True):
            self.assertAllEqual(a, b)
        self.assertAllEqual(vae.elbo(X[:5]), elbo)
        vae.fit(X, epochs=1, verbose=0)

    @parameterized.parameters(ELBO(kl="analytic"), ELBO(free_bits=0.1))
    def test_an_objective_that_needs_a_closed_form_refuses_before_anything_is_fitted(self, objective):
        vae = made(trained=False, objective=objective)
        with self.assertRaisesRegex(ValueError, "closed form|factorise"):
            vae.fit_prior(X, kvae.priors.MixtureOfNormals(3))
        self.assertIsInstance(vae.prior, kvae.priors.StandardNormal)
        vae.fit(X, epochs=1, verbose=0)


PRIORS = {
    "mixture": lambda: kvae.priors.MixtureOfNormals(3),
    "vamp": lambda: kvae.priors.VampPrior(4),
}


@functools.cache
def fitted_once(kind: str) -> tuple:
    """A model with such a prior, which no test changes; its distance to the prior before, and the fit."""
    vae = made()
    before = kvae.evaluate.rate(vae, X, samples=4)["marginal_kl"]
    return vae, before, vae.fit_prior(X, PRIORS[kind](), steps=200, learning_rate=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PRIORS)
class TestEvaluate:
    """Every estimator takes a model with such a prior, or refuses it in a sentence."""

    @pytest.fixture
    def fitted(self, kind):
        return fitted_once(kind)

    def test_estimates_agree(self, fitted):
        vae, *_ = fitted
        x = X[:60]
        exact = kvae.evaluate.log_likelihood(vae, x, samples=4000)
        summary = kvae.evaluate.summary(vae, x)
        assert abs(summary["log_likelihood"].mean - exact.mean) < 0.05
        assert summary["elbo"].mean <= exact.mean + 0.02
        for start in ("posterior", "prior"):
            annealed = kvae.evaluate.ais(vae, x, steps=200, chains=16, start=start, verbose=False)
            assert abs(annealed.mean - exact.mean) < 0.1, start
        both = kvae.evaluate.sandwich(vae, n=len(x), steps=200, chains=16, verbose=False)
        assert both["lower"].mean < both["upper"].mean + 0.05 and both["gap"].mean < 0.3
        with pytest.raises(ValueError, match="is no bijector of noise"):
            kvae.evaluate.sandwich(vae, n=4, steps=2, start="prior", verbose=False)

    def test_rates(self, fitted):
        """The distance of the aggregated posterior from the prior falls by the gain of the fit."""
        vae, before, fit = fitted
        rate = kvae.evaluate.rate(vae, X, samples=4)
        kl = vae.terms(X, samples=50, seed=3)
        assert abs(rate["kl"].mean - np.mean(kl.log_qz_x - kl.log_pz)) < 5.0 * rate["kl"].standard_error
        fell = before.mean - rate["marginal_kl"].mean
        assert abs(fell - fit.gain) < 4.0 * before.monte_carlo_error + 4.0 * rate["marginal_kl"].monte_carlo_error
        gap = kvae.evaluate.prior_gap(vae, X[:300], X[300:])
        assert gap.mean < rate["marginal_kl"].mean + 4.0 * gap.standard_error
        curve = kvae.evaluate.rate_distortion(vae, X[:20], steps=100, verbose=False)
        assert all(np.isfinite(one.mean) for one in curve.rate)

    def test_the_others(self, fitted):
        vae, *_ = fitted
        for name in ("kl_per_dimension", "collapse", "collapsed"):
            with pytest.raises(ValueError, match="does not split into dimensions"):
                getattr(kvae.evaluate, name)(vae, X)
        found = kvae.evaluate.gaps(vae, X[:20], steps=50, verbose=False)
        assert all(np.isfinite(one.mean) for one in found.values())
        assert np.isfinite(kvae.evaluate.score(vae, X[:20]).score).all()
        diagnosis = kvae.evaluate.diagnose(vae, X[:300], X[300:])
        assert "prior gap" not in diagnosis.faults and np.isfinite(diagnosis.figures["kl"].mean)
        said, weights = [], vae.get_weights()
        vae.fit(X, epochs=1, verbose=0, callbacks=[kvae.callbacks.Diagnose(X[:300], X[300:], every=1, say=said.append)])
        vae.set_weights(weights)
        assert said

    def test_figures(self, fitted):
        vae, *_ = fitted
        q = vae.encode(X[:50])
        for figure in (kvae.plots.posteriors(q.mean(), q.stddev(), LABELS[:50]), kvae.plots.latent_plane(vae, 3)):
            assert figure is not None
