"""What comes back is what went in: every model that is supported, every kind of array."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse
from tensorflow_probability import distributions as tfd

import kvae
from tests.compress.test_masses import rows
from tests.conformance import CODES, LIKELIHOODS, MASSES, conditional_networks, examples, make_vae, restarted


def same(x, found):
    x = np.asarray(x)
    assert found.dtype == x.dtype and found.shape == x.shape
    np.testing.assert_array_equal(found, x)


def round_trip(vae, x, **beside):
    content = kvae.compress.encode(vae, x, **beside)
    same(x, kvae.compress.decode(vae, content, **beside))
    return content


@pytest.mark.parametrize("name", rows("bernoulli", "zero_inflated_poisson"))
def test_likelihoods(name):
    vae = make_vae(likelihood=LIKELIHOODS[name], compiled=False)
    round_trip(vae, examples(vae.likelihood, (6,), 130))


@pytest.mark.parametrize("prior", rows("codes_autoregressive", of=MASSES))
@pytest.mark.parametrize("posterior", rows("vector_quantized", of=CODES))
def test_codes(posterior, prior):
    vae = make_vae(posterior=CODES[posterior], prior=MASSES[prior], likelihood=LIKELIHOODS["bernoulli"], compiled=False)
    random = np.random.default_rng(0)
    for weight in vae.prior.weights:  # so that positions depend on each other
        weight.assign(random.normal(size=weight.shape))
    round_trip(vae, examples(vae.likelihood, (6,), 70))


@pytest.mark.parametrize("prior", ["standard_normal", "conditional_normal"])
def test_conditions(prior):
    vae = kvae.VAE(*conditional_networks((6,)), likelihood="bernoulli", prior=prior)
    if prior == "conditional_normal":
        vae.prior.projection.kernel.assign(np.random.default_rng(0).normal(size=(2, 6)))
    x, condition = examples(vae.likelihood, (6,), 70), np.arange(70) % 2
    content = round_trip(vae, x, condition=condition)
    assert kvae.compress.encode(vae, (x, condition)) == content
    with pytest.raises(ValueError, match="with another condition"):
        kvae.compress.decode(vae, content, 1 - condition)


@pytest.mark.parametrize("network", rows("conv_odd", of=["conv_odd", "resnet_batch", "mlp_mask"]))
def test_networks(network):
    vae = make_vae(network, likelihood=lambda: kvae.likelihoods.BetaBinomial(20), compiled=False)
    round_trip(vae, examples(vae.likelihood, vae.event_shape, 40).astype(np.uint8))


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, pytest.param(4097, marks=pytest.mark.slow)])
def test_any_number_of_examples(n):
    """From one, which finds an empty stack, to many steps."""
    vae = restarted(likelihood=LIKELIHOODS["bernoulli"])
    round_trip(vae, np.random.default_rng(n).integers(0, 2, (n, 6)))


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", ">i2", "<u4", "i8", "f2", "f4", ">f8"])
def test_dtypes(dtype):
    vae = restarted(likelihood=LIKELIHOODS["bernoulli"])
    round_trip(vae, np.random.default_rng(0).integers(0, 2, (40, 6)).astype(dtype))


def test_what_fit_takes():
    vae = restarted(likelihood=LIKELIHOODS["bernoulli"])
    x = np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.uint8)
    for given in (
        x.tolist(), tf.constant(x), np.asfortranarray(x), x[::-1], (x,), {"x": x, "mask": np.ones_like(x)},
        kvae.data.Split(x), kvae.data.Split(2 * x, scale=0.5), kvae.data.Split(0.5 * x, dynamic=True),
        tf.data.Dataset.from_tensor_slices(x).batch(7),
    ):  # fmt: skip
        plain = given["x"] if isinstance(given, dict) else given[0] if isinstance(given, tuple) else given
        if isinstance(plain, tf.data.Dataset):
            plain = x
        expected = plain.x if isinstance(plain, kvae.data.Split) else np.asarray(plain)
        np.testing.assert_array_equal(kvae.compress.decode(vae, kvae.compress.encode(vae, given)), expected)


class Geometric(kvae.likelihoods.Likelihood):
    """Not one of kvae's: `log_prob`, and `draw`, are enough."""

    support, measure = kvae.likelihoods.Poisson.support, "mass"

    def distribution(self, features):
        (logits,) = self._event(features)
        return self._independent(tfd.Geometric(logits=logits))

    def draw(self, p, uniform):
        return tf.floor(tf.math.log1p(-uniform) / tf.math.log1p(-p.distribution.probs_parameter()))


def test_a_likelihood_of_ones_own():
    vae = kvae.VAE(*kvae.networks.mlp((6,), 3, hidden=(8,)), likelihood=Geometric())
    round_trip(vae, np.random.default_rng(0).geometric(0.3, (40, 6)) - 1)


@pytest.mark.slow
def test_float64():
    dtype = {"dtype": "float64"}
    networks = kvae.networks.mlp((6,), 3, hidden=(8,))
    vae = kvae.VAE(*networks, posterior=kvae.posteriors.DiagonalNormal(**dtype),
                   likelihood=kvae.likelihoods.Poisson(**dtype), prior=kvae.priors.StandardNormal(**dtype))  # fmt: skip
    round_trip(vae, np.random.default_rng(0).poisson(3.0, (40, 6)).astype(np.float64))


def test_wide_latents():
    """Means beyond the grid and scales below its step."""
    vae = make_vae(likelihood=LIKELIHOODS["bernoulli"], compiled=False)
    vae.posterior.projection.kernel.assign(40.0 * np.random.default_rng(0).normal(size=(8, 6)))
    round_trip(vae, np.random.default_rng(0).integers(0, 2, (100, 6)))


def test_a_loaded_model_decodes(tmp_path):
    vae = make_vae(likelihood=LIKELIHOODS["bernoulli"], compiled=False)
    x = np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.uint8)
    content = kvae.compress.encode(vae, x)
    vae.save(tmp_path / "m.keras")
    same(x, kvae.compress.decode(kvae.load_model(tmp_path / "m.keras"), content))
    bias = vae.likelihood.projection.bias
    bias.assign(np.nextafter(bias.numpy(), np.float32(1.0)))
    with pytest.raises(ValueError, match=r"Another model encoded these data.*Give the model with the weights"):
        kvae.compress.decode(vae, content)


def test_a_configuration_that_is_changed(tmp_path):
    """What was compiled before does not encode for the model as it is now."""
    vae = make_vae(likelihood=LIKELIHOODS["bernoulli"], compiled=False)
    x = np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.uint8)
    before = kvae.compress.encode(vae, x)
    for layer in vae.decoder.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.activation = keras.activations.softsign
    content = kvae.compress.encode(vae, x)
    vae.save(tmp_path / "m.keras")
    same(x, kvae.compress.decode(kvae.load_model(tmp_path / "m.keras"), content))
    with pytest.raises(ValueError, match="Another model encoded these data"):
        kvae.compress.decode(vae, before)


def test_sparse_rows_come_back_dense():
    vae = restarted(likelihood=LIKELIHOODS["bernoulli"])
    x = np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.uint8)
    same(x.astype(np.float32), kvae.compress.decode(vae, kvae.compress.encode(vae, sparse.csr_matrix(x))))


def test_the_objective_and_names_do_not_count():
    keras.utils.set_random_seed(0)
    one = kvae.VAE(*kvae.networks.mlp((6,), 3, hidden=(8,)), likelihood="bernoulli")
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((6,), 3, hidden=(8,))
    other = kvae.VAE(*networks, likelihood="bernoulli", objective=kvae.objectives.ELBO(beta=2.0), seed=3, name="b")
    other.likelihood.projection.trainable = other.encoder.trainable = False
    x = np.random.default_rng(0).integers(0, 2, (40, 6))
    same(x, kvae.compress.decode(other, kvae.compress.encode(one, x)))


@pytest.mark.slow
def test_another_process_decodes(tmp_path):
    vae = make_vae(likelihood=lambda: kvae.likelihoods.BetaBinomial(255), compiled=False)
    x = np.random.default_rng(0).integers(0, 256, (100, 6)).astype(np.uint8)
    vae.save(tmp_path / "m.keras")
    (tmp_path / "x.kvae").write_bytes(kvae.compress.encode(vae, x))
    np.save(tmp_path / "x.npy", x)
    code = (
        "import kvae, numpy as np, pathlib\n"
        "found = kvae.compress.decode(kvae.load_model('m.keras'), pathlib.Path('x.kvae').read_bytes())\n"
        "assert np.array_equal(found, np.load('x.npy')) and found.dtype == np.uint8"
    )
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(kvae.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
