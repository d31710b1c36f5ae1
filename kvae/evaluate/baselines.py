"""The model without latents, which a VAE has to beat."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kvae.data import inputs, statistics
from kvae.evaluate.estimates import Estimate, mean_of
from kvae.models.resolve import check_model


def independent_pixels(vae, train, test) -> Estimate:
    """The log-likelihood on `test` of the model without latents, in nats: every element by itself.

    Each element gets the model's likelihood with the parameters of the largest likelihood over `train`, see
    `kvae.likelihoods.Likelihood.fitted`; integers with two parameters get those of their mean and variance, and binary
    means are (n_1 + 1/2) / (N + 1). A normal with one scale gets the root-mean-square residual for it. A VAE that does
    not beat this has learned nothing.

    Args:
        vae: for its likelihood.
        train, test: arrays, splits or datasets.
    """
    return mean_of(pixel_log_prob(vae, train)(test), measure=vae.likelihood.measure)


def pixel_log_prob(vae, train) -> Callable[..., np.ndarray]:
    """A function from data to log-probabilities `[N]`, float64, fitted to `train`; see `independent_pixels`."""
    check_model(vae)
    likelihood, train = vae.likelihood, inputs.repeatable(train)
    _, count = statistics.mean(train, likelihood)
    if not count.any():
        raise ValueError(
            "Nothing was observed: every element of every example is masked. A mask is 1 where x was observed."
        )
    config = likelihood.get_config()
    own = {"project": False, "kernel_size": 1, "name": None}
    model = type(likelihood).from_config(config | {key: value for key, value in own.items() if key in config})
    *places, last = vae.event_shape
    model.build(feature_shape=(*places, model.parameter_count(last)), event_shape=vae.event_shape)
    parameters = model.fitted(lambda function: statistics.mean(train, model, function)[0], count)
    p = model.distribution(tf.constant(parameters[None], model.compute_dtype))
    neutral, dtype = model.neutral, model.compute_dtype

    def log_prob(data):
        examples = (batch.filled(neutral, dtype) for batch in inputs.batches(data, likelihood))
        return np.concatenate([model.log_prob(p, x, mask).numpy() for x, _, mask, _ in examples]).astype(np.float64)

    return log_prob
