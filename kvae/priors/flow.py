"""Flows as priors."""

import math

import keras
import tensorflow as tf

from kvae.numerics import flows
from kvae.numerics.arguments import choice, flag, sizes, whole
from kvae.numerics.bijections import elements
from kvae.priors.base import Prior


@keras.saving.register_keras_serializable("kvae", name="FlowPrior")
class Flow(Prior):
    """A flow as a prior, trained with the model: eps = f(z) is standard normal.

    log p(z) = log N(f(z); 0, I) + log|det df/dz|,   f = f_L o ... o f_1

    The flow runs in the direction of the density, which training evaluates: log p(z) takes one pass. Draws invert it.
    Every f_l maps each number by an increasing function, whose parameters a network makes of the numbers before:

    - "coupling": the first half stays, the second half depends on it. A draw takes one pass, too.
    - "maf": each number depends on all before it in an order. A draw takes D passes for each layer.

    A new flow is the identity, so that p is N(0, I) at first. The KL divergence of a posterior to it has no closed
    form; it is estimated by the draws. For the flow that bends a posterior see `kvae.posteriors.Flow`, which runs in
    the direction of draws.

    Args:
        kind: "coupling" or "maf".
        layers: L, at least 1. Each second one reverses the order of the numbers.
        transform: "spline" for a rational-quadratic spline on [-5, 5] and the identity outside, "affine" for
            y = e^s x + t with |s| < 3.
        hidden: sizes of the hidden layers of each network.
        bins: of a spline, from 2 to 64.
        conditional: True for p(z|c) in a conditional model; by default p(z) is the same for all conditions.
        name, dtype: of the layer.

    References: Papamakarios, Pavlakou, Murray (2017), Masked autoregressive flow, arXiv 1705.07057. Dinh,
    Sohl-Dickstein, Bengio (2017), Density estimation using Real NVP, arXiv 1605.08803. Durkan et al. (2019), Neural
    spline flows, arXiv 1906.04032.
    """

    def __init__(
        self,
        kind: str = "coupling",
        layers: int = 4,
        transform: str = "spline",
        hidden=(64,),
        bins: int = 8,
        conditional: bool = False,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.kind, self.depth = choice("kind", kind, ("coupling", "maf")), whole("layers", layers, 1)
        self.transform, self.bins = choice("transform", transform, ("affine", "spline")), whole("bins", bins, 2, 64)
        self.hidden, self.conditional = sizes("hidden", hidden), flag("conditional", conditional)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {name: getattr(self, name) for name in ("kind", "transform", "hidden", "bins", "conditional")}
        return super().get_config() | own | {"layers": self.depth}

    def build(self, latent_dim, condition_shape=None):
        """Make the flow."""
        super().build(latent_dim)
        element, context = elements(self.transform, self.bins), math.prod(condition_shape) if self.conditional else 0
        shape = self.latent_dim, context, self.hidden
        self.flow = flows.maps(self.kind == "maf", self.depth, element, *shape, self.compute_dtype)

    def distribution(self, encode=None, condition=None) -> flows.Pushforward:
        """p(z), batch `[]`; or p(z|c) for conditions `[B, *condition_shape]`, batch `[B]`. Event `[latent_dim]`."""
        del encode
        context, like = None, tf.zeros([self.latent_dim], self.compute_dtype)
        if self.conditional:
            context = tf.cast(tf.reshape(condition, [tf.shape(condition)[0], -1]), self.compute_dtype)
            context = tf.ensure_shape(context, [condition.shape[0], math.prod(condition.shape[1:])])
            like = like + tf.zeros_like(context[:, :1])

        def draw(eps):
            return flows.inverse(self.flow, eps, context)

        def density(z):
            return flows.forward(self.flow, z, context)

        return flows.Pushforward(draw, density, like)
