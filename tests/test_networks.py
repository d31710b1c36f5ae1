"""Networks for any event shape."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kvae


class NetworksTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        shape=[(28, 28, 1), (7, 5, 3), (1, 1, 1), (2, 9, 1), (13,), (11, 2)], filters=[(4,), (4, 5), (3, 4, 5)]
    )
    def test_conv_fits_any_size(self, shape, filters):
        encoder, decoder = kvae.networks.conv(shape, 3, filters=filters, dense=6)
        self.assertEqual(encoder.output_shape, (None, 6))
        place = shape[:-1] if len(shape) > 1 else shape
        self.assertEqual(decoder.output_shape, (None, *place, filters[0]))
        vae = kvae.VAE(encoder, decoder, likelihood="bernoulli")
        self.assertEqual(vae.reconstruct(np.zeros((2, *shape), np.float32)).shape, (2, *shape))

    def test_conv_reaches_every_pixel(self):
        """The gradient of every output pixel with respect to z is not zero, the cropped edge among them."""
        _, decoder = kvae.networks.conv((7, 5, 1), 3, filters=(4, 5), activation="tanh")
        z = tf.constant([[0.3, -0.2, 0.5]])
        with tf.GradientTape() as tape:
            tape.watch(z)
            out = tf.reduce_sum(decoder(z), axis=-1)
        self.assertTrue((np.abs(tape.jacobian(out, z).numpy()).sum(axis=(0, 3, 4)) > 0).all())

    def test_linear_networks_have_no_weights(self):
        encoder, decoder = kvae.networks.mlp((3, 2), 4, hidden=())
        self.assertEqual((encoder.count_params(), decoder.count_params()), (0, 0))
        self.assertEqual((encoder.output_shape, decoder.output_shape), ((None, 6), (None, 4)))

    def test_mlp_sizes(self):
        encoder, decoder = kvae.networks.mlp((28, 28, 1), 16, hidden=(400, 200))
        self.assertEqual(encoder.count_params(), 784 * 400 + 400 + 400 * 200 + 200)
        self.assertEqual(decoder.count_params(), 16 * 200 + 200 + 200 * 400 + 400)

    def test_projection_of_a_map_is_the_same_everywhere(self):
        _, decoder = kvae.networks.conv((6, 6, 2), 3, filters=(4,))
        likelihood = kvae.likelihoods.Bernoulli()
        likelihood.build(feature_shape=decoder.output_shape[1:], event_shape=(6, 6, 2))
        self.assertEqual(likelihood.projection.kernel.shape, (4, 2))
