"""Codes by rounding: finite scalar quantisation."""

import math

import keras
import numpy as np
import tensorflow as tf

from kvae.numerics.arguments import listed, whole
from kvae.numerics.codes import straight_through
from kvae.posteriors.codes import CodePosterior

_BEYOND = 1e-3  # the bounds lie this part of their distance beyond the first and the last level


@keras.saving.register_keras_serializable("kvae")
class FiniteScalar(CodePosterior):
    """Finite scalar quantisation: q(z|x) is a point mass at the encoder's numbers, bounded and rounded.

    b = tanh(u + s) h - o,   z = (2 round(b) + 2 o) / (L - 1)

    u is a number of the encoder, L its number of levels, h = 1.001 (L - 1) / 2, and o = 1/2 for an even L, 0 for an odd
    one. s = artanh(o / h), so that u = 0 gives b = 0, level L // 2 of 0, ..., L - 1. For L = 2 this would leave the
    lower level to u < -3.8; there s = 0, and both have half of the line. The levels of z lie evenly from -1 to 1. The
    gradient passes through the rounding as if it were not there. All is computed in float32, or float64 under such a
    policy: in bfloat16 codes would be out of reach.

    There is no codebook, no further loss and nothing that can die. A position has K = prod(levels) codes.

    Args:
        levels: of the numbers of a position, each from 2 to 256. (8, 6, 5) make 240 codes, (8, 5, 5, 5) 1,000,
            (7, 5, 5, 5, 5) 4,375, (8, 8, 8, 6, 5) 15,360. The number of latent dimensions must be a multiple of
            their number.
        project, name, dtype: see `kvae.posteriors.CodePosterior`; with project=False the encoder puts out u.

    Reference: Mentzer, Minnen, Agustsson, Tschannen (2023), Finite scalar quantization: VQ-VAE made simple, arXiv
    2309.15505 (which divides z by L // 2 instead, and has s = tan(o / h)).
    """

    def __init__(self, levels=(8, 5, 5, 5), project: bool = True, name: str | None = None, dtype: str | None = None):
        super().__init__(project=project, name=name, dtype=dtype)
        self.levels = tuple(whole("A level of FiniteScalar", level, 2, 256) for level in listed("levels", levels))
        self.dim, self.codes = len(self.levels), math.prod(self.levels)
        if not self.levels or self.codes >= 2**31:
            raise ValueError(
                f"FiniteScalar needs one level or more, and less than 2**31 codes, got levels={self.levels} with "
                f"{self.codes}. Give fewer numbers a position, and more positions."
            )

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"levels": list(self.levels)}

    def _constants(self) -> tuple[np.ndarray, ...]:
        """L, h, o and s of each number of a position."""
        levels = np.array(self.levels, np.float64)
        half, offset = (1.0 + _BEYOND) * (levels - 1.0) / 2.0, np.where(levels % 2, 0.0, 0.5)
        shift = np.where(levels == 2, 0.0, np.arctanh(np.where(levels == 2, 0.0, offset / half)))
        return tuple(a.astype(self.compute_dtype) for a in (levels, half, offset, shift))

    def _quantised(self, parameters):
        levels, half, offset, shift = self._constants()
        bounded = tf.tanh(self._places(parameters) + shift) * half - offset
        level = tf.round(tf.stop_gradient(bounded)) + levels // 2
        code = straight_through(self._values(level), bounded * (2.0 / (levels - 1.0)))
        return tf.reshape(code, tf.shape(parameters)), self._index(level)

    def index(self, z):
        """The indices of the code nearest to z `[..., D]`, int32 `[..., M]`: its levels, the most significant first."""
        levels, _, _, _ = self._constants()
        return self._index(tf.round((self._places(z) + 1.0) * (0.5 * (levels - 1.0))))

    def code(self, indices):
        """The z `[..., D]` of indices `[..., M]`, whole numbers from 0 to K - 1."""
        level = tf.cast(indices, tf.int32)[..., None] // self._strides() % np.array(self.levels, np.int32)
        code = self._values(tf.cast(level, self.compute_dtype))
        return tf.reshape(code, tf.concat([tf.shape(code)[:-2], [self.latent_dim]], axis=0))

    def _places(self, z):
        """`[..., D]` as `[..., M, dim]`."""
        return tf.reshape(z, tf.concat([tf.shape(z)[:-1], [self.positions, self.dim]], axis=0))

    def _strides(self) -> np.ndarray:
        return np.cumprod([1, *self.levels[:0:-1]])[::-1].astype(np.int32)

    def _values(self, level):
        """The numbers of z: the same bits by every way to them, since there is but one rounding."""
        levels, _, _, _ = self._constants()
        return (2.0 * level - (levels - 1.0)) * (1.0 / (levels - 1.0))

    def _index(self, level):
        levels = np.array(self.levels, np.int32)
        level = tf.clip_by_value(tf.cast(level, tf.int32), 0, levels - 1)  # of NaN, too
        return tf.reduce_sum(level * self._strides(), axis=-1)
