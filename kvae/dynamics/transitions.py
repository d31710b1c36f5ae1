"""The networks of a transition: from the last codes `[B, order, D]` to the move of the next one `[B, D]`."""

import keras
import numpy as np

from kvae.numerics import arguments

NAMES = ("linear", "residual", "gru")
_HIDDEN, _MEMORY = (256, 256), 64


def network(name: str, order: int, size: int, dtype: str) -> keras.Model:
    """A network by its name. It starts at a move of zero."""
    inputs = keras.Input((order, size), dtype=dtype)
    last = {"kernel_initializer": "zeros", "dtype": dtype}
    if name == "gru":
        h = keras.layers.GRU(_MEMORY, unroll=True, dtype=dtype)(inputs)
    else:
        h = keras.layers.Flatten(dtype=dtype)(inputs)
        for units in _HIDDEN if name == "residual" else ():
            h = keras.layers.Dense(units, "gelu", dtype=dtype)(h)
    return keras.Model(inputs, keras.layers.Dense(size, **last)(h), name=name)


def checked(transition, order: int, size: int):
    """A transition as a user gives it: a name, or a Keras model of the right shapes."""
    if isinstance(transition, str) or not isinstance(transition, keras.Model):
        return arguments.choice("transition", transition, NAMES)
    shapes = [tuple(one.shape[1:]) for one in (*(transition.inputs or ()), *(transition.outputs or ()))]
    allowed = [[(order, size), (size,)]] + ([[(size,), (size,)]] if order == 1 else [])
    if shapes not in allowed:
        raise ValueError(
            f"transition must be a built Keras model from codes {(None, *allowed[-1][0])} to their move "
            f"{(None, size)}, got one from and to {shapes}. The VAE has {size} latents, and order={order}."
        )
    return transition


def least_squares(windows: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `[order D, D]` and bias `[D]` of moves = windows @ kernel + bias, for windows `[W, order, D]`."""
    flat = windows.reshape(len(windows), -1).astype(np.float64)
    center, target = flat.mean(axis=0), moves.mean(axis=0, dtype=np.float64)
    kernel = np.linalg.lstsq(flat - center, moves - target, rcond=None)[0]
    return kernel, target - center @ kernel


def companion(kernel: np.ndarray, order: int) -> np.ndarray:
    """The matrix of one step of the last `order` codes, the oldest first, for next = codes @ kernel."""
    size = kernel.shape[1]
    return np.concatenate([np.eye(order * size)[size:], kernel.T])
