"""Masses over codes: sums, draws and fits against counting, and what meets what."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

import kvae
from kvae.numerics import noise
from kvae.numerics.codes import inverse
from kvae.priors import Codes

KINDS = ("uniform", "categorical", "autoregressive")
LEVELS, POSITIONS = (2, 2), 3  # 4 codes at 3 positions


def paired(kind, levels=LEVELS, positions=POSITIONS, moved=True, **options):
    """A prior beside a posterior of so many codes; with `moved`, its weights are other than at first."""
    keras.utils.set_random_seed(0)
    posterior = kvae.posteriors.FiniteScalar(levels, project=False)
    size = positions * len(levels)
    posterior.build(feature_shape=(size,), latent_dim=size)
    prior = Codes(kind, **({"units": 8, "heads": 2} | options))
    prior.build(latent_dim=size)
    prior.pair(posterior)
    random = np.random.default_rng(1)
    for weight in prior.weights if moved else []:
        weight.assign_add(random.normal(size=weight.shape))
    return prior, posterior


def every_code(codes, positions):
    return np.array(list(itertools.product(range(codes), repeat=positions)), np.int32)


class CodesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*KINDS)
    def test_the_mass_sums_to_one(self, kind):
        """Over all K^M codes, by log_prob of their z; elsewhere there is none; XLA says the same."""
        prior, posterior = paired(kind)
        z = posterior.code(every_code(4, POSITIONS))
        p = prior.distribution()
        self.assertEqual((p.batch_shape, p.event_shape), ([], [6]))
        logs = p.log_prob(z).numpy().astype(np.float64)
        self.assertAllClose(np.exp(logs).sum(), 1.0, atol=1e-6)
        self.assertEqual(np.std(logs) > 0.1, kind != "uniform")
        self.assertAllEqual(p.log_prob(z + 0.1), np.full(64, -np.inf))
        self.assertAllClose(p.log_prob(tf.stack([z, z])), np.stack([logs, logs]), rtol=1e-5)
        compiled = tf.function(lambda z: prior.distribution().log_prob(z), jit_compile=True)
        self.assertAllClose(compiled(z), logs, rtol=1e-5, atol=1e-5)

    @parameterized.parameters(*KINDS)
    def test_draws_follow_the_mass(self, kind):
        """A chi-square test of 20,000 draws over the 64 codes, and equal draws under XLA."""
        prior, posterior = paired(kind)
        n = 20_000
        eps = noise.normal(7, 3, 0, n, prior.noise_size)
        self.assertEqual(eps.shape, (n, POSITIONS))
        z = prior.draw(prior.distribution(), eps)
        numbers = posterior.index(z).numpy() @ np.array([16, 4, 1])
        logs = prior.distribution().log_prob(posterior.code(every_code(4, POSITIONS))).numpy()
        expected = n * np.exp(logs.astype(np.float64))
        counts, likely = np.bincount(numbers, minlength=64), expected >= 5.0
        few = counts[~likely].sum(), expected[~likely].sum()
        found, wanted = np.append(counts[likely], few[0]), np.append(expected[likely], few[1])
        found, wanted = (a[wanted > 0] for a in (found, wanted))
        self.assertGreater(stats.chisquare(found, wanted * found.sum() / wanted.sum()).pvalue, 1e-3)
        compiled = tf.function(lambda eps: prior.draw(prior.distribution(), eps), jit_compile=True)(eps)
        self.assertLess((compiled.numpy() != z.numpy()).any(axis=1).mean(), 1e-3)  # where a sum is within rounding
        self.assertAllEqual(prior.draw(prior.distribution(), tf.reshape(eps, [2, -1, POSITIONS])),
                            tf.reshape(z, [2, -1, 6]))  # fmt: skip

    @parameterized.parameters(*KINDS)
    def test_it_starts_uniform(self, kind):
        prior, posterior = paired(kind, moved=False)
        logs = prior.distribution().log_prob(posterior.code(every_code(4, POSITIONS)))
        self.assertAllClose(logs, np.full(64, -POSITIONS * math.log(4)), rtol=1e-6)

    def test_a_position_depends_on_those_before_alone(self):
        """log p(k_1..k_m), by sums over what follows, has ratios that the later indices do not change."""
        prior, _ = paired("autoregressive")
        indices = np.random.default_rng(0).integers(0, 4, (20, POSITIONS)).astype(np.int32)
        table = prior.mass.log_mass(every_code(4, POSITIONS)).numpy().astype(np.float64).reshape(4, 4, 4)
        of_first = np.logaddexp.reduce(table.reshape(4, 16), axis=1)
        logs = np.log(prior.mass.masses(indices).numpy())
        self.assertAllClose(logs[:, 0], np.tile(of_first, (20, 1)), atol=1e-5)
        of_two = np.logaddexp.reduce(table, axis=2) - of_first[:, None]
        self.assertAllClose(logs[:, 1], of_two[indices[:, 0]], atol=1e-5)

    def test_it_begins_at_the_frequencies(self):
        """`begin_at` makes the chain the mass of the counts, from which its steps go on."""
        prior, posterior = paired("autoregressive", moved=False)
        indices = np.random.default_rng(0).choice(4, (200, POSITIONS), p=[0.1, 0.2, 0.3, 0.4]).astype(np.int32)
        prior.begin_at(posterior.code(indices).numpy())
        counts = np.stack([np.bincount(column, minlength=4) for column in indices.T]) + 0.5
        logs = np.log(counts / counts.sum(axis=1, keepdims=True))
        every = every_code(4, POSITIONS)
        expected = logs[np.arange(POSITIONS), every].sum(axis=1)
        self.assertAllClose(prior.distribution().log_prob(posterior.code(every)), expected, atol=1e-5)

    def test_inverse_is_that_of_the_cumulated_mass(self):
        mass = np.random.default_rng(0).dirichlet(np.ones(9), 50).astype(np.float32)
        uniform = np.random.default_rng(1).random(50).astype(np.float32)
        by_numpy = [np.searchsorted(np.cumsum(p)[:-1], u, side="right") for p, u in zip(mass, uniform, strict=True)]
        self.assertAllEqual(inverse(tf.constant(mass), tf.constant(uniform)), by_numpy)
        self.assertAllEqual(inverse(tf.constant([[0.0, 1.0, 0.0]] * 2), tf.constant([0.0, 1.0 - 2.0**-24])), [1, 1])

    def test_many_codes_are_affordable(self):
        """64 positions of 512 codes: finite, uniform at first, and a gradient step lowers the loss."""
        prior, posterior = paired("autoregressive", (8, 8, 8), 64, moved=False, units=16, layers=1)
        indices = np.random.default_rng(0).integers(0, 9, (8, 64)).astype(np.int32)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(prior.distribution().log_prob(posterior.code(indices)))
        self.assertAllClose(loss, 64 * math.log(512), rtol=1e-6)
        optimizer = keras.optimizers.Adam(1e-2)
        optimizer.apply(tape.gradient(loss, prior.trainable_weights), prior.trainable_weights)
        self.assertLess(-tf.reduce_mean(prior.distribution().log_prob(posterior.code(indices))), loss - 1.0)


class FitTest(tf.test.TestCase):
    def indices(self, n=200):
        random = np.random.default_rng(0)
        return np.stack([random.choice(4, n, p=p) for p in random.dirichlet(np.ones(4), POSITIONS)], axis=1)

    def test_the_kl_is_the_cross_entropy_of_counts(self):
        """Of other codes under the frequencies; with a = 0 on its own codes it is the sum of the entropies."""
        train, test = np.split(self.indices(), 2)
        for pseudo_count in (0.0, 0.5, 2.0):
            prior, posterior = paired("categorical")
            self.assertTrue(prior.fit_codes(posterior.code(train), pseudo_count=pseudo_count))
            counts = np.stack([np.bincount(column, minlength=4) for column in train.T])
            frequency = (counts + pseudo_count) / (100 + 4 * pseudo_count)
            with np.errstate(divide="ignore"):
                cross = -np.log(frequency)[np.arange(POSITIONS), test].sum(1).mean()
            found = -prior.distribution().log_prob(posterior.code(test)).numpy().mean()
            self.assertAllClose(found, cross, rtol=1e-5)
            if pseudo_count == 0.0:
                entropy = sum(stats.entropy(row) for row in counts)
                own = -prior.distribution().log_prob(posterior.code(train)).numpy().mean()
                self.assertAllClose(own, entropy, rtol=1e-5)
        unseen = paired("categorical")
        unseen[0].fit_codes(unseen[1].code(np.zeros((10, 3), int)), pseudo_count=0)
        self.assertAllEqual(unseen[0].distribution().log_prob(unseen[1].code([[0, 0, 0], [0, 1, 0]])), [0.0, -np.inf])

    def test_the_other_kinds_are_not_fitted_by_counts(self):
        for kind in ("uniform", "autoregressive"):
            prior, posterior = paired(kind)
            before = [np.array(weight) for weight in prior.weights]
            self.assertFalse(prior.fit_codes(posterior.code(self.indices())))
            for weight, value in zip(prior.weights, before, strict=True):
                self.assertAllEqual(weight, value)

    @pytest.mark.slow
    def test_in_a_model(self):
        """The KL that evaluate reports after a fit in closed form, from the codes of the model; ELBO of the sum."""
        x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
        vae = kvae.VAE(*kvae.networks.mlp((6,), 4), kvae.posteriors.VectorQuantized(8, 2),
                       prior=Codes("categorical"))  # fmt: skip
        vae.compile("adam", jit_compile=False)
        vae.fit(x, epochs=2, verbose=0)
        vae.prior.fit_codes(vae.encode(x).mean(), pseudo_count=0)
        columns = vae.encode(x).indices.numpy().T
        entropy = sum(stats.entropy(np.bincount(column)) for column in columns)
        logs = vae.evaluate(x, return_dict=True, verbose=0)
        self.assertAllClose(logs["kl"], entropy, rtol=1e-5)
        self.assertLess(logs["kl"], 2 * math.log(8))
        self.assertAllClose(vae.elbo(x).numpy().mean(), logs["elbo"], rtol=1e-5)

    @pytest.mark.slow
    def test_fit_prior(self):
        """Of a model with the uniform prior: by counts, then by gradients from them to what follows what."""
        x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
        vae = kvae.VAE(*kvae.networks.mlp((6,), 4), kvae.posteriors.FiniteScalar((2, 2)), prior=Codes())
        vae.compile("adam", jit_compile=False)
        vae.fit(x, epochs=2, verbose=0)
        indices = vae.encode(x).indices.numpy()
        counts = np.stack([np.bincount(column, minlength=4) for column in indices.T])
        log_p = np.log((counts + 0.5) / (300 + 2.0))
        kl = -log_p[np.arange(2), indices].sum(1).mean()
        found = vae.fit_prior(x, Codes("categorical"))
        self.assertAllClose((found.before, found.after), (-2 * math.log(4), -kl), rtol=1e-5)
        self.assertAllClose(vae.evaluate(x, return_dict=True, verbose=0)["kl"], kl, rtol=1e-5)
        joint = stats.entropy(np.bincount(indices @ [4, 1]))
        found = vae.fit_prior(x, Codes("autoregressive", units=8, heads=2), validation_data=x, steps=1500)
        self.assertAllClose(found.after, -joint, atol=0.01)
        self.assertAllEqual(vae.encode(x).indices, indices)

    def test_fit_prior_sees_what_is_binarised_anew(self):
        """Two grey pixels of 1/2 are four images, each as often as another; one binarisation would show one of them."""
        grey = kvae.data.Split(np.full((50, 2), 0.5, np.float32), dynamic=True, seed=3)
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp((2,), 1, hidden=(8,))
        vae = kvae.VAE(*networks, kvae.posteriors.FiniteScalar((4,)), "bernoulli", Codes("categorical"))
        for weight in vae.trainable_weights:
            weight.assign(4.0 * weight)
        images = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        mass = np.bincount(vae.encode(images).indices.numpy()[:, 0], minlength=4) / 4.0
        self.assertGreater(np.sum(mass > 0), 1)  # the images have different codes
        vae.fit_prior(grey, samples=80)  # 4,000 images
        fitted = vae.prior.mass.masses(None).numpy()[0, 0]
        self.assertAllClose(fitted, mass, atol=4.0 * 0.5 / np.sqrt(4000))

    @pytest.mark.slow
    def test_training_finds_what_counting_finds(self):
        """Gradient steps on log p(z) end at the entropy of the counts; those of a chain at that of its pairs."""
        random = np.random.default_rng(0)
        first = random.integers(0, 4, 400)
        indices = np.stack([first, (first + (random.random(400) < 0.2)) % 4], axis=1)
        joint = stats.entropy(np.bincount(indices @ [4, 1]))
        single = sum(stats.entropy(np.bincount(column)) for column in indices.T)
        for kind, least in (("categorical", single), ("autoregressive", joint)):
            prior, posterior = paired(kind, positions=2, moved=False)
            z, optimizer = posterior.code(indices), keras.optimizers.Adam(3e-2)

            @tf.function(autograph=False)
            def step(prior=prior, z=z, optimizer=optimizer):
                with tf.GradientTape() as tape:
                    loss = -tf.reduce_mean(prior.distribution().log_prob(z))
                optimizer.apply(tape.gradient(loss, prior.trainable_weights), prior.trainable_weights)
                return loss

            for _ in range(500):
                loss = step()
            self.assertAllClose(loss, least, atol=5e-3)
        self.assertGreater(single - joint, 0.5)

    @pytest.mark.slow
    def test_the_encoder_gets_no_gradient_of_the_prior(self):
        """Of beta KL alone none; so the codes do not depend on the prior that they are trained with."""
        x = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
        found, start = [], None
        for kind in KINDS:
            networks = kvae.networks.mlp((6,), 4, hidden=(8,))
            posterior = kvae.posteriors.FiniteScalar((4, 4))
            vae = kvae.VAE(*networks, posterior, prior=Codes(kind, units=8, heads=2))
            parts = vae.encoder, vae.decoder, vae.posterior, vae.likelihood
            start = start or [part.get_weights() for part in parts]
            for part, weights in zip(parts, start, strict=True):
                part.set_weights(weights)
            vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
            vae.fit(x, epochs=3, verbose=0)
            found.append(vae.encoder.get_weights()[0])
        self.assertAllEqual(found[0], found[1])
        self.assertAllEqual(found[0], found[2])
