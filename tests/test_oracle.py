"""Models with exact answers. X numbers are those of the list of checks in docs/theory.md."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from absl.testing import parameterized
from scipy import integrate, stats
from sklearn.datasets import load_digits

import kvae
from kvae.data.batch import Batch
from kvae.numerics import divergences, noise
from tests.conformance import quick

tfd = tfp.distributions


def digits() -> np.ndarray:
    return load_digits().data / 16.0


def ppca(x, q):
    """Tipping and Bishop (1999): mean, W, noise variance and log-likelihood per example, in float64."""
    mean = x.mean(0)
    eigenvalues, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    d = x.shape[1]
    s2 = eigenvalues[q:].mean()
    w = vectors[:, :q] * np.sqrt(eigenvalues[:q] - s2)
    log_p = -0.5 * (np.log(eigenvalues[:q]).sum() + (d - q) * np.log(s2) + d * math.log(2 * math.pi) + d)
    return mean, w, s2, eigenvalues[:q], log_p


def softplus_inverse(y):
    return np.log(np.expm1(y))


def linear_vae(q, scale, dtype="float32", **arguments) -> kvae.VAE:
    """A linear VAE on 64 pixels."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        networks = kvae.networks.mlp((64,), q, hidden=())
        return kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale=scale), **arguments)
    finally:
        keras.config.set_dtype_policy(before)


def set_closed_form(vae, x, q):
    """The weights of probabilistic PCA: its posterior has the diagonal covariance s2 / l_i."""
    mean, w, s2, eigenvalues, log_p = ppca(x, q)
    encode = (w / eigenvalues).T  # M^-1 W^T with M = diag(l)
    kernel = np.concatenate([encode.T, np.zeros((64, q))], axis=1)
    raw = softplus_inverse(np.sqrt(s2 / eigenvalues) - vae.posterior.floor)
    vae.posterior.projection.set_weights([kernel, np.concatenate([-encode @ mean, raw])])
    vae.likelihood.projection.set_weights([w.T, mean])
    if vae.likelihood.scale == "learned":
        vae.likelihood.raw_scale.assign(softplus_inverse(math.sqrt(s2) - vae.likelihood.floor))
    if vae.likelihood.scale == "optimal":
        vae.likelihood.mean_square.assign(s2)
    return log_p, s2, eigenvalues


@quick("test_training_reaches_it", "optimal")
class LinearTest(tf.test.TestCase, parameterized.TestCase):
    """X1: the linear VAE is probabilistic PCA (Lucas et al. 2019)."""

    @parameterized.parameters(
        (1, -3.748464), (2, 0.005707), (5, 8.907637), (10, 17.451947), (20, 27.277300), (32, 35.247022)
    )
    def test_the_oracle_itself(self, q, published):
        self.assertAllClose(ppca(digits(), q)[-1], published, atol=1e-6)

    @parameterized.product(scale=["learned", "optimal", 0.22751370**0.5 / 10**0.5], q=[10])
    def test_closed_form_weights_give_log_p(self, scale, q):
        """In float32 to 1e-4: the ELBO is exact for every draw of z, because q(z|x) is the posterior."""
        x = digits()
        vae = linear_vae(q, scale)
        log_p, s2, eigenvalues = set_closed_form(vae, x, q)
        terms = vae.terms(x.astype(np.float32), samples=2, seed=1)
        exact = terms.log_px_z + terms.log_pz - terms.log_qz_x
        self.assertAllClose(exact.numpy().mean(), log_p, atol=1e-4)
        self.assertAllClose(terms.kl.numpy().mean(), 0.5 * np.log(eigenvalues / s2).sum(), atol=1e-4)
        estimate = kvae.evaluate.log_likelihood(vae, x.astype(np.float32), samples=3)
        self.assertAllClose(estimate.mean, log_p, atol=1e-4)
        self.assertAllClose(estimate.effective_sample_size, 3.0, atol=1e-4)

    def test_closed_form_in_float64_and_its_gradient(self):
        """To 1e-9, and a stationary point of the exact ELBO: norm of the gradient below 1e-5."""
        x = tf.constant(digits())
        vae = linear_vae(10, "learned", "float64")
        log_p, _, _ = set_closed_form(vae, digits(), 10)
        # +-sqrt(D) times the unit vectors integrate a quadratic in eps exactly.
        points = math.sqrt(10) * np.concatenate([np.eye(10), -np.eye(10)])
        eps = tf.constant(np.repeat(points[:, None], len(x), axis=1))
        with tf.GradientTape() as tape:
            terms = vae._terms(Batch(x), eps)
            elbo = tf.reduce_mean(terms.log_px_z) - tf.reduce_mean(terms.kl)
        self.assertEqual(elbo.dtype, tf.float64)
        self.assertAllClose(elbo, log_p, atol=1e-9)
        gradients = tape.gradient(elbo, vae.trainable_weights)
        self.assertLess(math.sqrt(sum(float(tf.reduce_sum(g**2)) for g in gradients)), 1e-5)

    @parameterized.named_parameters((scale, scale) for scale in ("learned", "optimal"))
    @pytest.mark.slow
    def test_training_reaches_it(self, scale):
        """Within 0.05 nats of 17.4519 after training."""
        x = digits().astype(np.float32)
        keras.utils.set_random_seed(0)
        vae = linear_vae(10, scale)
        epochs, batch = TRAINING[scale]
        rate = keras.optimizers.schedules.CosineDecay(3e-2, epochs * math.ceil(len(x) / batch), alpha=1e-3)
        vae.compile(optimizer=keras.optimizers.Adam(rate))
        vae.fit(x, batch_size=batch, epochs=epochs, verbose=0)
        log_p = ppca(digits(), 10)[-1]
        reached = kvae.evaluate.summary(vae, x, samples=100)
        for name in ("elbo", "log_likelihood"):
            self.assertLess(reached[name].mean, log_p + 4 * reached[name].monte_carlo_error)
        self.assertGreater(reached["log_likelihood"].mean, log_p - 0.05)


TRAINING = {"learned": (700, 300), "optimal": (700, 300)}


@quick("test_beta_elbo_at_the_optimum", "0")
class ThresholdTest(tf.test.TestCase, parameterized.TestCase):
    """X2, the fixed points: beta s2 decides which directions live (the ELBO's optimum, without training)."""

    @parameterized.parameters(
        (0.1, 1.0, 20, -1.661577, 5.479385, 12),
        (0.1, 4.0, 20, -7.840993, 0.675787, 3),
        (0.05, 0.025, 60, 34.357748, 81.894526, 50),
        (0.5, 1.0, 20, None, None, 3),
        (1.0, 1.0, 20, None, 0.0, 0),  # total collapse: the posterior is the prior
    )
    def test_beta_elbo_at_the_optimum(self, s2, beta, q, expected, expected_kl, active):
        x = digits()
        mean, _, _, _, _ = ppca(x, q)
        eigenvalues, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
        eigenvalues, vectors = eigenvalues[::-1][:q], vectors[:, ::-1][:, :q]
        t = beta * s2
        live = np.maximum(eigenvalues, t)  # a dead direction has W = 0 and posterior = prior
        w = vectors * np.sqrt(live - t)
        vae = linear_vae(q, math.sqrt(s2), "float64", objective=kvae.objectives.ELBO(beta=beta))
        encode = (w / live).T
        raw = softplus_inverse(np.sqrt(t / live) - vae.posterior.floor)
        kernel = np.concatenate([encode.T, np.zeros((64, q))], axis=1)
        vae.posterior.projection.set_weights([kernel, np.concatenate([-encode @ mean, raw])])
        vae.likelihood.projection.set_weights([w.T, mean])
        points = math.sqrt(q) * np.concatenate([np.eye(q), -np.eye(q)])
        terms = vae._terms(Batch(tf.constant(x)), tf.constant(np.repeat(points[:, None], len(x), axis=1)))
        if expected is not None:
            self.assertAllClose(-tf.reduce_mean(vae.objective.loss(terms, 0)), expected, atol=1e-6)
        if expected_kl is not None:
            self.assertAllClose(tf.reduce_mean(terms.kl), expected_kl, atol=1e-6)
        self.assertAllClose(tf.reduce_mean(terms.kl), 0.5 * np.log(live / t).sum(), atol=1e-9)
        units = kvae.evaluate.summary(vae, x, samples=1)["active_units"]
        self.assertEqual(units.mean, active)


class BetaTest(tf.test.TestCase):
    def test_one_is_the_elbo_and_none_the_reconstruction(self):
        """X19, at the same draws: by hand from the three log-densities."""
        x = digits()[:40].astype(np.float32)
        vae = linear_vae(5, "learned", objective=kvae.objectives.ELBO(kl="monte_carlo"))
        terms = vae.terms(x, samples=3, seed=2)
        elbo = tf.reduce_mean(terms.log_px_z + terms.log_pz - terms.log_qz_x, axis=0)
        self.assertAllClose(vae.objective.loss(terms, 0), -elbo, rtol=1e-6)
        self.assertAllClose(vae.elbo(x, samples=3, seed=2), elbo, rtol=1e-6)
        no_kl = kvae.objectives.ELBO(beta=0).loss(terms, 0)
        self.assertAllClose(no_kl, -tf.reduce_mean(terms.log_px_z, axis=0), rtol=1e-6)


class DivergenceTest(tf.test.TestCase):
    """X3 to X5: the Kullback-Leibler divergence of normals."""

    def test_kl_of_a_given_mean_and_variance(self):
        """X3: mean [1.5, 1, 2], variance [.2, .4, .1] against the standard normal, by posterior and prior."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float64")
        try:
            posterior, prior = kvae.posteriors.DiagonalNormal(project=False), kvae.priors.StandardNormal()
        finally:
            keras.config.set_dtype_policy(before)
        posterior.build(feature_shape=(6,), latent_dim=3)
        prior.build(latent_dim=3)
        raw = softplus_inverse(np.sqrt([0.2, 0.4, 0.1]) - posterior.floor)
        q = posterior.distribution(tf.constant([[1.5, 1.0, 2.0, *raw]], tf.float64))
        self.assertAllClose(divergences.kl(q, prior.distribution()), [4.889156868651], atol=1e-9)
        self.assertAllClose(tf.reduce_sum(divergences.kl_per_dim(q, prior.distribution())), 4.889156868651, atol=1e-9)

    def random_normals(self, seed, d=4):
        random = np.random.default_rng(seed)
        a, b = random.normal(size=(2, d, d))
        covariances = a @ a.T + 0.3 * np.eye(d), b @ b.T + 0.3 * np.eye(d)
        means = random.normal(size=(2, d))
        made = [tfd.MultivariateNormalTriL(m, np.linalg.cholesky(c)) for m, c in zip(means, covariances, strict=True)]
        return means, covariances, made

    def closed_form(self, means, covariances):
        (m1, m2), (c1, c2) = means, covariances
        inverse = np.linalg.inv(c2)
        log_ratio = np.linalg.slogdet(c2)[1] - np.linalg.slogdet(c1)[1]
        return 0.5 * (log_ratio - len(m1) + np.trace(inverse @ c1) + (m2 - m1) @ inverse @ (m2 - m1))

    def test_general(self):
        """X4: documents 000 and 003's formula, and Monte Carlo within 4 standard errors."""
        for seed in range(3):
            means, covariances, (q, p) = self.random_normals(seed)
            exact = self.closed_form(means, covariances)
            self.assertAllClose(divergences.kl(q, p), exact, rtol=1e-9)
            self.assertAllClose(divergences.kl(q, q), 0.0, atol=1e-9)
            self.assertGreater(abs(exact - self.closed_form(means[::-1], covariances[::-1])), 1e-3)
            z = np.random.default_rng(seed).multivariate_normal(means[0], covariances[0], size=200_000)
            ratio = (q.log_prob(z) - p.log_prob(z)).numpy()
            self.assertLess(abs(ratio.mean() - exact), 4 * ratio.std() / math.sqrt(len(ratio)))

    def test_additive_over_blocks(self):
        means, covariances, _ = self.random_normals(1)
        zero = np.zeros((4, 4))
        both = [np.concatenate([m, m]) for m in means]
        blocks = [np.block([[c, zero], [zero, c]]) for c in covariances]
        q, p = (tfd.MultivariateNormalTriL(m, np.linalg.cholesky(c)) for m, c in zip(both, blocks, strict=True))
        self.assertAllClose(divergences.kl(q, p), 2 * self.closed_form(means, covariances), rtol=1e-9)

    def test_full_is_diagonal_where_the_covariance_is(self):
        """X4: FullNormal with a diagonal L has DiagonalNormal's KL and density."""
        loc, raw = np.float32([0.3, -1.0]), np.float32([0.2, 1.5])
        diagonal, full = kvae.posteriors.DiagonalNormal(project=False), kvae.posteriors.FullNormal(project=False)
        diagonal.build(feature_shape=(4,), latent_dim=2)
        full.build(feature_shape=(5,), latent_dim=2)
        triangle = tfp.math.fill_triangular_inverse(tf.linalg.diag(raw)).numpy()
        a = diagonal.distribution(np.concatenate([loc, raw])[None])
        b = full.distribution(np.concatenate([loc, triangle])[None])
        prior = kvae.priors.StandardNormal()
        prior.build(latent_dim=2)
        self.assertAllClose(divergences.kl(a, prior.distribution()), divergences.kl(b, prior.distribution()))
        self.assertAllClose(a.log_prob([[0.5, 0.5]]), b.log_prob([[0.5, 0.5]]), rtol=1e-6)

    def test_full_fills_its_triangle_as_tfp_does(self):
        """L and its gradient are those of TFP's fill_triangular with softplus on the diagonal."""
        raw = np.random.default_rng(0).normal(size=(3, 2, 15))
        upstream = np.random.default_rng(1).normal(size=(3, 2, 5, 5))
        full = kvae.posteriors.FullNormal(project=False, dtype="float64")
        full.build(feature_shape=(20,), latent_dim=5)

        def expected(u):
            triangle = tfp.math.fill_triangular(u)
            return tf.linalg.set_diag(triangle, 1e-5 + tf.math.softplus(tf.linalg.diag_part(triangle)))

        def ours(u):
            return full.distribution(tf.concat([tf.zeros_like(u[..., :5]), u], axis=-1)).scale_tril

        for function in (ours, tf.function(ours, jit_compile=True)):
            value, (gradient,) = tfp.math.value_and_gradient(
                lambda u, f=function: tf.reduce_sum(f(u) * upstream), [tf.constant(raw)]
            )
            exact, (slope,) = tfp.math.value_and_gradient(
                lambda u: tf.reduce_sum(expected(u) * upstream), [tf.constant(raw)]
            )
            self.assertAllClose(function(tf.constant(raw)), expected(tf.constant(raw)), rtol=1e-14)
            self.assertAllClose(value, exact, rtol=1e-14)
            self.assertAllClose(gradient, slope, rtol=1e-14)

    def test_not_negative_and_cross_entropy(self):
        """X5: KL >= 0, 0 only where equal; KL = H(q, p) - H(q) with the entropy in closed form."""
        for seed in range(20):
            means, covariances, (q, p) = self.random_normals(seed)
            kl = float(divergences.kl(q, p))
            self.assertGreater(kl, 0.0)
            (m1, m2), (c1, c2) = means, covariances
            inverse = np.linalg.inv(c2)
            second_moment = np.trace(inverse @ c1) + (m2 - m1) @ inverse @ (m2 - m1)
            cross = 0.5 * (4 * math.log(2 * math.pi) + np.linalg.slogdet(c2)[1] + second_moment)
            self.assertAllClose(kl, cross - float(q.entropy()), rtol=1e-9)


def constant_posterior_vae(mean, variance, features, likelihood) -> kvae.VAE:
    """A VAE with q(z|x) = N(mean, variance) for every x and one latent; `features` maps z to the decoder's output."""
    size = likelihood.size
    x = keras.Input((size,))
    raw = softplus_inverse(math.sqrt(variance) - 1e-5)
    start = keras.initializers.Constant([mean, raw])
    encoder = keras.Model(x, keras.layers.Dense(2, kernel_initializer="zeros", bias_initializer=start)(x))
    z = keras.Input((1,))
    slope, offset = features
    decoder = keras.Model(
        z,
        keras.layers.Dense(
            size,
            kernel_initializer=keras.initializers.Constant([slope]),
            bias_initializer=keras.initializers.Constant(offset),
        )(z),
    )
    posterior = kvae.posteriors.DiagonalNormal(project=False)
    return kvae.VAE(encoder, decoder, posterior=posterior, likelihood=likelihood.make)


class Shape:
    """A likelihood and the size of its event."""

    def __init__(self, make, size):
        self.make, self.size = make, size


class ConjugateTest(tf.test.TestCase):
    """X6, X7, X14, X15: p(z) = N(0, 1), p(x|z) = N(z, 1/2), x = 1.3."""

    X = np.full((4000, 1), 1.3, np.float32)
    LOG_P, ELBO, GAP = -1.685004420592, -1.992777755, 0.307773334

    def model(self, mean=0.5, variance=0.6):
        likelihood = Shape(kvae.likelihoods.Normal(scale=math.sqrt(0.5), project=False), 1)
        return constant_posterior_vae(mean, variance, ([1.0], [0.0]), likelihood)

    def test_the_oracle_itself(self):
        self.assertAllClose(stats.norm(0, math.sqrt(1.5)).logpdf(1.3), self.LOG_P, atol=1e-12)
        self.assertAllClose(self.LOG_P - self.ELBO, self.GAP, atol=1e-8)
        m, v = 1.3 / 1.5, 1 / 3
        self.assertAllClose(0.5 * (math.log(v / 0.6) - 1 + 0.6 / v + (0.5 - m) ** 2 / v), self.GAP, atol=1e-8)

    def within(self, values, exact, errors=4.0):
        values = np.asarray(values, np.float64)
        self.assertLess(abs(values.mean() - exact), errors * values.std() / math.sqrt(len(values)) + 1e-6)

    def test_both_forms_of_the_elbo(self):
        """X6, X15: the analytic and the Monte Carlo KL have the same mean, the exact ELBO."""
        terms = self.model().terms(self.X, samples=10, seed=3)
        analytic = kvae.objectives.ELBO(kl="analytic")
        monte_carlo = kvae.objectives.ELBO(kl="monte_carlo")
        a, b = -analytic.loss(terms, 0).numpy(), -monte_carlo.loss(terms, 0).numpy()
        self.within(a, self.ELBO)
        self.within(b, self.ELBO)
        kl = 0.5 * (0.6 + 0.25 - 1 - math.log(0.6))
        self.assertAllClose(analytic.kl(terms), np.full(4000, kl), atol=1e-6)
        self.assertGreater(monte_carlo.kl(terms).numpy().std(), 0.01)
        self.within(monte_carlo.kl(terms), kl)
        # The joint-contrastive form is log p(x, z) - log q(z|x) at the same z.
        joint = tf.reduce_mean(terms.log_px_z + terms.log_pz - terms.log_qz_x, axis=0)
        self.assertAllClose(b, joint, atol=1e-5)

    def test_importance_bound(self):
        """X6, X7: k = 1 is the ELBO, the bound rises with k to log p and stays below it."""
        bounds = {}
        for k, expected in ((1, -1.994), (5, -1.719), (50, -1.687), (500, -1.6845)):
            estimate = kvae.evaluate.log_likelihood(self.model(), self.X[: 40_000 // k + 400], samples=k, seed=k)
            error = max(estimate.standard_error, 1e-4)  # over repetitions of the same x
            self.assertLess(abs(estimate.mean - expected), 4 * error + 2e-3)
            self.assertLess(estimate.mean, self.LOG_P + 4 * error)
            bounds[k] = estimate.mean, error
        self.assertLess(abs(bounds[1][0] - self.ELBO), 4 * bounds[1][1])
        for low, high in ((1, 5), (5, 50)):
            self.assertGreater(bounds[high][0], bounds[low][0])
        self.assertGreater(bounds[500][0], bounds[50][0] - 4 * bounds[500][1])

    def test_the_exact_posterior_gives_log_p(self):
        """X7: with q = p(z|x) the bound is log p for every k, without variance."""
        vae = self.model(1.3 / 1.5, 1 / 3)
        for k in (1, 7):
            estimate = kvae.evaluate.log_likelihood(vae, self.X[:50], samples=k)
            self.assertAllClose(estimate.mean, self.LOG_P, atol=1e-5)
            self.assertLess(estimate.standard_error, 1e-6)
            self.assertAllClose(estimate.effective_sample_size, k, rtol=1e-5)

    def test_monte_carlo_error_is_honest(self):
        """The reported error of a 20-draw estimate is its spread over repetitions, within 10 %."""
        vae = self.model()
        one = kvae.evaluate.log_likelihood(vae, self.X, samples=20)
        spread = one.standard_error * math.sqrt(one.examples)  # all x are equal: only the draws differ
        reported = one.monte_carlo_error * math.sqrt(one.examples)
        self.assertAllClose(reported, spread, rtol=0.1)

    def test_gradients_of_the_reparameterisation(self):
        """X14: d E[z^2] / d mean = 2 mean, / d scale = 2 scale, within 4 standard errors."""
        mean, scale = 0.7, 1.3
        posterior = kvae.posteriors.DiagonalNormal(project=False)
        posterior.build(feature_shape=(2,), latent_dim=1)
        n = 100_000
        features = tf.Variable(np.tile(np.float32([mean, softplus_inverse(scale - posterior.floor)]), (n, 1)))
        with tf.GradientTape() as tape:
            z = posterior.distribution(features).bijector.forward(noise.normal(0, 1, 0, n, 1))
            square = tf.reduce_sum(z**2)
        d_mean, d_raw = np.split(tape.gradient(square, features).numpy(), 2, axis=1)
        d_scale = d_raw / (1 - math.exp(-(scale - posterior.floor)))  # softplus' derivative
        self.within(d_mean[:, 0], 2 * mean)
        self.within(d_scale[:, 0], 2 * scale)


class LogisticTest(tf.test.TestCase):
    """X8: one latent, logits 2 z + .1, -1.5 z + .2, .5 z - .3."""

    A, B = np.array([2.0, -1.5, 0.5]), np.array([0.1, 0.2, -0.3])

    def exact(self, x):
        """200-point Gauss-Hermite quadrature of p(x|z) p(z)."""
        nodes, weights = np.polynomial.hermite.hermgauss(200)
        logits = np.sqrt(2) * nodes[:, None] * self.A + self.B
        log_p = (x * logits - np.logaddexp(0, logits)).sum(-1)
        return math.log((weights * np.exp(log_p)).sum() / math.sqrt(math.pi))

    def test_the_oracle_itself(self):
        self.assertAllClose(self.exact(np.array([1, 0, 1])), -1.760667830480, atol=1e-10)

    def test_log_likelihood_of_every_x(self):
        vae = constant_posterior_vae(0.2, 1.1, (self.A, self.B), Shape(kvae.likelihoods.Bernoulli(project=False), 3))
        x = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], np.float32)
        total = 0.0
        for row in x:
            estimate = kvae.evaluate.log_likelihood(vae, row[None], samples=20_000, seed=5)
            self.assertLess(abs(estimate.mean - self.exact(row)), 4 * estimate.monte_carlo_error)
            total += math.exp(estimate.mean)
        self.assertAllClose(total, 1.0, atol=5e-3)


class ContinuousBernoulliTest(tf.test.TestCase, parameterized.TestCase):
    """X10 to X12: the normaliser and the mean of the continuous Bernoulli."""

    def p(self, logits, **arguments):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float64")
        try:
            likelihood = kvae.likelihoods.ContinuousBernoulli(project=False, **arguments)
        finally:
            keras.config.set_dtype_policy(before)
        logits = np.atleast_1d(np.asarray(logits, np.float64))
        likelihood.build(feature_shape=(1,), event_shape=(1,))
        return likelihood.distribution(tf.constant(logits[:, None]))

    def log_c(self, logits, **arguments):
        """log C(l) = log p(x = 0) - log(1 - l)."""
        logits = np.atleast_1d(logits)
        return self.p(logits, **arguments).log_prob(np.zeros((len(logits), 1))).numpy() + np.logaddexp(0, logits)

    @parameterized.parameters(
        (1e-4, 2.220515968407), (0.01, 1.545197545513), (0.1, 1.010338559491), (0.3, 0.750587750880),
        (0.49, 0.693280537010), (0.5, math.log(2)),
    )  # fmt: skip
    def test_normaliser(self, p, expected):
        logit = math.log(p) - math.log1p(-p)
        self.assertAllClose(self.log_c([logit, -logit]), [expected, expected], atol=1e-10)
        area = integrate.quad(lambda x: p**x * (1 - p) ** (1 - x), 0, 1, epsabs=1e-13)[0]
        self.assertAllClose(self.log_c(logit), [-math.log(area)], atol=1e-10)

    @parameterized.parameters(
        (1e-4, 0.108474779367), (0.01, 0.207418098553), (0.3, 0.430222501144), (0.9, 0.669880386687)
    )
    def test_mean_is_not_lambda(self, p, expected):
        logit = math.log(p) - math.log1p(-p)
        self.assertAllClose(self.p(logit).mean()[0, 0], expected, atol=1e-10)

    def test_ends(self):
        self.assertAllClose(self.log_c(100.0), [4.60517018599], atol=1e-8)
        logits = tf.Variable(np.array([0.0, 100.0, -100.0]))
        with tf.GradientTape() as tape:
            value = self.p_of(logits).log_prob(np.full((3, 1), 0.5))
        self.assertTrue(np.isfinite(tape.gradient(value, logits).numpy()).all())

    def p_of(self, logits):
        likelihood = kvae.likelihoods.ContinuousBernoulli(project=False)
        likelihood.build(feature_shape=(1,), event_shape=(1,))
        return tfd.Independent(tfd.ContinuousBernoulli(logits=logits[:, None], dtype=tf.float64), 1)

    def test_the_clip_is_a_ceiling(self):
        """With c = 1e-4 a black pixel scores log C(1e-4) + log(1 - 1e-4) and no more."""
        best = self.p(-50.0, clip=1e-4).log_prob(np.zeros((1, 1)))
        self.assertAllClose(best, [2.220515968407 + math.log1p(-1e-4)], atol=1e-10)

    def test_bernoulli_on_grey_is_no_density(self):
        """Document 001: without C the integral over [0, 1] is below 1 by e^-log C."""
        self.assertLess(integrate.quad(lambda x: 0.3**x * 0.7 ** (1 - x), 0, 1)[0], 0.5)


class OptimalScaleTest(tf.test.TestCase):
    """X16: the closed form of the scale."""

    def test_stationary_and_identity(self):
        keras.utils.set_random_seed(1)
        networks = kvae.networks.mlp((64,), 4, hidden=(20,))
        vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale="optimal"))
        vae.compile()
        x = digits().astype(np.float32)[:500]
        vae.fit(x, batch_size=100, epochs=3, verbose=0)
        eps = vae._noise(0, 1, 0, len(x), 8)
        weight = tf.ones([len(x)])
        q = vae.posterior.distribution(vae.encoder(x))
        z = q.bijector.forward(eps)
        p = vae.likelihood.calibrated(x, vae.likelihood.distribution(vae.decode_features(z)), weight)
        loc, scale = p.distribution.loc.numpy().astype(np.float64), float(p.distribution.scale)
        s2 = np.square(x - loc).mean()  # over the data, q's samples and the pixels
        self.assertAllClose(scale**2, s2, rtol=1e-5)
        reconstruction = p.log_prob(x).numpy().mean()
        self.assertAllClose(reconstruction, -32 * (1 + math.log(2 * math.pi * s2)), rtol=1e-6)

        def log_p(log_s2):
            return -32 * (math.log(2 * math.pi) + log_s2) - 32 * s2 / math.exp(log_s2)

        h, at = 1e-4, math.log(scale**2)
        self.assertAllClose((log_p(at + h) - log_p(at - h)) / (2 * h), 0.0, atol=1e-3)

    def test_a_batch_without_weight_leaves_the_average(self):
        likelihood = kvae.likelihoods.Normal(scale="optimal", project=False)
        likelihood.build(feature_shape=(2,), event_shape=(2,))
        p = likelihood.distribution(tf.zeros([1, 2, 2]))
        for weight in (1.0, 0.0):
            likelihood.calibrated(tf.fill([2, 2], 3.0), p, tf.fill([2], weight))
            self.assertAllClose(likelihood.mean_square, 9.0)

    def test_weights_count(self):
        likelihood = kvae.likelihoods.Normal(scale="optimal", project=False)
        likelihood.build(feature_shape=(2,), event_shape=(2,))
        x, loc = tf.constant([[1.0, 1.0], [5.0, 5.0]]), tf.zeros([1, 2, 2])
        p = likelihood.calibrated(x, likelihood.distribution(loc), tf.constant([3.0, 1.0]))
        self.assertAllClose(p.distribution.scale, math.sqrt((3 * 1 + 25) / 4))
        self.assertAllClose(likelihood.distribution(loc).distribution.scale, math.sqrt((3 * 1 + 25) / 4))


class ReductionTest(tf.test.TestCase):
    """X28: sums over the event, means over examples."""

    def test_doubling(self):
        def evaluated(size, n):
            keras.utils.set_random_seed(0)
            x = keras.Input((size,))
            encoder = keras.Model(x, keras.layers.Dense(2, kernel_initializer="zeros")(x))
            z = keras.Input((1,))
            decoder = keras.Model(z, keras.layers.Dense(size, kernel_initializer="zeros")(z))
            vae = kvae.VAE(
                encoder, decoder, kvae.posteriors.DiagonalNormal(project=False),
                kvae.likelihoods.Normal(scale=0.7, project=False),
            )  # fmt: skip
            vae.compile(jit_compile=False)
            data = np.tile(np.float32([[0.3], [0.9]]), (n // 2, size))
            return vae.evaluate(data, verbose=0, return_dict=True)

        base, wide, long = evaluated(3, 10), evaluated(6, 10), evaluated(3, 20)
        self.assertAllClose(wide["reconstruction"], 2 * base["reconstruction"], rtol=1e-5)
        self.assertAllClose(wide["kl"], base["kl"], rtol=1e-5)
        self.assertAllClose(long["loss"], base["loss"], rtol=1e-5)
        by_hand = stats.norm(0, 0.7).logpdf([0.3, 0.9]).mean() * 3
        self.assertAllClose(base["reconstruction"], by_hand, rtol=1e-5)
