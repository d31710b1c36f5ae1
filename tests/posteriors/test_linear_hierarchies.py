"""A linear hierarchy of normals is probabilistic PCA: p(z|x) is known, and log p(x) is that of `test_oracle`."""

import math

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

import kvae
from kvae.posteriors import BottomUp, Ladder, TopDown
from tests.test_oracle import digits, linear_vae, ppca, softplus_inverse

LOW, TOP, SLOPE = 10, 4, 0.8  # sizes of the groups, and how much of z_1 is z_2
GROUPS = (LOW, TOP)
KINDS = {
    "top_down": lambda dtype: TopDown(GROUPS, hidden=(), dtype=dtype),
    "top_down_absolute": lambda dtype: TopDown(GROUPS, hidden=(), residual=False, dtype=dtype),
    "ladder": lambda dtype: Ladder(GROUPS, dtype=dtype),
    "bottom_up": lambda dtype: BottomUp(GROUPS, hidden=(), dtype=dtype),
}


def exact(kind, dtype="float32") -> kvae.VAE:
    """p(z_2) = N(0, I), z_1 = A z_2 + noise with the marginal N(0, I), x = W z_1 + mean + noise; q(z|x) = p(z|x).

    A has orthogonal columns of length `SLOPE`. Bottom-up they are in general position: p(z_2|z_1) = N(A^T z_1,
    (1 - SLOPE^2) I) is diagonal. From the top down they are unit vectors times `SLOPE`, so that p(z_2|x) is diagonal.
    """
    posterior, prior = KINDS[kind](dtype), kvae.priors.Hierarchical(GROUPS, hidden=(), dtype=dtype)
    vae = linear_vae(LOW + TOP, "learned", dtype, posterior=posterior, prior=prior)
    mean, w, s2, eigenvalues, _ = ppca(digits(), LOW)
    vae.likelihood.projection.set_weights([np.concatenate([w.T, np.zeros((TOP, 64))]), mean])
    vae.likelihood.raw_scale.assign(softplus_inverse(math.sqrt(s2) - vae.likelihood.floor))
    a = np.zeros((LOW, TOP))
    a[:TOP] = SLOPE * (stats.ortho_group.rvs(TOP, random_state=0) if kind == "bottom_up" else np.eye(TOP))
    noise = np.sqrt(1.0 - np.square(a).sum(1))  # of z_1 given z_2
    prior.networks[0].dense[0].set_weights([np.concatenate([a.T, np.zeros((TOP, LOW))], 1), raw(0, noise, prior)])

    encode = w / eigenvalues  # E[z_1|x] = (x - mean) encode, with variances s2 / l
    precision = eigenvalues / s2 - 1.0  # of x about z_1, without the prior
    if kind == "bottom_up":
        features = [(encode, np.sqrt(s2 / eigenvalues))]
        network = [
            np.concatenate([a, np.zeros((LOW, TOP))], 1),
            raw(0, np.full(TOP, math.sqrt(1 - SLOPE**2)), posterior),
        ]
    else:
        total = precision + 1.0 / noise**2
        top = encode @ a, np.sqrt(1.0 - SLOPE**2 * (1.0 - s2 / eigenvalues[:TOP]))
        if kind == "ladder":
            features, network = [(encode * (1 + 1 / precision), np.sqrt(1 / precision)), top], []
        else:
            relative = kind == "top_down"
            scale = np.sqrt(1.0 / total) / (noise if relative else 1.0)
            features = [(encode * (precision + 1) / total, scale), top]
            slope = a.T / (noise**2 * total) - a.T * relative
            network = [np.concatenate([slope, np.zeros((TOP, LOW))], 1)]
    kernel = np.concatenate([part for loc, scale in features for part in (loc, np.zeros((64, len(scale))))], 1)
    bias = np.concatenate([raw(-mean @ loc, scale, posterior) for loc, scale in features])
    posterior.projection.set_weights([kernel, bias])
    if network:
        posterior.networks[0].dense[0].set_weights(network)
    return vae


def raw(mean, scale, family):
    """The parameters (m, u) of N(mean, scale^2)."""
    return np.concatenate([mean + 0 * scale, softplus_inverse(scale - family.floor)])


class LinearHierarchyTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(kind=list(KINDS), dtype=["float32", "float64"])
    def test_every_draw_gives_log_p(self, kind, dtype):
        """log p(x, z) - log q(z|x) is log p(x), 17.451947 nats in the mean, whatever z: q(z|x) is the posterior."""
        vae, (mean, w, s2, _, log_p) = exact(kind, dtype), ppca(digits(), LOW)
        terms = vae.terms(digits().astype(dtype), samples=2, seed=1)
        log_px_z = terms.log_px_z
        if dtype == "float64":  # Keras' inputs round z to float32
            z = terms.z.numpy()[..., :LOW]
            log_px_z = stats.norm.logpdf(digits(), z @ w.T + mean, math.sqrt(s2)).sum(-1)
        found = log_px_z + terms.log_pz - terms.log_qz_x
        each = stats.multivariate_normal(mean, w @ w.T + s2 * np.eye(64)).logpdf(digits())
        self.assertAllClose(each.mean(), 17.451947, atol=1e-6)
        tolerance = 1e-4 if dtype == "float32" else 1e-9
        self.assertAllClose(found.numpy().mean(), log_p, atol=tolerance)
        self.assertAllClose(found, np.tile(each, (2, 1)), rtol=0, atol=10 * tolerance)

    @parameterized.parameters(*KINDS)
    def test_importance_sampling_has_no_variance(self, kind):
        found = kvae.evaluate.log_likelihood(exact(kind), digits().astype(np.float32), samples=3)
        self.assertAllClose(found.mean, 17.451947, atol=1e-4)
        self.assertAllClose(found.effective_sample_size, 3.0, atol=1e-4)

    @parameterized.parameters(*KINDS)
    def test_kl_is_that_of_the_first_group(self, kind):
        """z_2 tells nothing of x beside z_1, so that the KL term is that of PCA, 12.796141 (4 standard errors)."""
        vae = exact(kind)
        terms = vae.terms(digits().astype(np.float32), samples=10, seed=2)
        kl = tf.reduce_sum(terms.kl_per_group, axis=-1).numpy()
        _, _, s2, eigenvalues, _ = ppca(digits(), LOW)
        variances = s2 / eigenvalues
        center = (digits() - digits().mean(0)) @ (ppca(digits(), LOW)[1] / eigenvalues)
        each = 0.5 * (variances + center**2 - np.log(variances) - 1.0).sum(1)
        self.assertAllClose(each.mean(), 12.796141, atol=1e-6)
        error = (kl - each).std() / math.sqrt(len(kl))
        self.assertLess(abs((kl - each).mean()), 4 * error + 1e-4)

    def test_prior_of_the_first_group(self):
        """Its marginal is N(0, I): draws have these moments (4 standard errors)."""
        z = exact("bottom_up").prior_draws(40_000, 1).numpy()[:, :LOW]
        self.assertLess(np.abs(z.mean(0)).max(), 4 / math.sqrt(len(z)))
        self.assertLess(np.abs(np.cov(z.T) - np.eye(LOW)).max(), 4 * math.sqrt(2 / len(z)))

    @pytest.mark.slow
    def test_gaps_find_a_spoilt_encoder(self):
        """From wrong features of x the best q for each example finds log p(x): all of the gap is the encoder's."""
        x = digits()[:40].astype(np.float32)
        vae = exact("ladder")
        log_p = kvae.evaluate.log_likelihood(vae, x, samples=2).mean
        kernel, bias = vae.posterior.projection.get_weights()
        vae.posterior.projection.set_weights([0.7 * kernel, bias + 0.3])
        found = kvae.evaluate.gaps(vae, x, samples=300)
        self.assertGreater(found["amortization_gap"].mean, 1.0)
        self.assertAllClose(found["log_likelihood"].mean, log_p, atol=0.05)
        self.assertBetween(found["approximation_gap"].mean, -0.05, 0.1)
