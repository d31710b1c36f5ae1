"""The networks of the resnet job in Keras' layers: those of `kvae.networks.resnet((28, 28, 1), 32)`, written out."""

from common import RESIDUAL_DECODER, RESIDUAL_ENCODER
from keras import layers


def block(h, size: int, stride: int, conv=layers.Conv2D):
    """h + f(h), or a projection of h; f by way of half the filters."""
    f = layers.Conv2D(size // 2, 1)(layers.ReLU()(h))
    f = conv(size // 2, 3, strides=stride, padding="same")(layers.ReLU()(f))
    f = layers.Conv2D(size, 1)(layers.ReLU()(f))
    if stride > 1 or h.shape[-1] != size:
        h = conv(size, 1, strides=stride, padding="same")(h)
    return layers.Add()([h, f])


def encoded(x):
    """x `[B, 28, 28, 1]` to features `[B, 128]`."""
    h = layers.Conv2D(RESIDUAL_ENCODER[0][0], 3, padding="same")(x)
    for _, size, stride in RESIDUAL_ENCODER:
        h = block(h, size, stride)
    return layers.Dense(128, "relu")(layers.Flatten()(layers.ReLU()(h)))


def decoded(z):
    """z `[B, latents]` to logits `[B, 28, 28, 1]`."""
    channels = RESIDUAL_DECODER[0][0]
    g = layers.Dense(7 * 7 * channels)(layers.Dense(128, "relu")(z))
    g = layers.Reshape((7, 7, channels))(g)
    for _, size, stride in RESIDUAL_DECODER:
        g = block(g, size, stride, layers.Conv2DTranspose if stride > 1 else layers.Conv2D)
    return layers.Conv2D(1, 1)(layers.ReLU()(g))
