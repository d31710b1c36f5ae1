"""Convolutional networks."""

import math
from collections.abc import Sequence

import keras

from kvae.networks.feature_maps import cropped, feature_maps
from kvae.networks.inputs import check_activation, checked, decoder_inputs, encoder_inputs, joined


def conv(
    event_shape: Sequence[int],
    latent_dim: int,
    filters: int | Sequence[int] = (32, 64),
    kernel_size: int | Sequence[int] = 3,
    dense: int = 128,
    activation: str = "relu",
    condition: int | Sequence[int] | None = None,
    mask: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Strided convolutions: each level halves the height and width (rounded up), the decoder undoes it.

    The decoder crops at every level, so that any size works, odd ones too, and puts out a feature map of the
    event's height and width.

    Args:
        event_shape: (H, W, C); or (T, C) or (T,), which are convolved in one dimension. (T, C) gets a warning where
            both are at least 8 and neither is more than twice the other: grey images are (H, W, 1).
        latent_dim: the number of latent dimensions D, at least 1.
        filters: of the encoder's levels, or of the only one; the decoder's are the same in reverse.
        kernel_size: of every convolution, the same along each axis: 3 or (3, 3).
        dense: the size of the dense layer between the last feature map and the features.
        activation: of every layer.
        condition, mask: as in `mlp`; the condition joins the encoder before its dense layer.

    Returns:
        encoder, `[B, *event_shape]` to features `[B, dense]`, and decoder, `[B, D]` to
        `[B, H, W, filters[0]]` (or `[B, T, filters[0]]`).
    """
    event_shape, latent_dim = checked(event_shape, latent_dim)
    maps = feature_maps("conv", event_shape, filters, kernel_size, dense)
    check_activation(activation)
    filters, kernel_size, dense = maps.filters, maps.kernel_size, maps.dense
    options = {"strides": 2, "padding": "same", "activation": activation}

    h, given, x_inputs = encoder_inputs(event_shape, condition, mask, maps.place)
    for i, size in enumerate(filters):
        h = maps.conv(size, kernel_size, name=f"conv_{i + 1}", **options)(h)
    h = joined(given, keras.layers.Flatten(name="flatten")(h))
    h = keras.layers.Dense(dense, activation=activation, name="dense")(h)

    z, given, z_inputs = decoder_inputs(latent_dim, condition)
    g = keras.layers.Dense(dense, activation=activation, name="dense")(joined(given, z))
    g = keras.layers.Dense(math.prod(maps.sizes[-1]) * filters[-1], activation=activation, name="grow")(g)
    g = keras.layers.Reshape((*maps.sizes[-1], filters[-1]), name="map")(g)
    for i, size in enumerate(reversed(filters)):
        g = maps.up(size, kernel_size, name=f"conv_{i + 1}", **options)(g)
        g = cropped(maps, g, maps.sizes[-2 - i], f"crop_{i + 1}")
    return keras.Model(x_inputs, h, name="encoder"), keras.Model(z_inputs, g, name="decoder")
