"""Starting the output at the mean of the data."""

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import integrate

import kvae
from tests.conformance import LIKELIHOODS, examples, make_vae


class AdaptTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*LIKELIHOODS)
    def test_the_mean_where_the_decoder_is_silent(self, likelihood):
        self.check_silent(likelihood, "mlp_image")

    @parameterized.parameters(*LIKELIHOODS)
    @pytest.mark.slow
    def test_the_mean_of_each_channel_where_the_decoder_is_silent(self, likelihood):
        self.check_silent(likelihood, "conv_odd")

    def check_silent(self, likelihood, network):
        vae = make_vae(network, likelihood=LIKELIHOODS[likelihood])
        x = examples(vae.likelihood, vae.event_shape, n=50)
        x = x if vae.likelihood.support.integer else 0.6 * x
        vae.adapt(x)
        kernel = vae.likelihood.projection.kernel
        kernel.assign(tf.zeros_like(kernel))
        mean = vae.sample(3, seed=0).numpy()
        alike = network == "conv_odd" and getattr(vae.likelihood, "per", "all") != "element"
        axes = (0, 1, 2) if alike else 0
        expected = x.mean(axis=axes)
        if likelihood.startswith("log_normal"):  # the normal distribution that fits log x
            expected = np.exp(np.log(x).mean(axis=axes) + np.log(x).var(axis=axes) / 2.0)
        self.assertAllClose(mean, np.broadcast_to(expected, mean.shape), rtol=1e-5, atol=2e-5)

    def test_splits_and_datasets_alike(self):
        vae = make_vae(likelihood=LIKELIHOODS["bernoulli"])
        x = examples(vae.likelihood, vae.event_shape, n=50)
        biases = []
        for data in (x, kvae.data.from_arrays(x, validation=0).train, tf.data.Dataset.from_tensor_slices(x).batch(7)):
            vae.adapt(data)
            biases.append(vae.likelihood.projection.bias.numpy())
        self.assertAllClose(biases[0], biases[1], rtol=1e-6)
        self.assertAllClose(biases[0], biases[2], rtol=1e-6)

    def test_constant_pixels_stay_within_reach(self):
        vae = make_vae(likelihood=LIKELIHOODS["bernoulli"])
        x = np.zeros((20, 6), np.float32)
        x[:, 0] = 1.0
        vae.adapt(x)
        end = np.log(999.0)
        self.assertAllClose(vae.likelihood.projection.bias, [end, -end, -end, -end, -end, -end], rtol=1e-5)

    def test_errors(self):
        vae = make_vae(likelihood=lambda: kvae.likelihoods.Bernoulli())
        with self.assertRaisesRegex(ValueError, "explains x in {0, 1}"):
            vae.adapt(np.full((4, 6), 0.5, np.float32))
        networks = kvae.networks.mlp((6,), 2, hidden=(6,))
        vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Bernoulli(project=False))
        with self.assertRaisesRegex(ValueError, "decoder's last layer"):
            vae.adapt(np.zeros((4, 6), np.float32))

    def test_continuous_bernoulli_by_quadrature(self):
        """The mean of the density e^(l x) on [0, 1] at the logits that `matching` gives."""
        means = np.array([0.002, 0.1, 0.4, 0.499, 0.5, 0.7, 0.99])
        for mean, logit in zip(means, kvae.likelihoods.ContinuousBernoulli().matching(means), strict=True):
            top = max(logit, 0.0)
            mass, first = (
                integrate.quad(lambda x, k=k, s=logit, t=top: x**k * np.exp(s * x - t), 0, 1, points=[0.01, 0.99])[0]
                for k in (0, 1)
            )
            self.assertAllClose(first / mass, mean, rtol=1e-6)


if __name__ == "__main__":
    tf.test.main()
