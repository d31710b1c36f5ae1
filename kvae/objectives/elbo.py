"""The evidence lower bound."""

import json
from collections.abc import Callable

import keras
import tensorflow as tf

from kvae.numerics.arguments import choice, is_number, number, shown, whole
from kvae.objectives.base import Objective

_LATE = 10**6  # an optimizer step after the end of most schedules


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
            contains beta: the reported elbo, reconstruction and kl do not. A schedule is called at its ends (step 0,
            `schedule_end` and a million) when the objective is made, and must be finite and at least 0 there.
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
        if not callable(beta) and not (is_number(beta) and 0.0 <= float(beta) < float("inf")):
            raise ValueError(f"ELBO needs beta >= 0 or a schedule (a callable of the step), got {shown(beta)}.")
        self.kl_form = choice("kl", kl, ("auto", "analytic", "monte_carlo"))
        self.samples = whole("samples", samples, 1)
        self.free_bits = number("free_bits", free_bits, least=0.0)
        self.weight = beta if callable(beta) else float(beta)
        if callable(beta):
            self._check_ends()

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
        steps = getattr(self.weight, "steps", 0)
        return int(steps) if is_number(steps) else 0

    def _check_ends(self) -> None:
        """Raise a ValueError where the schedule leaves [0, inf) at one of its ends."""
        with tf.init_scope():  # eagerly, also where a graph is being built
            for step in sorted({0, self.schedule_end, _LATE}):
                try:
                    value = self.beta(tf.constant(step, tf.int64))
                except (IndexError, tf.errors.InvalidArgumentError) as error:
                    if step:  # a table of weights that ends before
                        continue
                    value = error
                if not (is_number(value) and 0.0 <= float(value) < float("inf")):
                    value = float(value) if is_number(value) else value
                    raise ValueError(
                        f"ELBO needs a schedule of finite weights >= 0, but {shown(self.weight)} is {shown(value)} at "
                        f"step {step}. Keep it in bounds, for example with tf.maximum(0.0, ...)."
                    )

    @property
    def needs_closed_form(self) -> bool:
        """Whether it asks for one, or for its dimensions."""
        return self.kl_form == "analytic" or self.free_bits > 0.0

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
            raise ValueError(
                f"ELBO(free_bits={self.free_bits:g}) needs a posterior and a prior that factorise over dimensions. Use "
                "posterior='diagonal_normal' and prior='standard_normal', or free_bits=0."
            )
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
