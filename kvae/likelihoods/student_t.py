"""The likelihood of real numbers with outliers."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data import support
from kvae.likelihoods.location_scale import LocationScale
from kvae.numerics.elementary import inverse_softplus, positive

_LEAST, _START, _MOST = 2.01, 10.0, 1000.0  # degrees of freedom
_ROUNDS = 60  # of the EM algorithm


@keras.saving.register_keras_serializable("kvae")
class StudentT(LocationScale):
    """Real x with heavy tails: log p(x|z) = sum_j log t(x_j; df_j, m_j, s_j), with the decoder's location m.

    With r = (x - m) / s: t(x; df, m, s) = G((df + 1) / 2) / (G(df / 2) sqrt(df pi) s) (1 + r^2 / df)^(-(df + 1) / 2),
    G the gamma function. A density. Far from m an outlier costs (df + 1) log r, where a normal takes r^2 / 2. The mean
    is m, the standard deviation s sqrt(df / (df - 2)). The degrees of freedom df are weights, one for each element (for
    feature maps: for each channel). They start at 10 and are kept in [2.01, 1000].

    x has a unit: m = center + spread u and s = spread v, with the decoder's u and v, see
    `kvae.likelihoods.standardized`. Call `vae.adapt(data)` before `fit`.

    Args:
        scale: "local", a v for every element from the decoder, floor + softplus(w); or "learned", a weight v for each
            element (for feature maps: for each channel). Both start at 1.
        floor: the smallest v.
        project, kernel_size, name, dtype: see `kvae.likelihoods.Likelihood`; with project=False the decoder's output is
            u ("local": all u and then all w, along the last axis).

    Reference: Takahashi, Iwata, Yamanaka, Yamada, Yagi (2018), Student-t variational autoencoder for robust density
    estimation, IJCAI, doi 10.24963/ijcai.2018/374.
    """

    support = support.REAL
    measure = "density"

    def build(self, feature_shape, event_shape):
        """Make the projections, the unit, and the weights of a learned scale and of the degrees of freedom."""
        super().build(feature_shape, event_shape)
        start = keras.initializers.Constant(float(inverse_softplus(_START - _LEAST)))
        options = {"shape": self.unit_shape, "initializer": start, "autocast": False}
        self.raw_degrees = self.add_weight(name="raw_degrees", **options)

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `event_shape`."""
        df = positive(self.raw_degrees, _LEAST, _MOST)
        return self._independent(self._in_units(tfd.StudentT(df, *self._location_and_scale(features))))

    def draw(self, p, uniform):
        """The quantile function at uniform numbers."""
        return p.distribution.quantile(uniform)

    def fitted(self, mean_of, count):
        """The maximum of the likelihood, by the EM algorithm.

        An x counts as w = (df + 1) / (df + r^2). Then m = E w x / E w, s^2 = E w (x - m)^2, and df solves
        log(df / 2) - digamma(df / 2) + E (log w - w) + 1 + digamma((d + 1) / 2) - log((d + 1) / 2) = 0, where d is the
        df before.

        Reference: Liu, Rubin (1995), Statistica Sinica 5, 19-39.
        """
        self.standardize(mean_of)
        y, m, square, df = self._standardized, 0.0, 1.0, np.full(self.unit_shape, _START)
        for _ in range(_ROUNDS):
            m, square, df = self._round(mean_of, y, m, square, df, count)
        self.raw_degrees.assign(inverse_softplus(np.maximum(df - _LEAST, 1e-6)))
        return self._with_scale(m, square, count)

    def _round(self, mean_of, y, m, square, df, count) -> tuple:
        """One round of EM: the next location, squared scale and degrees of freedom."""

        def weight(x):
            return (df + 1.0) / (df + np.square(y(x) - m) / square)

        mean, known = mean_of(lambda x: weight(x) * y(x)) / mean_of(weight), _psi((df + 1.0) / 2.0)
        spread = np.maximum(mean_of(lambda x: weight(x) * np.square(y(x) - mean)), self.floor**2)
        known = known + 1.0 + self._of_units(mean_of(lambda x: np.log(weight(x)) - weight(x)), count)
        low, high = np.full(df.shape, _LEAST), np.full(df.shape, _MOST)
        for _ in range(50):  # the left side falls as df rises
            middle = (low + high) / 2.0
            above = known - _psi(middle / 2.0) > 0.0
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        if self.scale == "learned":
            spread = np.broadcast_to(self._of_units(spread, count), spread.shape)
        return mean, spread, low


def _psi(a) -> np.ndarray:
    """digamma(a) - log(a), float64."""
    return tf.math.digamma(a).numpy() - np.log(a)
