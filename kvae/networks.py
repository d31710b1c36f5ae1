"""Encoder and decoder pairs for any event shape.

Both networks end in features, not in parameters: the posterior and the likelihood project them. So one pair
serves every family. They are ordinary Keras models; a pair of your own does as well.
"""

import math
from collections.abc import Sequence

import keras


def mlp(
    event_shape: Sequence[int],
    latent_dim: int,
    hidden: Sequence[int] = (400,),
    activation: str = "relu",
) -> tuple[keras.Model, keras.Model]:
    """Dense networks: the encoder's hidden layers in the order given, the decoder's in reverse.

    Args:
        event_shape: the shape of one example, any rank from 1.
        latent_dim: the number of latent dimensions D, at least 1.
        hidden: the sizes of the hidden layers; () gives linear networks.
        activation: of the hidden layers.

    Returns:
        encoder, `[B, *event_shape]` to features `[B, hidden[-1]]`, and decoder, `[B, D]` to `[B, hidden[0]]`.
    """
    event_shape, latent_dim = _checked(event_shape, latent_dim)
    for size in hidden:
        _positive("hidden sizes", size)
    x = keras.Input(event_shape, name="x")
    h = keras.layers.Flatten(name="flatten")(x)
    for i, size in enumerate(hidden):
        h = keras.layers.Dense(size, activation=activation, name=f"hidden_{i + 1}")(h)
    z = keras.Input((latent_dim,), name="z")
    g = keras.layers.Identity(name="identity")(z)
    for i, size in enumerate(reversed(hidden)):
        g = keras.layers.Dense(size, activation=activation, name=f"hidden_{i + 1}")(g)
    return keras.Model(x, h, name="encoder"), keras.Model(z, g, name="decoder")


def conv(
    event_shape: Sequence[int],
    latent_dim: int,
    filters: Sequence[int] = (32, 64),
    kernel_size: int = 3,
    dense: int = 128,
    activation: str = "relu",
) -> tuple[keras.Model, keras.Model]:
    """Strided convolutions: each level halves the height and width (rounded up), the decoder undoes it.

    The decoder crops at every level, so that any size works, odd ones too, and puts out a feature map of the
    event's height and width.

    Args:
        event_shape: (H, W, C); or (T, C) or (T,), which are convolved in one dimension.
        latent_dim: the number of latent dimensions D, at least 1.
        filters: of the encoder's levels; the decoder's are the same in reverse.
        kernel_size: of every convolution.
        dense: the size of the dense layer between the last feature map and the features.
        activation: of every layer.

    Returns:
        encoder, `[B, *event_shape]` to features `[B, dense]`, and decoder, `[B, D]` to
        `[B, H, W, filters[0]]` (or `[B, T, filters[0]]`).
    """
    event_shape, latent_dim = _checked(event_shape, latent_dim)
    if len(event_shape) > 3:
        raise ValueError(f"conv takes an event shape (H, W, C), (T, C) or (T,), got {event_shape}.")
    if not filters:
        raise ValueError("conv needs at least one level, got filters=(). For linear networks use mlp(hidden=()).")
    for size in (*filters, kernel_size, dense):
        _positive("filters, kernel_size and dense", size)
    channelled = event_shape if len(event_shape) > 1 else (*event_shape, 1)
    two = len(channelled) == 3
    down = keras.layers.Conv2D if two else keras.layers.Conv1D
    up = keras.layers.Conv2DTranspose if two else keras.layers.Conv1DTranspose
    crop = keras.layers.Cropping2D if two else keras.layers.Cropping1D
    options = {"strides": 2, "padding": "same", "activation": activation}

    x = keras.Input(event_shape, name="x")
    h = x if channelled == event_shape else keras.layers.Reshape(channelled, name="channel")(x)
    sizes = [channelled[:-1]]
    for i, size in enumerate(filters):
        h = down(size, kernel_size, name=f"conv_{i + 1}", **options)(h)
        sizes.append(tuple(math.ceil(n / 2) for n in sizes[-1]))
    h = keras.layers.Flatten(name="flatten")(h)
    h = keras.layers.Dense(dense, activation=activation, name="dense")(h)

    z = keras.Input((latent_dim,), name="z")
    g = keras.layers.Dense(dense, activation=activation, name="dense")(z)
    g = keras.layers.Dense(math.prod(sizes[-1]) * filters[-1], activation=activation, name="grow")(g)
    g = keras.layers.Reshape((*sizes[-1], filters[-1]), name="map")(g)
    for i, size in enumerate(reversed(filters)):
        g = up(size, kernel_size, name=f"conv_{i + 1}", **options)(g)
        extra = [(0, 2 * small - big) for small, big in zip(sizes[-1 - i], sizes[-2 - i], strict=True)]
        if any(end for _, end in extra):
            g = crop(tuple(extra) if two else extra[0], name=f"crop_{i + 1}")(g)
    return keras.Model(x, h, name="encoder"), keras.Model(z, g, name="decoder")


def _checked(event_shape, latent_dim) -> tuple[tuple[int, ...], int]:
    if isinstance(event_shape, int):
        raise ValueError(f"event_shape is a tuple, such as ({event_shape},), got the number {event_shape}.")
    event_shape = tuple(event_shape)
    if not event_shape:
        raise ValueError("event_shape needs at least one dimension, got ().")
    for size in event_shape:
        _positive("event_shape", size)
    _positive("latent_dim", latent_dim)
    return event_shape, latent_dim


def _positive(what, value):
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{what} must be whole numbers of at least 1, got {value!r}.")
