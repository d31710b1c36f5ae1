"""kvae: any Keras encoder and decoder as a variational autoencoder whose numbers can be trusted.

Natural logarithms, nats. Log-densities are summed over the event and averaged over examples;
elbo = reconstruction - kl; with beta = 1 the loss is exactly the negative ELBO. The sample axis comes first:
z is `[S, B, D]`, log-densities are `[S, B]`, losses `[B]`.
"""

# ruff: noqa: E402, I001
from kvae import _requirements

_requirements.check()
_requirements.check_backend()

# The model
from kvae.vae import VAE
from kvae.resolve import VERSION as __version__

# Its parts
from kvae import likelihoods, networks, objectives, posteriors, priors, schedules

# Around it
from kvae import callbacks, data, evaluate, export, plots
from kvae.saving import load_model

__all__ = [
    "VAE",
    "__version__",
    "callbacks",
    "data",
    "evaluate",
    "export",
    "likelihoods",
    "load_model",
    "networks",
    "objectives",
    "plots",
    "posteriors",
    "priors",
    "schedules",
]
