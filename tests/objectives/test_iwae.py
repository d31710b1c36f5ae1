"""The importance-weighted bound and its gradients, on a model where all is known."""

import math

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import integrate, special, stats

import kvae
from tests.conformance import make_vae
from tests.objectives import linear

IWAE = kvae.objectives.IWAE
X = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)


def doubly(samples, groups=1) -> IWAE:
    return IWAE(samples, "doubly_reparameterized", groups)


class BoundTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((6, 1), (6, 3), (6, 6), (1, 1))
    def test_by_hand(self, samples, groups):
        """-1/M sum_m log mean_s w_s, of groups of samples."""
        vae, eps = linear.model(IWAE(samples, groups=groups)), linear.draws(samples, 50)
        log_w = linear.by_hand(linear.OTHER, eps)["log_w"].reshape(groups, -1, 50)
        bounds = special.logsumexp(log_w, axis=1) - math.log(samples // groups)
        loss = vae.objective.loss(linear.terms(vae, linear.OTHER, eps), 0)
        self.assertAllClose(loss, -bounds.mean(0), atol=1e-10)

    def test_one_sample_is_the_elbo(self):
        vae, eps = linear.model(IWAE(1)), linear.draws(1, 50)
        terms = linear.terms(vae, linear.OTHER, eps)
        elbo = kvae.objectives.ELBO(kl="monte_carlo")
        self.assertAllClose(vae.objective.loss(terms, 0), elbo.loss(terms, 0), atol=1e-12)
        many = linear.terms(vae, linear.OTHER, linear.draws(4, 50))
        every = IWAE(4, groups=4)  # of one sample each
        self.assertAllClose(every.loss(many, 0), elbo.loss(many, 0), atol=1e-12)

    def test_it_rises_to_log_p(self):
        """X7: 4 standard errors; at last by Var(w / p(x)) / 2 S below it, the variance by quadrature."""
        last = -math.inf
        for samples in (1, 2, 8, 64):
            vae = linear.model(IWAE(samples))
            terms = linear.terms(vae, linear.OTHER, linear.draws(samples, 20_000, seed=samples))
            bound = -vae.objective.loss(terms, 0).numpy()
            error = bound.std() / math.sqrt(len(bound))
            self.assertGreater(bound.mean(), last + 4 * error)
            self.assertLess(bound.mean(), linear.LOG_P + 4 * error)
            last = bound.mean()
        square = 1.0
        for j in range(2):
            p, q = (stats.norm(mean[j], scale[j]) for mean, scale in (linear.POSTERIOR, linear.OTHER))
            square *= integrate.quad(lambda z, p=p, q=q: p.pdf(z) ** 2 / q.pdf(z), -8, 8)[0]
        self.assertAllClose(linear.LOG_P - last, (square - 1.0) / 128, atol=4 * error, rtol=0.03)

    @parameterized.parameters((1, 1), (3, 1), (40, 4))
    def test_the_exact_posterior_gives_log_p(self, samples, groups):
        """X7: for every number of samples, without variance."""
        vae = linear.model(IWAE(samples, groups=groups))
        terms = linear.terms(vae, linear.POSTERIOR, linear.draws(samples, 50))
        self.assertAllClose(vae.objective.loss(terms, 0), np.full(50, -linear.LOG_P), atol=1e-10)

    def test_only_the_loss_is_the_bound(self):
        """elbo, reconstruction and kl are those of an ELBO with the same draws; the loss lies below -elbo."""
        logs = [
            make_vae(objective=make).evaluate(X, verbose=0, return_dict=True)
            for make in (lambda: IWAE(20), lambda: kvae.objectives.ELBO(samples=20))
        ]
        for name in ("elbo", "reconstruction", "kl"):
            self.assertAllClose(logs[0][name], logs[1][name], rtol=1e-6)
        self.assertLess(logs[0]["loss"], logs[1]["loss"] - 0.05)


class GradientTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((5, 1), (6, 2), (1, 1))
    def test_by_hand(self, samples, groups):
        """Plain: sum v (path + direct). Doubly reparameterised: sum v^2 path. In each group, for every draw."""
        eps = linear.draws(samples, 40)
        hand = linear.by_hand(linear.OTHER, eps, groups)
        v = hand["v"][..., None]
        plain, kernel = linear.gradients(linear.model(IWAE(samples, groups=groups)), linear.OTHER, eps)
        self.assertAllClose(plain, -(v * (hand["path"] + hand["direct"])).sum(0) / groups, atol=1e-10)
        found, same = linear.gradients(linear.model(doubly(samples, groups)), linear.OTHER, eps)
        self.assertAllClose(found, -(v**2 * hand["path"]).sum(0) / groups, atol=1e-10)
        self.assertAllClose(same, kernel, atol=1e-10)  # the decoder's is the plain one

    @parameterized.parameters((2, 1), (16, 1), (16, 4))
    def test_same_mean_and_less_noise(self, samples, groups):
        """Over 20,000 draws, 4 standard errors of the difference at the same draws."""
        eps = linear.draws(samples, 20_000, seed=3)
        plain, _ = linear.gradients(linear.model(IWAE(samples, groups=groups)), linear.OTHER, eps)
        found, _ = linear.gradients(linear.model(doubly(samples, groups)), linear.OTHER, eps)
        difference = found - plain
        error = difference.std(0) / math.sqrt(len(difference))
        self.assertAllInRange(difference.mean(0) / error, -4.0, 4.0)
        self.assertGreater(np.abs(found.mean(0)).max(), 20 * error.max())  # a gradient that is not 0
        self.assertTrue((found.var(0) < plain.var(0)).all(), found.var(0) / plain.var(0))

    def test_at_the_posterior_there_is_no_noise(self):
        eps = linear.draws(7, 50)
        plain, _ = linear.gradients(linear.model(IWAE(7)), linear.POSTERIOR, eps)
        found, _ = linear.gradients(linear.model(doubly(7)), linear.POSTERIOR, eps)
        self.assertGreater(plain.std(0).min(), 0.05)
        self.assertAllClose(found, np.zeros((50, 4)), atol=1e-10)

    def test_a_prior_made_of_the_encoder(self):
        """p(z) with a mean that depends on q's parameters, as in a prior of the encoder's posteriors: the same mean."""
        found = []
        for objective in (IWAE(4), doubly(4)):
            vae, eps = linear.model(objective), linear.draws(4, 20_000, seed=5)
            parameters = tf.constant(np.tile(linear.raw(linear.OTHER), (20_000, 1)))
            plain = vae.prior_distribution

            def moved(condition=None, plain=plain, parameters=parameters):
                p = plain(condition)
                return type(p)(0.5 * parameters[:, :2], p.stddev())

            vae.prior_distribution = moved
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                loss = vae.objective.loss(linear.terms(vae, None, eps, True, parameters), 0)
            found.append(tape.gradient(loss, parameters).numpy())
        difference = found[1] - found[0]
        self.assertAllInRange(difference.mean(0) / (difference.std(0) / math.sqrt(20_000)), -4.0, 4.0)
        self.assertLess(found[1].var(0).sum(), found[0].var(0).sum())

    def test_one_step_of_fit(self):
        """Compiled as eagerly: the decoder's step is that of the plain gradient, the encoder's is another."""

        def weights(objective, **options):
            vae = make_vae(optimizer=keras.optimizers.SGD(0.1), objective=lambda: objective, compiled=False)
            vae.compile(keras.optimizers.SGD(0.1), **options)
            vae.fit(X, batch_size=24, epochs=1, verbose=0)
            return [[w.numpy() for w in part.trainable_weights] for part in (vae.encoder, vae.decoder)]

        plain = weights(IWAE(5), jit_compile=False)
        compiled = weights(doubly(5), jit_compile=False)
        self.assertAllClose(weights(doubly(5), run_eagerly=True), compiled, rtol=1e-5, atol=1e-6)
        self.assertAllClose(compiled[1], plain[1], rtol=1e-5, atol=1e-6)
        self.assertGreater(np.abs(compiled[0][0] - plain[0][0]).max(), 1e-3)

    def test_posteriors_with_weights_of_their_own(self):
        class Flow(kvae.posteriors.DiagonalNormal):
            has_own_weights = True

        for objective in (doubly(5), kvae.objectives.ELBO(gradient="path")):
            with self.assertRaisesRegex(ValueError, "Flow posterior has weights beside them. Use gradient='plain'"):
                kvae.VAE(*kvae.networks.mlp((6,), 2), posterior=Flow(), objective=objective)
        kvae.VAE(*kvae.networks.mlp((6,), 2), posterior=Flow(), objective=IWAE(5))

    def test_groups(self):
        with self.assertRaisesRegex(ValueError, "samples=6 is no multiple of groups=4"):
            IWAE(6, groups=4)


class PathTest(tf.test.TestCase, parameterized.TestCase):
    """ELBO(gradient="path"), Roeder et al. 2017."""

    @parameterized.parameters(1, 3)
    def test_by_hand(self, samples):
        eps = linear.draws(samples, 40)
        hand = linear.by_hand(linear.OTHER, eps)
        found, kernel = linear.gradients(
            linear.model(kvae.objectives.ELBO(gradient="path", samples=samples)), linear.OTHER, eps
        )
        plain = linear.model(kvae.objectives.ELBO(kl="monte_carlo", samples=samples))
        self.assertAllClose(found, -hand["path"].mean(0), atol=1e-10)
        self.assertAllClose(kernel, linear.gradients(plain, linear.OTHER, eps)[1], atol=1e-10)
        vae = linear.model(kvae.objectives.ELBO(gradient="path", samples=samples))
        terms = linear.terms(vae, linear.OTHER, eps, training=True)
        self.assertAllClose(vae.objective.loss(terms, 0), -hand["log_w"].mean(0), atol=1e-10)

    def test_same_mean(self):
        """As the gradient of the analytic form, with beta: 20,000 draws, 4 standard errors."""
        eps = linear.draws(1, 20_000, seed=2)
        for beta in (1.0, 0.3):
            found, _ = linear.gradients(
                linear.model(kvae.objectives.ELBO(gradient="path", beta=beta)), linear.OTHER, eps
            )
            exact, _ = linear.gradients(linear.model(kvae.objectives.ELBO(beta=beta)), linear.OTHER, eps)
            difference = found - exact
            self.assertAllInRange(difference.mean(0) / (difference.std(0) / math.sqrt(20_000)), -4.0, 4.0)

    def test_it_sticks_the_landing(self):
        """At q = p(z|x) it is 0 for every draw, where the others have noise."""
        eps = linear.draws(1, 50)
        found, _ = linear.gradients(linear.model(kvae.objectives.ELBO(gradient="path")), linear.POSTERIOR, eps)
        self.assertAllClose(found, np.zeros((50, 4)), atol=1e-10)
        for other in (kvae.objectives.ELBO(), kvae.objectives.ELBO(kl="monte_carlo")):
            self.assertGreater(linear.gradients(linear.model(other), linear.POSTERIOR, eps)[0].std(0).min(), 0.05)

    def test_it_has_no_closed_form(self):
        for options in ({"kl": "analytic"}, {"free_bits": 0.1}):
            with self.assertRaisesRegex(ValueError, "KL term by Monte Carlo: leave kl='analytic' and free_bits= out"):
                kvae.objectives.ELBO(gradient="path", **options)
        without_kl = kvae.objectives.ELBO(gradient="path", beta=0)
        self.assertFalse(without_kl.path_gradient)  # nothing to hold fast


if __name__ == "__main__":
    tf.test.main()
