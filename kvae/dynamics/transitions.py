"""The networks of a transition: from the last codes `[B, order, D]` to the move of the next one `[B, D]`."""

import keras
import numpy as np

from kvae.numerics import arguments

NAMES = ("linear", "residual", "gru")
_HIDDEN, _MEMORY = (256, 256), 64


@keras.saving.register_keras_serializable("kvae")
class Products(keras.layers.Layer):
    """Inputs `[B, F]` times the monomials of degree 0 to 2 of a condition `[B, C]`, and those of degree 1 and 2."""

    def call(self, inputs):
        """`[B, P F + P - 1]` for P monomials."""
        return products(*inputs, ops=keras.ops)


def products(features, condition, ops=np):
    """What `Products` computes."""
    count = condition.shape[-1]
    squares = [condition[:, i : i + 1] * condition[:, i:] for i in range(count)]
    rest = ops.concatenate([condition, *squares], axis=-1)
    width = rest.shape[-1] * features.shape[-1]
    return ops.concatenate([features, ops.reshape(rest[:, :, None] * features[:, None], (-1, width)), rest], axis=-1)


def at_condition(kernel, bias, condition, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernel `[width, D]` and bias of a linear transition at a condition `[C]` of any length, 0 included."""
    if not len(condition):
        return kernel, bias
    one = products(np.eye(width), np.repeat(condition[None], width, axis=0))
    zero = products(np.zeros((1, width)), condition[None])
    return (one - zero) @ kernel, bias + (zero @ kernel)[0]


def network(name: str, order: int, size: int, dtype: str, condition: int = 0) -> keras.Model:
    """A network by its name. It starts at a move of zero."""
    inputs = keras.Input((order, size), dtype=dtype)
    given = [keras.Input((condition,), dtype=dtype)] if condition else []
    last = {"kernel_initializer": "zeros", "dtype": dtype}
    if name == "gru":
        h = inputs
        if given:
            repeated = keras.layers.RepeatVector(order, dtype=dtype)(given[0])
            h = keras.layers.Concatenate(dtype=dtype)([inputs, repeated])
        h = keras.layers.GRU(_MEMORY, unroll=True, dtype=dtype)(h)
    else:
        h = keras.layers.Flatten(dtype=dtype)(inputs)
        if given:
            beside = Products if name == "linear" else keras.layers.Concatenate
            h = beside(dtype=dtype)([h, *given])
        for units in _HIDDEN if name == "residual" else ():
            h = keras.layers.Dense(units, "gelu", dtype=dtype)(h)
    return keras.Model([inputs, *given] if given else inputs, keras.layers.Dense(size, **last)(h), name=name)


def checked(transition, order: int, size: int, condition: int = 0):
    """A transition as a user gives it: a name, or a Keras model of the right shapes."""
    if isinstance(transition, str) or not isinstance(transition, keras.Model):
        return arguments.choice("transition", transition, NAMES)
    shapes = [tuple(one.shape[1:]) for one in (*(transition.inputs or ()), *(transition.outputs or ()))]
    given = [(condition,)] if condition else []
    allowed = [[(order, size), *given, (size,)]] + ([[(size,), *given, (size,)]] if order == 1 else [])
    if shapes not in allowed:
        beside = f" and a condition {(None, condition)}" if condition else ""
        raise ValueError(
            f"transition must be a built Keras model from codes {(None, *allowed[-1][0])}{beside} to their move "
            f"{(None, size)}, got one from and to {shapes}. The VAE has {size} latents, and order={order}."
        )
    return transition


def least_squares(flat: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `[F, D]` and bias `[D]` of moves = flat @ kernel + bias, for features `[W, F]`."""
    flat = flat.astype(np.float64)
    center, target = flat.mean(axis=0), moves.mean(axis=0, dtype=np.float64)
    kernel = np.linalg.lstsq(flat - center, moves - target, rcond=None)[0]
    return kernel, target - center @ kernel


def companion(kernel: np.ndarray, order: int) -> np.ndarray:
    """The matrix of one step of the last `order` codes, the oldest first, for next = codes @ kernel."""
    size = kernel.shape[1]
    return np.concatenate([np.eye(order * size)[size:], kernel.T])
