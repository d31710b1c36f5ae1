"""How methods are compiled: once each, by XLA or not."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from kvae.numerics import noise

_CONVOLUTIONS = ("Conv", "RNN", "LSTM", "GRU")


class Programs:
    """A cache of compiled functions by key. Keras and TensorFlow do not track it.

    Attributes:
        made: what has been made, by key.
    """

    def __init__(self):
        self.made: dict = {}

    def get(self, key, make: Callable) -> Callable:
        """The function of this key, made by `make()` the first time."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def function(self, method: Callable, jit_compile: bool = False) -> Callable:
        """A method as a TensorFlow function: traced once for all batch sizes, or compiled by XLA for each."""

        def make():
            return tf.function(method, jit_compile=jit_compile, reduce_retracing=not jit_compile)

        return self.get(method.__qualname__, make)


def compiled(function: Callable, jit: bool) -> Callable:
    """A function that draws noise, compiled by XLA for each shape or traced once for all shapes."""

    def traced(*arguments, **keywords):
        with noise.under_xla(jit):
            return function(*arguments, **keywords)

    return tf.function(traced, jit_compile=jit, reduce_retracing=not jit, autograph=False)


def gradient_barrier(gradients: list) -> list:
    """The gradients, behind a barrier under XLA: no dense gradient is used before all of them are computed.

    Then no weight changes while a gradient still needs its old value, and XLA need not copy the weight.
    """
    dense = [gradient for gradient in gradients if isinstance(gradient, tf.Tensor)]  # not None, nor IndexedSlices
    if not dense or not noise.within_xla() or tf.executing_eagerly():
        return gradients
    known = iter(gen_xla_ops.xla_optimization_barrier(dense))
    return [next(known) if isinstance(gradient, tf.Tensor) else gradient for gradient in gradients]


def prefers_xla(*networks) -> bool:
    """Whether XLA is likely to be faster: always on a GPU; on a CPU for networks without convolutions."""
    if tf.config.list_physical_devices("GPU"):
        return True
    layers = [layer for network in networks for layer in network._flatten_layers()]
    return not any(word in type(layer).__name__ for layer in layers for word in _CONVOLUTIONS)
