"""The evidence lower bound."""

import json
import numbers
from collections.abc import Callable

import keras
import tensorflow as tf

from kvae.numerics.arguments import check_at_least
from kvae.objectives.base import Objective


@keras.saving.register_keras_serializable("kvae")
class ELBO(Objective):
    """The negative evidence lower bound, loss = -E_q log p(x|z) + beta KL(q(z|x) || p(z)).

    With `kl="analytic"` the KL term is the closed form (the prior-contrastive form of the ELBO). With
    `kl="monte_carlo"` it is E_q [log q(z|x) - log p(z)] at the same z as the reconstruction, so that with
    beta = 1 the loss is -E_q [log p(x, z) - log q(z|x)] (the joint-contrastive form). Both have the same mean.

    Args:
        kl: "analytic", "monte_carlo", or "auto": analytic where the closed form exists.
        beta: the weight of the KL term, at least 0; or a schedule, any callable from the optimizer's step to
            a weight (`kvae.schedules`, `keras.optimizers.schedules`). 1 is exactly the ELBO. Only the loss
            contains beta: the reported elbo, reconstruction and kl do not.
        samples: how many z to draw for each example, at least 1.
        free_bits: lambda >= 0 in nats: the KL term becomes sum_j max(mean over the batch of KL_j, lambda), so
            that a dimension below lambda is not pushed down further (Kingma et al. 2016, arXiv 1606.04934).

    References: Kingma, Welling (2013), arXiv 1312.6114. Higgins et al. (2017), beta-VAE.
    """

    def __init__(
        self,
        kl: str = "auto",
        beta: float | Callable = 1.0,
        samples: int = 1,
        free_bits: float = 0.0,
    ):
        if kl not in ("auto", "analytic", "monte_carlo"):
            raise ValueError(f"ELBO needs kl='auto', 'analytic' or 'monte_carlo', got {kl!r}.")
        if not callable(beta) and not (isinstance(beta, numbers.Real) and 0.0 <= beta < float("inf")):
            raise ValueError(f"ELBO needs beta >= 0 or a schedule (a callable of the step), got {beta!r}.")
        check_at_least(1, samples=samples)
        if not free_bits >= 0.0:
            raise ValueError(f"ELBO needs free_bits >= 0, got {free_bits!r}.")
        self.kl_form, self.samples, self.free_bits = kl, int(samples), float(free_bits)
        self.weight = beta if callable(beta) else float(beta)

    @property
    def needs_density(self):
        """False for beta = 0, where the loss is the reconstruction alone."""
        return callable(self.weight) or self.weight > 0.0

    @property
    def schedule_end(self):
        """The length of beta's schedule where it ends at a constant (kvae's, some of Keras'); 0 for others."""
        schedules = keras.optimizers.schedules
        if isinstance(self.weight, (schedules.PolynomialDecay, schedules.CosineDecay)):
            return int(self.weight.decay_steps + getattr(self.weight, "warmup_steps", 0))
        return int(getattr(self.weight, "steps", 0))

    def kl(self, terms):
        """The closed form or the Monte Carlo estimate of the KL term, `[B]`."""
        if self.kl_form != "monte_carlo" and terms.kl is not None:
            return terms.kl
        if self.kl_form == "analytic":
            raise ValueError(
                "ELBO(kl='analytic') needs a KL in closed form between this posterior and this prior, and "
                "none is registered with TFP. Use kl='auto' or kl='monte_carlo'."
            )
        return tf.reduce_mean(terms.log_qz_x - terms.log_pz, axis=0)

    def loss(self, terms, step):
        """-E_q log p(x|z) + beta KL, `[B]`."""
        reconstruction = tf.reduce_mean(terms.log_px_z, axis=0)
        if not self.needs_density:
            return -reconstruction
        beta = self.beta(step) if callable(self.weight) else self.weight
        return tf.cast(beta, reconstruction.dtype) * self._rate(terms) - reconstruction

    def _rate(self, terms):
        if self.free_bits == 0.0:
            return self.kl(terms)
        if terms.kl_per_dim is None:
            raise ValueError("ELBO(free_bits=...) needs a posterior and a prior that factorise over dimensions.")
        return tf.reduce_sum(tf.maximum(tf.reduce_mean(terms.kl_per_dim, axis=0), self.free_bits))

    def beta(self, step):
        """The scheduled weight of the KL term at `step`; None for a constant."""
        if not callable(self.weight):
            return None
        try:
            return self.weight(step)
        except TypeError as error:
            raise TypeError(
                f"The schedule {self.weight!r} failed on a step that is a tensor ({error}). Write it with TensorFlow's "
                "functions, for example tf.minimum(1.0, tf.cast(step, tf.float32) / 1000)."
            ) from error

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {"kl": self.kl_form, "samples": self.samples, "free_bits": self.free_bits}
        return own | {"beta": _serialized(self.weight)}

    @classmethod
    def from_config(cls, config):
        """The objective that `get_config` described."""
        if isinstance(config["beta"], dict):
            config = config | {"beta": keras.saving.deserialize_keras_object(config["beta"])}
        return cls(**config)


def _serialized(weight):
    if not callable(weight):
        return weight
    if not hasattr(weight, "get_config"):
        raise ValueError(
            f"This model cannot be saved: beta is {weight!r}, a plain function, which has no configuration to "
            "write down. Use kvae.schedules.Linear, a schedule of keras.optimizers.schedules, or a subclass of "
            "LearningRateSchedule registered with keras.saving.register_keras_serializable."
        )
    config = keras.saving.serialize_keras_object(weight)
    json.dumps(config)
    return config
