"""The likelihood of classes without an order."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.likelihoods.integers import Levels
from kvae.numerics.levels import Categorical as Mass


@keras.saving.register_keras_serializable("kvae")
class Categorical(Levels):
    """The numbers 0..K-1 of classes without an order: log p(x|z) = sum_j log softmax(l_j)_(x_j).

    A mass. The decoder gives K logits l_j for each element. The mean of p, which `reconstruct` gives, is that of the
    class's number. It is a mean of labels; the most likely class is `vae.decode(z).distribution.mode()`.

    The encoder sees x / (K - 1): the number as one value, in an order that classes do not have. An encoder that begins
    with `keras.layers.Rescaling(K - 1)` and a one-hot layer or `keras.layers.Embedding` sees the class
    (docs/training.md).

    Args:
        levels: K.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            the logits of class 0, of class 1, ..., each for all elements, along the last axis.
    """

    @property
    def per_element(self):
        """A logit for each class."""
        return self.levels

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        return self._independent(Mass(tf.stack(self._event(features), axis=-1)))

    def estimated(self, mean_of, least=0.0):
        """The logarithms of the frequencies, which are at least `least` / K."""
        return list(np.log(self._frequencies(mean_of, least)))

    def point(self, p, weight=None):
        """The most likely class."""
        return tf.cast(tf.argmax(self._mixed_levels(p, weight), axis=-1), self.compute_dtype)
