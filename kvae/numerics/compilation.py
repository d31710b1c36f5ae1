"""How methods are compiled: once each, by XLA or not."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from kvae.numerics import noise

_CONVOLUTIONS = ("Conv", "RNN", "LSTM", "GRU")


class Programs:
    """A cache of compiled functions by key. Keras and TensorFlow do not track it.

    Args:
        state: a function that returns what the compiled functions were made for, such as the identity of the weights
            they hold. Where it changes, all are made anew.

    Attributes:
        made: what has been made, by key.
    """

    def __init__(self, state: Callable = lambda: None):
        self.made: dict = {}
        self._state, self._made_for = state, state()

    def get(self, key, make: Callable) -> Callable:
        """The function of this key, made by `make()` the first time."""
        now = self._state()
        if now != self._made_for:
            self.made, self._made_for = {}, now
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def function(self, method: Callable, jit_compile: bool = False) -> Callable:
        """A method as a TensorFlow function: traced once for all batch sizes, or compiled by XLA for each."""

        def make():
            return tf.function(_Own(method), jit_compile=jit_compile, reduce_retracing=not jit_compile, autograph=False)

        return self.get(method.__qualname__, make)


class _Own:
    """A function that TensorFlow counts by itself, when it looks for too much tracing.

    It counts by the code of a function, which all models share: several models would look like one that is traced again
    and again.
    """

    def __init__(self, function: Callable):
        self.function = function
        self.__name__ = function.__name__

    def __call__(self, *arguments, **keywords):
        return self.function(*arguments, **keywords)


def count_apart(function) -> None:
    """Let TensorFlow count the traces of a function of Keras', and of those inside, by themselves, see `_Own`."""
    todo, seen = [function], set()
    while todo:
        one = todo.pop()
        if id(one) in seen or not (hasattr(one, "_key_for_call_stats") or hasattr(one, "__closure__")):
            continue
        seen.add(id(one))
        if hasattr(one, "_key_for_call_stats"):
            one._key_for_call_stats = one
        cells = getattr(one, "__closure__", None) or ()
        inside = [getattr(one, "__wrapped__", None), *(cell.cell_contents for cell in cells)]
        todo += [f for f in inside if hasattr(f, "_key_for_call_stats") or hasattr(f, "__wrapped__")]
        todo += [f for f in inside[:1] if hasattr(f, "__closure__")]


def compiled(function: Callable, jit: bool) -> Callable:
    """A function that draws noise, compiled by XLA for each shape or traced once for all shapes."""

    def traced(*arguments, **keywords):
        with noise.under_xla(jit):
            return function(*arguments, **keywords)

    return tf.function(_Own(traced), jit_compile=jit, reduce_retracing=not jit, autograph=False)


def identity_of(networks) -> tuple:
    """What changes with the networks: they themselves, their layers and the variables that these hold."""
    found: list[int] = []
    for network in networks:
        for layer in network._flatten_layers():
            found.append(id(layer))
            found.extend(map(id, layer._trainable_variables))
            found.extend(map(id, layer._non_trainable_variables))
    return tuple(found)


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
