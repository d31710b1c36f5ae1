"""A whole number that is saved with a model."""

import keras

from kvae.numerics import replicas


class Counter(keras.Variable):
    """A scalar weight of whole numbers. `int(counter)` works under a strategy of `tf.distribute`, too."""

    def __int__(self):
        return replicas.value(self)
