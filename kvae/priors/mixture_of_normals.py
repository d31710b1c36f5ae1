"""A mixture of normals as the prior."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.families import scale_range
from kvae.numerics import mixtures
from kvae.numerics.arguments import whole
from kvae.numerics.elementary import UNIT_SOFTPLUS, inverse_softplus, positive
from kvae.numerics.normals import MultivariateNormalDiag
from kvae.priors.base import Prior


@keras.saving.register_keras_serializable("kvae")
class MixtureOfNormals(Prior):
    """p(z) = sum_k w_k N(z; m_k, diag(s_k)^2), with weights w, means m and scales s that are trained.

    The weights begin equal, the means at random numbers of N(0, 1), the scales at 1. The KL term has no closed form and
    is estimated at the draws of z. `vae.fit_prior` fits the mixture to the codes of a trained model by expectation
    maximisation. A draw takes D + 1 normal numbers: one chooses the component, the others are its noise.

    Args:
        components: K, at least 1.
        floor, cap: the smallest and the largest scale. At the cap the gradient passes straight through.
        name, dtype: of the layer.

    Reference: Dilokthanakul et al. (2016), Deep unsupervised clustering with Gaussian mixture variational autoencoders,
    arXiv 1611.02648 (which has such a prior, with a network behind it).
    """

    has_bijector = False

    def __init__(
        self, components: int = 10, floor: float = 1e-3, cap: float = 1e3, name: str | None = None,
        dtype: str | None = None,
    ):  # fmt: skip
        super().__init__(name=name, dtype=dtype)
        self.components = whole("components", components, 1)
        self.floor, self.cap = scale_range(floor, cap)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return super().get_config() | {"components": self.components, "floor": self.floor, "cap": self.cap}

    def build(self, latent_dim, condition_shape=None):
        """Make the weights' logits `[K]`, the means `[K, D]` and, before softplus, the scales `[K, D]`."""
        super().build(latent_dim, condition_shape)
        shape, normal = (self.components, self.latent_dim), keras.initializers.RandomNormal(stddev=1.0)
        unit = keras.initializers.Constant(UNIT_SOFTPLUS)
        self.logits = self.add_weight(name="logits", shape=shape[:1], initializer="zeros")
        self.means = self.add_weight(name="means", shape=shape, initializer=normal)
        self.raw_scales = self.add_weight(name="raw_scales", shape=shape, initializer=unit)

    def distribution(self, encode=None, condition=None) -> mixtures.Mixture:
        """The mixture: batch `[]`, event `[latent_dim]`, the same for all conditions."""
        del encode, condition
        scales = positive(tf.convert_to_tensor(self.raw_scales), self.floor, self.cap)
        normals = MultivariateNormalDiag(tf.convert_to_tensor(self.means), scales)
        return mixtures.Mixture(tfd.Categorical(logits=tf.convert_to_tensor(self.logits)), normals)

    @property
    def noise_size(self) -> int:
        """D + 1."""
        return self.latent_dim + 1

    @property
    def widest(self) -> int:
        """Two numbers for each component, in float64."""
        return max(self.latent_dim, 4 * self.components)

    def draw(self, p, eps):
        """m_k + s_k eps, `[..., D]`; the first number of the noise `[..., D + 1]` chooses k."""
        k, normals = mixtures.chosen(p.mixture_distribution.logits, eps[..., 0]), p.components_distribution
        return tf.gather(normals.mean(), k) + tf.gather(normals.stddev(), k) * eps[..., 1:]

    def fit_codes(self, z: np.ndarray, seed: int = 0) -> bool:
        """Fit the mixture to codes `[N, D]` by expectation maximisation."""
        weights, means, scales = mixtures.fitted(z, self.components, self.floor, self.cap, seed)
        self.logits.assign(np.log(weights))
        self.means.assign(means)
        self.raw_scales.assign(inverse_softplus(np.maximum(scales - self.floor, 1e-3 * self.floor)))
        return True
