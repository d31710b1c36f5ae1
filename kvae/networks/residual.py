"""Residual convolutional networks."""

import math
from collections.abc import Sequence

import keras

from kvae.networks.feature_maps import cropped, feature_maps
from kvae.networks.inputs import check_activation, checked, decoder_inputs, encoder_inputs, joined
from kvae.numerics.arguments import choice, flag, number, whole


def resnet(
    event_shape: Sequence[int],
    latent_dim: int,
    filters: int | Sequence[int] = (32, 64),
    blocks: int = 1,
    kernel_size: int | Sequence[int] = 3,
    bottleneck: int = 2,
    dense: int = 128,
    activation: str = "relu",
    normalization: str | None = None,
    dropout: float = 0.0,
    skips: bool = False,
    condition: int | Sequence[int] | None = None,
    mask: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Residual networks: each level is a strided block that halves the height and width, and `blocks` that keep them.

    A block is h + f(h), f being three convolutions, each after normalisation and activation: to 1/`bottleneck` of
    the filters (1 x 1), through the kernel (strided, or strided and transposed), and back (1 x 1). Where the stride
    or the number of filters changes, h is projected by a 1 x 1 convolution of the same stride. The decoder mirrors
    the encoder and crops at every level, so that any size works.

    Args:
        event_shape: (H, W, C); or (T, C) or (T,), which are convolved in one dimension, see `conv`.
        latent_dim: the number of latent dimensions D, at least 1.
        filters: of the encoder's levels, or of the only one; the decoder's are the same in reverse.
        blocks: how many blocks of each level keep the size, at least 0.
        kernel_size: of the middle convolutions, the same along each axis: 3 or (3, 3).
        bottleneck: by how much the middle convolution is narrower, at least 1.
        dense: the size of the dense layer between the last feature map and the features.
        activation: of every layer.
        normalization: None, "batch", "layer" or "group" (of up to 8 groups), before each activation of a block;
            the convolutions have no bias then, which it would cancel.
        dropout: the part of the feature maps that is dropped as a whole before a block's last convolution.
        skips: True to add a linear map of z to the features at every level of the decoder, so that no level
            can lose it (Dieng et al. 2019).
        condition, mask: as in `conv`.

    Returns:
        encoder, `[B, *event_shape]` to features `[B, dense]`, and decoder, `[B, D]` to
        `[B, H, W, filters[0]]` (or `[B, T, filters[0]]`).

    References: He, Zhang, Ren, Sun (2016), Identity mappings in deep residual networks, arXiv 1603.05027. Dieng,
    Kim, Rush, Blei (2019), Avoiding latent variable collapse with generative skip models, arXiv 1807.04863.
    """
    event_shape, latent_dim = checked(event_shape, latent_dim)
    maps = feature_maps("resnet", event_shape, filters, kernel_size, dense)
    check_activation(activation)
    filters, kernel_size, dense = maps.filters, maps.kernel_size, maps.dense
    bottleneck, blocks = whole("bottleneck", bottleneck, 1), whole("blocks", blocks, 0)
    normalization = choice("normalization", normalization, (None, "batch", "layer", "group"))
    dropout, skips = number("dropout", dropout, least=0.0, below=1.0), flag("skips", skips)

    bias = {"use_bias": normalization is None}

    def ready(h):
        if normalization == "group":
            h = keras.layers.GroupNormalization(math.gcd(8, h.shape[-1]))(h)
        elif normalization is not None:
            kind = keras.layers.BatchNormalization if normalization == "batch" else keras.layers.LayerNormalization
            h = kind()(h)
        return keras.layers.Activation(activation)(h)

    def block(h, size, strides=1, conv=maps.conv):
        narrow = -(-size // bottleneck)
        f = maps.conv(narrow, 1, **bias)(ready(h))
        f = conv(narrow, kernel_size, strides=strides, padding="same", **bias)(ready(f))
        f = ready(f)
        if dropout:
            f = maps.dropout(dropout)(f)
        f = maps.conv(size, 1, **bias)(f)
        if strides > 1 or h.shape[-1] != size:
            h = conv(size, 1, strides=strides, padding="same", **bias)(h)
        return keras.layers.Add()([h, f])

    h, given, x_inputs = encoder_inputs(event_shape, condition, mask, maps.place)
    h = maps.conv(filters[0], kernel_size, padding="same", name="stem", **bias)(h)
    for size in filters:
        h = block(h, size, strides=2)
        for _ in range(blocks):
            h = block(h, size)
    h = joined(given, keras.layers.Flatten(name="flatten")(ready(h)))
    h = keras.layers.Dense(dense, activation=activation, name="dense")(h)

    z, given, z_inputs = decoder_inputs(latent_dim, condition)
    code = joined(given, z)

    def reached(g, level):
        if not skips:
            return g
        size = g.shape[-1]
        skip = keras.layers.Dense(size, use_bias=False, name=f"skip_{level}")(code)
        return keras.layers.Add()([g, keras.layers.Reshape((1,) * (len(g.shape) - 2) + (size,))(skip)])

    g = keras.layers.Dense(dense, activation=activation, name="dense")(code)
    g = keras.layers.Dense(math.prod(maps.sizes[-1]) * filters[-1], name="grow")(g)
    g = reached(keras.layers.Reshape((*maps.sizes[-1], filters[-1]), name="map")(g), 0)
    for i, size in enumerate(reversed(filters)):
        for _ in range(blocks):
            g = block(g, size)
        g = block(g, filters[max(0, len(filters) - 2 - i)], strides=2, conv=maps.up)
        g = reached(cropped(maps, g, maps.sizes[-2 - i], f"crop_{i + 1}"), i + 1)
    return keras.Model(x_inputs, h, name="encoder"), keras.Model(z_inputs, ready(g), name="decoder")
