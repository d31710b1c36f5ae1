"""Encoder and decoder pairs for any event shape.

Both networks end in features, not in parameters: the posterior and the likelihood project them. So one pair
serves every family. They are ordinary Keras models; a pair of your own does as well.
"""

from kvae.networks.convolutional import conv
from kvae.networks.dense import mlp
from kvae.networks.first_group import FirstGroup
from kvae.networks.one_hot import OneHot
from kvae.networks.residual import resnet

__all__ = ["FirstGroup", "OneHot", "conv", "mlp", "resnet"]
