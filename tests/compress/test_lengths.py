"""The length of the code against the ELBO, which `vae.elbo` computes with draws of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import kvae
from kvae.compress.blocks import AT_PRIOR, NO_START, Blocks
from kvae.compress.container import header_of
from kvae.compress.latents import STEP
from tests.compress.test_masses import rows
from tests.conformance import CODES, LIKELIHOODS, MASSES, make_vae

LOG_2 = np.log(2.0)


def bits(block) -> int:
    return 32 * len(block.words)


def sampled(vae, x, draws):
    """The sum of the negative ELBOs in bits, and the standard deviation of one draw of all terms for each example.

    The mean is of `vae.elbo`, whose KL is exact; the code draws it, too.
    """
    elbo = np.stack([vae.elbo(x, seed=seed).numpy() for seed in range(draws)]).astype(np.float64) / LOG_2
    terms = vae.terms(x, samples=draws)
    each = sum(part.numpy().astype(np.float64) for part in (terms.log_px_z, terms.log_pz, -terms.log_qz_x)) / LOG_2
    variances = each.var(axis=0, ddof=1).sum() + elbo.var(axis=0, ddof=1).sum() / draws
    return -elbo.mean(axis=0).sum(), np.sqrt(variances)


def alone(vae, x, block):
    """The bits of examples that are coded without bits back, in closed form."""
    q = vae.encode(x)
    z = np.zeros(q.mean().shape) if block.way == AT_PRIOR else np.rint(q.mean().numpy() / STEP) * STEP
    each = -vae.decode(tf.constant(z, tf.float32)).log_prob(x).numpy()
    if block.way != AT_PRIOR:
        each = each - np.log(stats.norm.cdf(z + STEP / 2) - stats.norm.cdf(z - STEP / 2)).sum(axis=1)
    return each.sum() / LOG_2


@pytest.fixture(scope="module")
def digits():
    keras.utils.set_random_seed(0)
    data = kvae.data.load("digits", validation=0, binarize="static")
    encoder, decoder = kvae.networks.mlp(data.event_shape, 8, hidden=(60,), activation="tanh")
    vae = kvae.VAE(encoder, decoder, likelihood="bernoulli")
    vae.adapt(data.train)
    vae.compile(keras.optimizers.Adam(5e-3), jit_compile=False)
    vae.fit(data.train, epochs=12, verbose=0)
    return vae, data.train.x


def test_the_length_is_the_negative_elbo(digits):
    vae, x = digits
    block = Blocks.of(vae).encode(x.reshape(len(x), -1).astype(np.int64))
    mean, spread = sampled(vae, x[block.start :], 12)
    first = alone(vae, x[: block.start], block)
    rounding = 64 + 2e-3 * 8 * len(x)  # bits: whole words, and the least probability of a symbol, 2^-24
    assert mean > 1.2 * 8 * len(x)
    assert -4.0 * spread - 64 < bits(block) - mean - first < 4.0 * spread + rounding
    assert abs(bits(block) / sampled(vae, x, 5)[0] - 1.0) < 0.01
    content = kvae.compress.encode(vae, x.astype(np.uint8))
    frame = len(content) - bits(block) // 8
    assert frame == header_of(content)[1] + 29 < 230
    assert 8 * len(content) / mean < 1.05


def test_the_code_is_shorter_than_without_bits_back(digits):
    vae, x = digits
    x = x[:500].reshape(500, -1).astype(np.int64)
    blocks = Blocks.of(vae)
    ways = [blocks._encoded(x, None, 500, way) for way in (1, 2)]
    assert bits(blocks.encode(x)) < 0.9 * min(map(bits, ways))
    for block in ways:
        found = bits(block) - alone(vae, x.reshape(-1, 8, 8, 1).astype(np.float32), block)
        assert -32 < found < 100


@pytest.mark.parametrize("name", rows())
def test_every_likelihood(name):
    """On draws from the model."""
    vae = make_vae(likelihood=LIKELIHOODS[name], compiled=False)
    x = vae.sample(600, seed=1, output="sample").numpy()
    block = Blocks.of(vae).encode(x.reshape(600, -1).astype(np.int64))
    mean, spread = sampled(vae, x[block.start :], 20)
    slack = 64 + 2e-3 * (3 + 6) * 600
    assert -4.0 * spread - 64 < bits(block) - mean - alone(vae, x[: block.start], block) < 4.0 * spread + slack


@pytest.mark.parametrize("posterior", rows("finite_scalar", of=CODES))
def test_codes_have_the_length_of_their_masses(posterior):
    """No draws here: the ELBO is exact."""
    vae = make_vae(posterior=CODES[posterior], prior=MASSES["codes_categorical"], likelihood=LIKELIHOODS["bernoulli"],
                   compiled=False)  # fmt: skip
    vae.prior.mass.logits.assign(np.random.default_rng(0).normal(size=vae.prior.mass.logits.shape))
    x = vae.sample(600, seed=1, output="sample").numpy()
    block = Blocks.of(vae).encode(x.reshape(600, -1).astype(np.int64))
    assert (block.start, block.way) == (0, NO_START)
    exact = -vae.elbo(x).numpy().astype(np.float64).sum() / LOG_2
    assert -1.0 < bits(block) - exact < 64 + 1e-4 * exact


def test_a_conditional_prior_that_is_the_posterior_costs_nothing():
    networks = kvae.networks.mlp((6,), 2, hidden=(), condition=2)
    vae = kvae.VAE(*networks, likelihood="bernoulli", prior="conditional_normal")
    x, condition = np.random.default_rng(0).integers(0, 2, (400, 6)), np.arange(400) % 2
    kernel = np.array([[1.5, -1.0, 0.0, 0.5], [-1.0, 2.0, -1.0, 0.0]])
    vae.prior.projection.kernel.assign(kernel)
    vae.posterior.projection.kernel.assign(np.concatenate([np.zeros((6, 4)), kernel]))
    block = Blocks.of(vae).encode(x, np.eye(2, dtype=np.float32)[condition])
    terms = vae.terms(x[block.start :], samples=30, condition=condition[block.start :])
    assert terms.kl.numpy().max() < 1e-3
    each = terms.log_px_z.numpy().astype(np.float64) / LOG_2
    found = bits(block) + each.mean(axis=0).sum()
    spread = np.sqrt(each.var(axis=0, ddof=1).sum())
    assert -4.0 * spread - 64 < found < 4.0 * spread + 64 + 12.0 * block.start
