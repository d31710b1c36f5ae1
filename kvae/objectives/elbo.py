"""The evidence lower bound."""

from collections.abc import Callable

import keras
import tensorflow as tf

from kvae.numerics.arguments import choice, number, whole
from kvae.objectives.base import Objective
from kvae.objectives.weights import Weight


@keras.saving.register_keras_serializable("kvae")
class ELBO(Objective):
    """The negative evidence lower bound, loss = -E_q log p(x|z) + beta KL(q(z|x) || p(z)).

    With `kl="analytic"` the KL term is the closed form (the prior-contrastive form of the ELBO). With
    `kl="monte_carlo"` it is E_q [log q(z|x) - log p(z)] at the same z as the reconstruction, so that with
    beta = 1 the loss is -E_q [log p(x, z) - log q(z|x)] (the joint-contrastive form). Both have the same mean.

    Args:
        kl: "analytic", "monte_carlo", or "auto": analytic where the closed form exists. Of a hierarchy of latents
            "auto" takes the closed form of each group given the groups above at z: it varies less than "monte_carlo".
        beta: the weight of the KL term, at least 0; or a schedule, any callable from the optimizer's step to
            a weight (`kvae.schedules`, `keras.optimizers.schedules`). 1 is exactly the ELBO. Only the loss
            contains beta: the reported elbo, reconstruction and kl do not. A schedule is called at its ends (step 0,
            `schedule_end` and a million) when the objective is made, and must be finite and at least 0 there.
        samples: how many z to draw for each example, at least 1.
        free_bits: lambda >= 0 in nats: the KL term becomes sum_j max(mean over the batch of KL_j, lambda), so
            that a dimension below lambda is not pushed down further (Kingma et al. 2016, arXiv 1606.04934). Of a
            hierarchy of latents j counts the groups.
        gradient: "plain" or "path". With "path" the gradient of log q(z|x) is that through z alone, without the one
            through the parameters of q, whose mean is 0. It falls to 0 where q(z|x) is the posterior p(z|x), for every
            draw. The KL term is then the Monte Carlo one. It is for posteriors whose only weights are those of the
            projection.

    References: Kingma, Welling (2013), arXiv 1312.6114. Higgins et al. (2017), beta-VAE. Roeder, Wu, Duvenaud (2017),
    Sticking the landing, arXiv 1703.09194.
    """

    def __init__(
        self,
        kl: str = "auto",
        beta: float | Callable = 1.0,
        samples: int = 1,
        free_bits: float = 0.0,
        gradient: str = "plain",
    ):
        self.kl_form = choice("kl", kl, ("auto", "analytic", "monte_carlo"))
        self.samples = whole("samples", samples, 1)
        self.free_bits = number("free_bits", free_bits, least=0.0)
        self.weights = {"beta": Weight("ELBO", "beta", beta)}
        self.gradient = choice("gradient", gradient, ("plain", "path"))
        if self.gradient == "path" and self.needs_closed_form:
            raise ValueError(
                "ELBO(gradient='path') has a KL term by Monte Carlo: leave kl='analytic' and free_bits= out."
            )

    @property
    def needs_density(self):
        """False for beta = 0, where the loss is the reconstruction alone."""
        return self.weights["beta"].positive

    @property
    def needs_closed_form(self) -> bool:
        """Whether it asks for one, or for its dimensions."""
        return self.kl_form == "analytic" or self.free_bits > 0.0

    @property
    def path_gradient(self) -> bool:
        """Whether the gradient is that through z alone."""
        return self.gradient == "path" and self.needs_density

    def kl(self, terms):
        """The closed form or the Monte Carlo estimate of the KL term, `[B]`."""
        if self.kl_form == "analytic" and terms.kl is None:
            raise ValueError(
                "ELBO(kl='analytic') needs a KL in closed form between this posterior and this prior, and "
                "none is registered with TFP. Use kl='auto' or kl='monte_carlo'."
            )
        by_draws = self.kl_form == "monte_carlo" or self.gradient == "path"
        return super().kl(terms._replace(kl=None, kl_per_group=None) if by_draws else terms)

    def loss(self, terms, step):
        """-E_q log p(x|z) + beta KL, `[B]`."""
        reconstruction = tf.reduce_mean(terms.log_px_z, axis=0)
        if not self.needs_density:
            return -reconstruction
        return tf.cast(self.beta(step), reconstruction.dtype) * self._rate(terms) - reconstruction

    def _rate(self, terms):
        if self.free_bits == 0.0:
            return self.kl(terms)
        parts = terms.kl_per_group if terms.kl_per_dim is None else terms.kl_per_dim
        if parts is None:
            raise ValueError(
                f"ELBO(free_bits={self.free_bits:g}) needs a posterior and a prior that factorise over dimensions. Use "
                "posterior='diagonal_normal' and prior='standard_normal', or free_bits=0."
            )
        return tf.reduce_sum(tf.maximum(tf.reduce_mean(parts, axis=0), self.free_bits))

    def beta(self, step):
        """The weight of the KL term at an optimizer step."""
        return self.weights["beta"](step)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {"kl": self.kl_form, "samples": self.samples, "free_bits": self.free_bits, "gradient": self.gradient}
        return own | {"beta": self.weights["beta"].config()}
