"""Flows as posteriors."""

import keras
import tensorflow as tf

from kvae.numerics import flows
from kvae.numerics.arguments import choice, sizes, whole
from kvae.numerics.bijections import elements
from kvae.numerics.elementary import UNIT_SOFTPLUS, positive
from kvae.posteriors.base import NormalPosterior


@keras.saving.register_keras_serializable("kvae", name="FlowPosterior")
class Flow(NormalPosterior):
    """A diagonal normal, bent by a flow: a posterior of any shape, with an exact density.

    z_0 = m + s * eps,   z = f_L(... f_1(z_0; h) ...; h),   log q(z|x) = log N(z_0; m, s^2) - sum_l log|det df_l|

    m, s (as in `DiagonalNormal`) and the context h are affine in the encoder's features. Every f_l maps each number
    by an increasing function, whose parameters a network makes of h and of the numbers before:

    - "iaf": of all numbers before it in an order. A draw with its density takes one pass, the density of another z
      takes D passes for each layer.
    - "coupling": the first half stays, the second half depends on it. One pass either way.

    A new flow is the identity, so that q is the diagonal normal at first. Its KL divergence to a prior has no closed
    form; it is estimated by the draws. It has no mean and no standard deviation in closed form either: what stands for
    x in `reconstruct`, `score` and as the SavedModel's "mean" is the image of zero noise.

    The parameters are (m, u, h): 2 D + `context` numbers in this order, so `project=False` takes an encoder with as
    many outputs.

    Args:
        kind: "iaf" or "coupling".
        layers: L, at least 1. Each second one reverses the order of the numbers.
        transform: "affine" for y = e^s x + t with |s| < 3, "spline" for a rational-quadratic spline on [-5, 5] and the
            identity outside.
        hidden: sizes of the hidden layers of each network.
        context: the size of h; 0 for a flow that is the same for all x.
        bins: of a spline, from 2 to 64.
        floor, cap: the smallest and the largest scale s.
        project, name, dtype: see `kvae.posteriors.Posterior`.

    References: Kingma et al. (2016), Improving variational inference with inverse autoregressive flow, arXiv
    1606.04934. Rezende, Mohamed (2015), Variational inference with normalizing flows, arXiv 1505.05770. Durkan et al.
    (2019), Neural spline flows, arXiv 1906.04032.
    """

    has_own_weights = True

    def __init__(
        self,
        kind: str = "iaf",
        layers: int = 2,
        transform: str = "affine",
        hidden=(64,),
        context: int = 16,
        bins: int = 8,
        floor: float = 1e-5,
        cap: float = 1e3,
        project: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(floor=floor, cap=cap, project=project, name=name, dtype=dtype)
        self.kind, self.depth = choice("kind", kind, ("iaf", "coupling")), whole("layers", layers, 1)
        self.transform, self.bins = choice("transform", transform, ("affine", "spline")), whole("bins", bins, 2, 64)
        self.hidden, self.context = sizes("hidden", hidden), whole("context", context, 0)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {name: getattr(self, name) for name in ("kind", "transform", "hidden", "context", "bins")}
        return super().get_config() | own | {"layers": self.depth}

    def build(self, feature_shape, latent_dim):
        """Make the projection from features `[B, F]`, and the flow."""
        super().build(feature_shape, latent_dim)
        element, sizes = elements(self.transform, self.bins), (self.latent_dim, self.context)
        self.flow = flows.maps(self.kind == "iaf", self.depth, element, *sizes, self.hidden, self.compute_dtype)

    def _units(self, latent_dim):
        return 2 * latent_dim + self.context

    def _bias(self, latent_dim):
        return [0.0] * latent_dim + [UNIT_SOFTPLUS] * latent_dim + [0.0] * self.context

    def of(self, parameters) -> flows.Pushforward:
        """q for parameters `[B, 2 D + context]`: batch `[B]`, event `[latent_dim]`."""
        loc, raw, context = tf.split(parameters, [self.latent_dim, self.latent_dim, self.context], axis=-1)
        scale = positive(raw, self.floor, self.cap)
        log_scale = tf.reduce_sum(tf.math.log(scale), axis=-1)
        context = context if self.context else None

        def forward(eps):
            z, log_det = flows.forward(self.flow, loc + scale * eps, context)
            return z, log_det + log_scale

        def inverse(z):
            z, log_det = flows.inverse(self.flow, z, context)
            return (z - loc) / scale, log_det - log_scale

        return flows.Pushforward(forward, inverse, loc)

    def drawn(self, q, eps):
        """`draw` and log q(z|x) there, in one pass."""
        return q.drawn(eps)

    def center(self, q):
        """The image of zero noise."""
        return q.bijector.forward(tf.zeros(tf.concat([q.batch_shape_tensor(), q.event_shape], axis=0), q.dtype))

    def export(self, q) -> dict:
        """The image of zero noise."""
        return {"mean": self.center(q)}
