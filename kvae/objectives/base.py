"""What an objective is: a function from the log-densities of a step to a loss for each example."""

import copy
from collections.abc import Mapping
from types import MappingProxyType

import keras
import tensorflow as tf

from kvae.numerics.arguments import undefined
from kvae.objectives.terms import Terms
from kvae.objectives.weights import Weight


class Objective:
    """Abstract: a pure function from `Terms` to a loss per example, with plain configuration.

    Attributes:
        samples: how many z to draw for each example.
        weights: the arguments that may be schedules, by name.
        needs_pairs, needs_prior_draws: whether a step's `Terms` have `log_qz_pairs`, and `prior_z`.
    """

    samples: int
    weights: Mapping[str, Weight] = MappingProxyType({})
    needs_pairs = False
    needs_prior_draws = False

    @property
    def path_gradient(self) -> bool:
        """Whether, in training, log q(z|x) has a gradient through z alone: the parameters of q in it are held fast.

        It wants a posterior whose only weights are those of its projection.
        """
        return False

    def path_weight(self, terms: Terms):
        """With `path_gradient`, what the gradient through each z is multiplied by, `[S, B]`; None for 1."""
        del terms

    @property
    def needs_density(self) -> bool:
        """Whether the loss needs a density q(z|x), or its KL divergence to the prior."""
        return True

    @property
    def needs_closed_form(self) -> bool:
        """Whether the loss needs a KL divergence in closed form, which not every posterior and prior have."""
        return False

    def kl(self, terms: Terms):
        """The estimate of KL(q(z|x) || p(z)) that the model reports, `[B]`: the closed form, where there is one.

        Of a hierarchy of latents it is the sum of those of the groups at the samples. Elsewhere it is the mean of
        log q(z|x) - log p(z) over the samples.
        """
        if terms.kl is not None:
            return terms.kl
        if terms.kl_per_group is not None:
            return tf.reduce_sum(terms.kl_per_group, axis=-1)
        return tf.reduce_mean(terms.log_qz_x - terms.log_pz, axis=0)

    def loss(self, terms: Terms, step):
        """What is minimised, `[B]`; `step` is the optimizer's, for schedules."""
        raise undefined(self, "loss")

    def needed(self, terms: Terms, name: str):
        """What a step's `Terms` have by this name, see `needs_pairs`.

        Raises:
            ValueError: where they have not.
        """
        found = getattr(terms, name)
        if found is None:
            raise ValueError(
                f"{type(self).__name__} needs {name}, which only the Terms of a step have, not those of vae.terms. "
                "vae.evaluate(x) gives the loss."
            )
        return found

    def trackers(self) -> dict:
        """New metrics by name, which the model reports beside the ELBO; see `details`."""
        return {}

    def details(self, terms: Terms) -> dict:
        """What the metrics of `trackers` count of a batch: names to values, examples first."""
        del terms
        return {}

    def scheduled(self, step) -> dict:
        """What moves with the optimizer's step: names of arguments to their values at `step`, for the logs."""
        return {name: weight(step) for name, weight in self.weights.items() if weight.moves}

    @property
    def schedule_end(self) -> int:
        """The optimizer step from which on no schedule changes anything."""
        return max((weight.end for weight in self.weights.values()), default=0)

    def held(self, step: int) -> "Objective":
        """The objective whose schedules stay as they are at an optimizer step."""
        found = copy.copy(self)
        found.weights = {name: weight.held(step) for name, weight in self.weights.items()}
        return found

    def get_config(self) -> dict:
        """Plain configuration: the constructor's arguments."""
        raise undefined(self, "get_config")

    @classmethod
    def from_config(cls, config):
        """The objective that `get_config` described."""
        restored = keras.saving.deserialize_keras_object
        return cls(**{name: restored(value) if isinstance(value, dict) else value for name, value in config.items()})
