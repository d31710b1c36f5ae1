"""Hierarchies of latents: densities, KL by group, and the case of one group."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import integrate, stats

import kvae
from kvae.numerics import divergences, noise
from kvae.numerics.grouped_normal import sizes_of
from kvae.posteriors.ladder import product
from tests.conformance import HIERARCHIES, quick

EACH = [(name, make) for name, make in HIERARCHIES.items()]
X = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)


def paired(make, latent, size=0.4, seed=0):
    """A posterior paired with a prior, float64, all weights random: with q for two x, and the prior's distribution."""
    posterior = make(project=False, dtype="float64")
    posterior.build(feature_shape=(posterior._units(latent),), latent_dim=latent)
    prior = kvae.priors.Hierarchical(posterior.groups, hidden=(5,), dtype="float64")
    prior.build(latent_dim=latent)
    posterior.pair(prior)
    random = np.random.default_rng(seed)
    for weight in posterior.weights + prior.weights:
        weight.assign(size * random.normal(size=weight.shape))
    features = tf.constant(random.normal(size=(2, posterior._units(latent))), tf.float64)
    return posterior, posterior.distribution(features), prior.distribution(None)


def model(posterior, **parts) -> kvae.VAE:
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((6,), 3, hidden=(8,))
    vae = kvae.VAE(*networks, posterior=posterior, **parts)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    return vae


def normal_kl(m, s, n, t):
    """KL(N(m, s^2) || N(n, t^2)), summed over the last axis, in NumPy."""
    return (np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5).sum(-1)


class DensityTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(EACH[0], *EACH[2:])  # with two groups
    def test_integrates_to_one(self, make):
        """Of q and of the prior, two groups of one number each."""
        _, q, p = paired(make, 2, size=0.25)
        axis = np.linspace(-16, 16, 401)
        z = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2)
        area = (axis[1] - axis[0]) ** 2
        self.assertAllClose(q.prob(z).numpy().sum(0) * area, np.ones(2), atol=1e-4)
        self.assertAllClose(p.prob(z[:, 0]).numpy().sum() * area, 1.0, atol=1e-4)

    @parameterized.named_parameters(EACH)
    def test_log_density_of_draws(self, make):
        """Out of the noise it is log q(z), and log N(eps) - log|det dz/deps| by the Jacobian matrix."""
        posterior, q, p = paired(make, 3)
        eps = noise.normal(3, 1, 0, 50, 6, "float64")
        eps = tf.reshape(eps, [50, 2, 3])
        z, log_q = posterior.drawn(q, eps)
        self.assertAllClose(q.log_prob(z), log_q, atol=1e-9)
        self.assertAllClose(q.bijector.inverse(z), eps, atol=1e-9)
        self.assertAllEqual(posterior.draw(q, eps), z)
        log_eps = stats.norm.logpdf(eps).sum(-1)
        self.assertAllClose(log_q, log_eps - self.log_det(q, eps), atol=1e-9)
        of_prior = eps[:, 0]
        z, log_p = p.drawn(of_prior)
        self.assertAllClose(log_p, log_eps[:, 0] - self.log_det(p, of_prior[:, None])[:, 0], atol=1e-9)
        self.assertAllClose(p.log_prob(z), log_p, atol=1e-9)

    def log_det(self, q, eps):
        with tf.GradientTape() as tape:
            tape.watch(eps)
            z = q.bijector.forward(eps)
        jacobian = tape.batch_jacobian(z, eps).numpy()  # [50, B, D, B, D]
        rows = range(eps.shape[1])
        return np.stack([np.linalg.slogdet(jacobian[:, b, :, b, :])[1] for b in rows], axis=1)

    @parameterized.named_parameters(EACH)
    def test_groups_depend_on_each_other(self, make):
        """What the other tests would not see: the groups drawn later move with those before."""
        _, q, _ = paired(make, 3)
        first, last = q.order[0], q.order[-1]
        eps = np.zeros((2, 3))
        before = q.split(q.bijector.forward(eps))[last].numpy()
        start = sum(q.group_sizes[:first])
        eps[:, start : start + q.group_sizes[first]] += 1.0
        self.assertGreater(np.abs(q.split(q.bijector.forward(eps))[last].numpy() - before).min(), 1e-3)

    @parameterized.named_parameters(EACH)
    def test_every_x_at_every_z(self, make):
        """log q(z_m|x_n) for all pairs at once is that of each x by itself, and samples by TFP are draws of q."""
        posterior, q, _ = paired(make, 3)
        z = noise.normal(5, 1, 0, 7, 3, "float64")
        together = q.log_prob(z[:, None])
        self.assertEqual(together.shape, [7, 2])
        features = tf.constant(np.random.default_rng(2).normal(size=(2, posterior._units(3))), tf.float64)
        both, one = posterior.of(features), posterior.of(features[1:])
        self.assertAllClose(both.log_prob(z[:, None])[:, 1:], one.log_prob(z[:, None]), rtol=1e-9)
        eps = q.bijector.inverse(q.sample(20_000, seed=(1, 2))).numpy()
        self.assertEqual(eps.shape, (20_000, 2, 3))
        self.assertLess(np.abs(eps.mean(0)).max(), 4 / math.sqrt(20_000))
        self.assertLess(np.abs(np.square(eps).mean(0) - 1).max(), 4 * math.sqrt(2 / 20_000))

    @parameterized.named_parameters(EACH)
    def test_scales_are_bounded(self, make):
        """Parameters to 1e6 give finite densities and gradients, each factor's scale within its bounds."""
        for raw in (-30.0, 30.0, 1e6):
            posterior = make(project=False, floor=1e-2, cap=20.0)
            posterior.build(feature_shape=(posterior._units(3),), latent_dim=3)
            features = tf.fill([1, posterior._units(3)], raw)
            with tf.GradientTape() as tape:
                tape.watch(features)
                q = posterior.distribution(features)
                z, log_q = posterior.drawn(q, tf.ones([1, 1, 3]))
            self.assertTrue(np.isfinite(log_q.numpy()).all())
            self.assertTrue(np.isfinite(tape.gradient(log_q, features).numpy()).all())
            for _, s in q.given(z):
                self.assertAllInRange(s, 9e-3, 20.0 * (1 + 1e-6))

    def test_center_and_spread(self):
        """By hand: the top group's mean, and the group below at its mean given that."""
        posterior, q, _ = paired(HIERARCHIES["ladder"], 3)
        center, spread = posterior.center(q), posterior.spread(q)
        (m_1, s_1), (m_2, s_2) = q.given(center)
        self.assertAllClose(center, tf.concat([m_1, m_2], -1), atol=1e-9)
        self.assertAllClose(spread, tf.concat([s_1, s_2], -1), rtol=1e-9)
        self.assertEqual(posterior.export(q)["scale"].shape, [2, 3])


class MergeTest(tf.test.TestCase):
    def test_product_of_normals(self):
        """X22: the ladder's merge has the mean and scale of the product of two densities, by quadrature."""
        random = np.random.default_rng(0)
        for m, n, s, t in zip(*random.normal(size=(2, 5)), *random.uniform(0.2, 3.0, (2, 5)), strict=True):

            def moment(k, m=m, n=n, s=s, t=t):
                def density(z):
                    return z**k * stats.norm.pdf(z, m, s) * stats.norm.pdf(z, n, t)

                return integrate.quad(density, -40, 40, points=(m, n), epsabs=0, epsrel=1e-12, limit=400)[0]

            mean = moment(1) / moment(0)
            scale = math.sqrt(moment(2) / moment(0) - mean**2)
            self.assertAllClose(product(*(tf.constant(v, tf.float64) for v in (m, s, n, t))), (mean, scale), rtol=1e-7)

    def test_the_ladder_merges_with_the_prior(self):
        _, _, p = paired(HIERARCHIES["ladder"], 3)
        z = noise.normal(5, 1, 0, 2, 3, "float64")
        n, t = (v.numpy() for v in p.given(z)[0])
        posterior = HIERARCHIES["ladder"](project=False, dtype="float64")  # beside no hierarchy it merges with N(0, I)
        posterior.build(feature_shape=(6,), latent_dim=3)
        features = tf.constant(np.random.default_rng(0).normal(size=(2, 6)))
        m, s = features[:, :2], posterior.floor + tf.math.softplus(features[:, 2:4])
        found = posterior.of(features).given(z)[0]
        self.assertAllClose(found[1], s / tf.sqrt(1 + s**2), rtol=1e-9)
        self.assertAllClose(found[0], m / (1 + s**2), rtol=1e-9)
        posterior.prior_group = lambda number, groups: (n, t)
        found = posterior.of(features).given(z)[0]
        self.assertAllClose(found[0], (m / s**2 + n / t**2) / (1 / s**2 + 1 / t**2), rtol=1e-9)
        self.assertAllClose(found[1], 1 / tf.sqrt(1 / s**2 + 1 / t**2), rtol=1e-9)


class KLTest(tf.test.TestCase, parameterized.TestCase):
    def test_residual_is_the_general_one(self):
        """KL_l = 1/2 (d^2/t^2 + r^2 - log r^2 - 1) of the network's own outputs."""
        posterior = HIERARCHIES["top_down"](hidden=(), project=False, dtype="float64")
        posterior.build(feature_shape=(6,), latent_dim=3)
        prior = kvae.priors.Hierarchical(hidden=(5,), dtype="float64")
        prior.build(latent_dim=3)
        posterior.pair(prior)
        random = np.random.default_rng(4)
        for weight in posterior.weights + prior.weights:
            weight.assign(random.normal(size=weight.shape))
        features = tf.constant(random.normal(size=(2, 6)))
        q, p = posterior.of(features), prior.distribution(None)
        z = posterior.draw(q, tf.reshape(noise.normal(3, 1, 0, 9, 6, "float64"), [9, 2, 3]))
        raw = features[:, :4] + z[..., 2:] @ posterior.networks[0].dense[0].kernel
        d, r = (
            raw[..., :2].numpy(),
            posterior.floor + np.log1p(np.exp(raw[..., 2:].numpy())),
        )
        t = p.given(z)[0][1].numpy()
        by_hand = 0.5 * (d**2 / t**2 + r**2 - np.log(r**2) - 1).sum(-1).mean(0)
        found = divergences.kl_per_group(q, p, z)
        self.assertAllClose(found[:, 0], by_hand, rtol=1e-9)
        m, s = (v.numpy() for v in q.given(z)[1])
        self.assertAllClose(found[:, 1], normal_kl(m, s, 0.0, 1.0), rtol=1e-9)

    @parameterized.named_parameters(EACH)
    @pytest.mark.slow
    def test_unbiased_and_less_spread(self, make):
        """Each group's is E_q log q_l - log p_l (4 se of the paired difference). Top-down it varies less."""
        posterior, q, p = paired(make, 3)
        n = 40_000
        eps = tf.reshape(noise.normal(3, 1, 0, n, 6, "float64"), [n, 2, 3])
        z, log_q = posterior.drawn(q, eps)
        ratio = np.stack(
            [
                (stats.norm.logpdf(one, *of_q) - stats.norm.logpdf(one, *of_p)).sum(-1)
                for one, of_q, of_p in zip(q.split(z), q.given(z), p.given(z), strict=True)
            ],
            axis=-1,
        )  # [n, B, L]
        draws = np.stack([divergences.kl_per_group(q, p, z[i : i + 1]) for i in range(200)])
        self.assertAllClose(ratio.sum(-1), log_q - p.log_prob(z), atol=1e-9)
        found, size = divergences.kl_per_group(q, p, z).numpy(), ratio.std(0) / math.sqrt(n)
        self.assertLess((np.abs(found - ratio.mean(0)) / size).max(), 4.0)
        if q.order == p.order:
            self.assertAllEqual(draws.std(0) < ratio[:200].std(0), np.ones(found.shape, bool))
            self.assertTrue((draws >= 0.0).all())
        else:
            self.assertAllClose(draws, ratio[:200], atol=1e-9)

    def test_none_without_two_hierarchies(self):
        _, q, p = paired(HIERARCHIES["top_down"], 3)
        unit = kvae.priors.StandardNormal()
        unit.build(latent_dim=3)
        z = tf.zeros([1, 2, 3], tf.float64)
        self.assertIsNone(divergences.kl_per_group(q, unit.distribution(None), z))
        self.assertIsNone(divergences.kl_per_group(unit.distribution(None), p, z))
        self.assertIsNone(divergences.kl(q, p))


@quick("test_logs_by_group", "add_up_top_down")
@quick("test_one_group")
class ModelTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(EACH[0], *EACH[2:])
    def test_one_group_is_the_plain_model_bit_for_bit(self, make):
        plain = model("diagonal_normal", seed=3)
        one = model(type(make())(groups=1), prior=kvae.priors.Hierarchical(groups=1), seed=3)
        histories = [vae.fit(X, batch_size=8, epochs=3, verbose=0).history for vae in (plain, one)]
        self.assertEqual(*histories)
        for a, b in zip(plain.weights, one.weights, strict=True):
            self.assertAllEqual(a, b)
        self.assertAllEqual(plain.elbo(X, seed=1), one.elbo(X, seed=1))
        self.assertAllEqual(plain.reconstruct(X), one.reconstruct(X))
        self.assertAllEqual(plain.sample(3, seed=1), one.sample(3, seed=1))
        estimates = [kvae.evaluate.log_likelihood(vae, X, samples=50) for vae in (plain, one)]
        self.assertEqual(*estimates)

    @parameterized.named_parameters(EACH)
    def test_starts_as_independent_groups(self, make):
        """At first the prior is N(0, I) but for the floor, and top-down groups are independent given x."""
        vae = model(make(), prior=kvae.priors.Hierarchical(make().groups))
        z = noise.normal(1, 1, 0, 24, 3)
        scale = np.where(np.arange(3) < 3 - vae.prior.group_sizes[-1], 1.0 + vae.prior.floor, 1.0)
        self.assertAllClose(vae.prior_distribution().log_prob(z), stats.norm.logpdf(z, 0, scale).sum(-1), rtol=1e-5)
        q = vae.encode(X)
        if q.order[0]:
            for one, other in zip(q.given(z), q.given(-z), strict=True):
                self.assertAllEqual(one[0] + z[:, :1] * 0, other[0] + z[:, :1] * 0)
                self.assertAllEqual(one[1] + z[:, :1] * 0, other[1] + z[:, :1] * 0)

    @parameterized.named_parameters(EACH)
    def test_logs_by_group_add_up(self, make):
        vae = model(make(), prior=kvae.priors.Hierarchical(make().groups))
        logs = vae.fit(X, batch_size=8, epochs=2, verbose=0).history
        groups = [name for name in logs if name.startswith("kl_")]
        self.assertEqual(groups, [f"kl_{number + 1}" for number in range(len(sizes_of(make().groups, 3)))])
        self.assertAllClose(np.sum([logs[name] for name in groups], axis=0), logs["kl"], rtol=1e-5)
        terms = vae.terms(X, samples=4, seed=1)
        self.assertAllClose(vae.objective.kl(terms), tf.reduce_sum(terms.kl_per_group, -1), rtol=1e-6)
        by_draws = kvae.objectives.ELBO(kl="monte_carlo").kl(terms)
        self.assertAllClose(by_draws, tf.reduce_mean(terms.log_qz_x - terms.log_pz, 0))

    def test_free_bits_by_group(self):
        """sum_l max(mean over the batch of KL_l, lambda), by hand; one group above and one below."""
        vae = model(kvae.posteriors.TopDown(), prior=kvae.priors.Hierarchical())
        terms = vae.terms(X, samples=3, seed=1)
        means = terms.kl_per_group.numpy().mean(0)
        some = float(means.mean())
        objective = kvae.objectives.ELBO(free_bits=some)
        by_hand = np.maximum(means, some).sum() - terms.log_px_z.numpy().mean(0)
        self.assertAllClose(objective.loss(terms, 0), by_hand, rtol=1e-5)
        self.assertIs(model(kvae.posteriors.Ladder(), prior="hierarchical", objective=objective).objective, objective)

    def test_first_group_alone(self):
        """A decoder that begins with `FirstGroup` sees nothing of the other groups; its file is the same."""
        encoder, decoder = kvae.networks.mlp((6,), 2, hidden=(8,))
        decoder = keras.Sequential([keras.Input((3,)), kvae.networks.FirstGroup(2), decoder])
        vae = kvae.VAE(encoder, decoder, posterior="bottom_up", prior="hierarchical")
        z = noise.normal(1, 1, 0, 5, 3).numpy()
        other = z.copy()
        other[:, 2] += 3.0
        self.assertAllEqual(vae.decode(z).mean(), vae.decode(other).mean())
        other[:, 1] += 3.0
        self.assertGreater(np.abs(vae.decode(z).mean() - vae.decode(other).mean()).min(axis=1).max(), 1e-3)
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae.save(path)
        again = kvae.load_model(path)
        self.assertAllEqual(again.terms(X, seed=1).log_px_z, vae.terms(X, seed=1).log_px_z)

    def test_sizes(self):
        self.assertEqual([sizes_of(3, n) for n in (3, 7, 8)], [(1, 1, 1), (3, 2, 2), (3, 3, 2)])
        self.assertEqual(sizes_of((4, 2), 6), (4, 2))
