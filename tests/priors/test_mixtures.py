"""Mixtures as priors: their densities and draws against SciPy, expectation maximisation against its optimum."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import special, stats
from tensorflow_probability import distributions as tfd

import kvae
from kvae.numerics import mixtures, noise

LATENT = 2


def mixture(components=3, dtype="float64", seed=0):
    """A mixture of normals with weights of all kinds, and the same as NumPy's weights, means and scales."""
    prior = kvae.priors.MixtureOfNormals(components, dtype=dtype)
    prior.build(latent_dim=LATENT)
    random = np.random.default_rng(seed)
    prior.logits.assign(random.normal(size=components))
    prior.means.assign(2.0 * random.normal(size=(components, LATENT)))
    prior.raw_scales.assign(random.normal(size=(components, LATENT)) - 1.0)
    scales = 1e-3 + np.log1p(np.exp(prior.raw_scales.numpy()))
    return prior, special.softmax(prior.logits.numpy().astype(np.float64)), prior.means.numpy(), scales


def vamp(encode_rank="diagonal", components=3, dtype="float64", **options):
    """A VampPrior over inputs of four numbers, with an encoder that is written down, and its q as SciPy's."""
    random = np.random.default_rng(1)
    slope, spread = random.normal(size=(4, LATENT)), 0.3 * random.normal(size=(4, LATENT))
    factor = np.array([[1.0, 0.0], [0.7, 0.5]])

    def encode(u, condition=None):
        scale = tf.exp(u @ tf.constant(spread, u.dtype))
        if encode_rank == "diagonal":
            return tfd.MultivariateNormalDiag(u @ tf.constant(slope, u.dtype), scale)
        return tfd.MultivariateNormalTriL(u @ tf.constant(slope, u.dtype), scale[..., None] * factor)

    def q(u):
        scale = np.diag(np.exp(u @ spread)) @ (np.eye(LATENT) if encode_rank == "diagonal" else factor)
        return stats.multivariate_normal(u @ slope, scale @ scale.T)

    prior = kvae.priors.VampPrior(components, dtype=dtype, **options)
    prior.build(latent_dim=LATENT, event_shape=(4,))
    posterior = kvae.posteriors.DiagonalNormal() if encode_rank == "diagonal" else kvae.posteriors.FullNormal()
    posterior.build(feature_shape=(4,), latent_dim=LATENT)
    prior.pair(posterior)
    return prior, encode, q


def log_mixture(weights, parts, z):
    return special.logsumexp(np.stack([part.logpdf(z) for part in parts], -1) + np.log(weights), axis=-1)


class MixtureOfNormalsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(((7, LATENT),), ((5, 7, LATENT),))
    def test_density_is_scipys(self, shape):
        prior, weights, means, scales = mixture()
        z = 3.0 * np.random.default_rng(2).normal(size=shape)
        parts = [stats.multivariate_normal(m, np.diag(s**2)) for m, s in zip(means, scales, strict=True)]
        expected = log_mixture(weights, parts, z)
        self.assertAllClose(prior.distribution().log_prob(z), expected, rtol=1e-10)
        single, *_ = mixture(dtype="float32")
        self.assertAllClose(single.distribution().log_prob(z.astype(np.float32)), expected, rtol=1e-5, atol=1e-5)

    def test_float32_keeps_the_digits_of_narrow_components(self):
        """Squares of (z - m) / s around 1e8 nearly cancel: s = 0.001 at a mean of 10."""
        prior = kvae.priors.MixtureOfNormals(2)
        prior.build(latent_dim=LATENT)
        prior.means.assign([[10.0, -10.0], [10.0, 10.0]])
        prior.raw_scales.assign(np.full((2, LATENT), -20.0))
        z = np.float32([[10.0, -10.0]]) + np.float32(1e-3) * np.float32([[0.5, -1.5]])
        scale = 1e-3 + np.log1p(np.exp(-20.0))
        expected = stats.norm([10.0, -10.0], scale).logpdf(z.astype(np.float64)).sum(-1) - np.log(2.0)
        self.assertAllClose(prior.distribution().log_prob(z), expected, atol=2e-6)

    def test_one_component_is_that_normal(self):
        prior, _, means, scales = mixture(components=1)
        z = np.random.default_rng(2).normal(size=(4, 7, LATENT))
        expected = stats.norm(means[0], scales[0]).logpdf(z).sum(-1)
        self.assertAllClose(prior.distribution().log_prob(z), expected, rtol=1e-12)
        eps = np.random.default_rng(3).normal(size=(9, LATENT + 1))
        drawn = prior.draw(prior.distribution(), tf.constant(eps))
        self.assertAllClose(drawn, means[0] + scales[0] * eps[:, 1:], rtol=1e-12)

    def test_it_starts_spread_out_with_equal_weights_and_unit_scales(self):
        prior = kvae.priors.MixtureOfNormals(2000)
        prior.build(latent_dim=LATENT)
        p = prior.distribution()
        self.assertAllClose(p.components_distribution.stddev(), np.ones((2000, LATENT)), atol=1.1e-3)  # with the floor
        self.assertAllClose(p.mixture_distribution.probs_parameter(), np.full(2000, 1 / 2000))
        self.assertGreater(stats.kstest(prior.means.numpy().ravel(), "norm").pvalue, 1e-3)

    @parameterized.parameters(True, False)
    def test_draws(self, jit):
        """The components' shares are the weights (chi-square), and what is drawn of one has its moments (4 se)."""
        prior, weights, means, scales = mixture(dtype="float32")
        n = 40_000
        eps = noise.normal(3, 1, 0, n, prior.noise_size)
        draw = tf.function(lambda eps: prior.draw(prior.distribution(), eps), jit_compile=jit)
        k = mixtures.chosen(prior.distribution().mixture_distribution.logits, eps[:, 0]).numpy()
        self.assertGreater(stats.chisquare(np.bincount(k, minlength=3), n * weights).pvalue, 1e-3)
        standard = (draw(eps).numpy() - means[k]) / scales[k]
        self.assertAllClose(standard, eps[:, 1:], atol=2e-3)
        by_quantile = np.searchsorted(np.cumsum(weights), stats.norm.cdf(eps[:, 0].numpy().astype(np.float64)))
        self.assertLessEqual(np.count_nonzero(k != by_quantile), 2)  # float32 at a border between two
        chains = draw(tf.reshape(eps, [4, -1, prior.noise_size]))  # [S, B, D]
        self.assertAllEqual(tf.reshape(chains, [n, LATENT]), draw(eps))

    def test_a_number_far_out_chooses_a_component_that_there_is(self):
        logits = tf.constant([0.0, 1.0, -2.0])
        self.assertAllEqual(mixtures.chosen(logits, tf.constant([-40.0, 40.0])), [0, 2])


class FitTest(tf.test.TestCase):
    def test_expectation_maximisation_ends_where_the_likelihood_is_flat(self):
        """The gradient of the mean log-density is zero there, and no start near the truth does better."""
        truth, weights, means, _ = mixture(components=3, seed=4)
        z = truth.draw(truth.distribution(), noise.normal(1, 1, 0, 5000, LATENT + 1, "float64")).numpy()
        prior = kvae.priors.MixtureOfNormals(3, floor=1e-6, dtype="float64")
        prior.build(latent_dim=LATENT)
        self.assertTrue(prior.fit_codes(z, seed=0))
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(prior.distribution().log_prob(z))
        for gradient in tape.gradient(mean, prior.trainable_variables):
            self.assertAllClose(gradient, tf.zeros_like(gradient), atol=2e-3)
        self.assertGreater(mean, tf.reduce_mean(truth.distribution().log_prob(z)))
        order, expected = np.argsort(prior.means.numpy()[:, 0]), np.argsort(means[:, 0])
        self.assertAllClose(prior.means.numpy()[order], means[expected], atol=0.15)
        self.assertAllClose(special.softmax(prior.logits.numpy())[order], weights[expected], atol=0.03)

    def test_one_component_gets_the_mean_and_the_deviation(self):
        z = np.random.default_rng(0).normal([1.0, -3.0], [0.2, 4.0], size=(500, 2))
        prior = kvae.priors.MixtureOfNormals(1, dtype="float64")
        prior.build(latent_dim=LATENT)
        prior.fit_codes(z)
        normal = prior.distribution().components_distribution
        self.assertAllClose(normal.mean()[0], z.mean(axis=0), rtol=1e-10)
        self.assertAllClose(normal.stddev()[0], z.std(axis=0), rtol=1e-8)

    def test_more_components_than_codes_stay_finite_and_above_the_floor(self):
        z = np.repeat(np.random.default_rng(0).normal(size=(3, 2)), 4, axis=0)
        prior = kvae.priors.MixtureOfNormals(8, floor=0.01)
        prior.build(latent_dim=LATENT)
        prior.fit_codes(z)
        p = prior.distribution()
        self.assertTrue(np.isfinite(p.log_prob(z.astype(np.float32))).all())
        self.assertAllGreaterEqual(p.components_distribution.stddev(), 0.01)
        self.assertAllClose(p.mixture_distribution.probs_parameter().numpy().sum(), 1.0)


class VampPriorTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(rank=("diagonal", "full"), learned=(True, False), shape=((7, LATENT), (5, 7, LATENT)))
    def test_density_is_scipys(self, rank, learned, shape):
        prior, encode, q = vamp(rank, learned_weights=learned)
        weights = np.full(3, 1.0 / 3.0)
        if learned:
            prior.logits.assign([0.5, -1.0, 2.0])
            weights = special.softmax([0.5, -1.0, 2.0])
        z = 2.0 * np.random.default_rng(2).normal(size=shape)
        expected = log_mixture(weights, [q(u) for u in prior.pseudo_inputs.numpy()], z)
        self.assertAllClose(prior.distribution(encode).log_prob(z), expected, rtol=1e-10)

    @parameterized.parameters("diagonal", "full")
    def test_one_component_is_the_posterior_there(self, rank):
        prior, encode, q = vamp(rank, components=1)
        z = np.random.default_rng(2).normal(size=(5, 7, LATENT))
        self.assertAllClose(prior.distribution(encode).log_prob(z), q(prior.pseudo_inputs.numpy()[0]).logpdf(z))
        own = encode(tf.convert_to_tensor(prior.pseudo_inputs))
        self.assertAllClose(prior.distribution(encode).log_prob(z), own.log_prob(z), rtol=1e-12)

    def test_a_posterior_that_is_the_standard_normal_gives_it_back(self):
        prior, *_ = vamp(components=4)
        p = prior.distribution(lambda u, c: tfd.MultivariateNormalDiag(tf.zeros([4, LATENT], tf.float64), np.ones(2)))
        z = np.random.default_rng(2).normal(size=(7, LATENT))
        self.assertAllClose(p.log_prob(z), stats.norm.logpdf(z).sum(-1), rtol=1e-12)

    @parameterized.parameters("diagonal", "full")
    def test_density_integrates_to_one(self, rank):
        prior, encode, _ = vamp(rank)
        axis = np.linspace(-25.0, 25.0, 1001)
        z = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        self.assertAllClose(prior.distribution(encode).prob(z).numpy().sum() * (axis[1] - axis[0]) ** 2, 1.0, rtol=1e-6)

    @parameterized.parameters("diagonal", "full")
    def test_draws(self, rank):
        """Each is component k's own draw at the rest of the noise; their shares are the weights (chi-square)."""
        prior, encode, q = vamp(rank, dtype="float32", learned_weights=True)
        prior.logits.assign([0.5, -1.0, 2.0])
        p, n = prior.distribution(encode), 20_000
        eps = noise.normal(3, 1, 0, n, prior.noise_size)
        k = mixtures.chosen(prior.logits, eps[:, 0]).numpy()
        self.assertGreater(stats.chisquare(np.bincount(k), n * special.softmax([0.5, -1.0, 2.0])).pvalue, 1e-3)
        z = prior.draw(p, eps)
        for j, u in enumerate(prior.pseudo_inputs.numpy()):
            part = q(u)
            expected = part.mean + eps.numpy()[k == j, 1:] @ np.linalg.cholesky(part.cov_object.covariance).T
            self.assertAllClose(z.numpy()[k == j], expected, atol=1e-5, rtol=1e-5)
        self.assertAllEqual(tf.reshape(prior.draw(p, tf.reshape(eps, [5, -1, prior.noise_size])), [n, LATENT]), z)

    def test_gradient_flows_through_the_encoder(self):
        """By finite differences, float64, with a network for the encoder."""
        prior, *_ = vamp()
        network = keras.Sequential([keras.Input((4,), dtype="float64"), keras.layers.Dense(5, "tanh", dtype="float64")])
        posterior = kvae.posteriors.DiagonalNormal(dtype="float64")
        posterior.build(feature_shape=(5,), latent_dim=LATENT)
        z = np.random.default_rng(2).normal(size=(6, LATENT))

        def mean():
            return tf.reduce_mean(prior.distribution(lambda u, c: posterior.distribution(network(u))).log_prob(z))

        with tf.GradientTape() as tape:
            value = mean()
        own, kernel = tape.gradient(value, [prior.pseudo_inputs.value, network.trainable_weights[0].value])
        for variable, gradient, at in (
            (prior.pseudo_inputs, own, (1, 2)),
            (network.trainable_weights[0], kernel, (3, 4)),
        ):
            before, values = variable.numpy(), []
            for step in (1e-5, -1e-5):
                moved = before.copy()
                moved[at] += step
                variable.assign(moved)
                values.append(float(mean()))
            variable.assign(before)
            self.assertAllClose(gradient[at], (values[0] - values[1]) / 2e-5, rtol=1e-6, atol=1e-9)


class VampModelTest(tf.test.TestCase):
    """The prior in a model."""

    def vae(self, likelihood="bernoulli", condition=None, components=6, **parts):
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp((5,), LATENT, hidden=(8,), condition=condition)
        return kvae.VAE(*networks, likelihood=likelihood, prior=kvae.priors.VampPrior(components), **parts)

    def test_the_prior_is_the_mean_of_the_models_posteriors(self):
        vae = self.vae("continuous_bernoulli")
        z = np.random.default_rng(0).normal(size=(9, LATENT)).astype(np.float32)
        q = vae.encode(vae.prior.pseudo_inputs.numpy())
        expected = stats.norm(q.mean().numpy(), q.stddev().numpy()).logpdf(z[:, None]).sum(-1)
        expected = special.logsumexp(expected, axis=1) - np.log(6.0)
        self.assertAllClose(vae.prior_distribution().log_prob(z), expected, rtol=1e-5)

    def test_pseudo_inputs_stay_within_the_bounds_of_x(self):
        vae = self.vae()
        x = (np.random.default_rng(0).random((32, 5)) > 0.5).astype(np.float32)
        start = vae.prior.pseudo_inputs.numpy()
        self.assertAllInRange(start, 0.0, 1.0)
        vae.compile(keras.optimizers.Adam(0.5), run_eagerly=True)
        vae.fit(x, epochs=5, verbose=0)
        found = vae.prior.pseudo_inputs.numpy()
        self.assertAllInRange(found, 0.0, 1.0)
        self.assertTrue((found == 0.0).any() or (found == 1.0).any())  # so they would have left them
        free = self.vae("normal").prior.pseudo_inputs
        self.assertLess(free.numpy().min(), 0.0)
        self.assertIsNone(free.constraint)

    def test_adapt_begins_at_examples(self):
        x = np.random.default_rng(0).random((32, 5)).astype(np.float32)
        y = np.arange(32) % 3
        vae = self.vae("continuous_bernoulli", condition=3)
        vae.adapt((x, y))
        found = vae.prior.pseudo_inputs.numpy()
        rows = [int(np.flatnonzero((x == u).all(axis=1))[0]) for u in found]
        self.assertLen(set(rows), 6)
        self.assertAllEqual(vae.prior.pseudo_conditions.numpy(), np.eye(3)[y[rows]])
        again = self.vae("continuous_bernoulli", condition=3)
        again.adapt(tf.data.Dataset.from_tensor_slices((x, y)).batch(5))  # the same rows, however they come
        self.assertAllEqual(again.prior.pseudo_inputs, found)
        few = self.vae("continuous_bernoulli")
        few.adapt(x[:4])
        self.assertAllEqual(np.unique(few.prior.pseudo_inputs.numpy(), axis=0), np.unique(x[:4], axis=0))

    def test_a_point_mass_is_refused(self):
        with self.assertRaisesRegex(ValueError, "VampPrior is a mixture of .* the Deterministic posterior has no dens"):
            self.vae(posterior="deterministic", objective=kvae.objectives.ELBO(beta=0))
