"""kvae: any Keras encoder and decoder as a variational autoencoder whose numbers can be trusted.

Natural logarithms, nats. Log-densities are summed over the event and averaged over examples;
elbo = reconstruction - kl; with beta = 1 the loss is exactly the negative ELBO. The sample axis comes first:
z is `[S, B, D]`, log-densities are `[S, B]`, losses `[B]`.

The subpackages, from top to bottom. None imports another from a line above it or from its own line. Two methods
are exceptions, and import when they are called: `VAE.export` imports `kvae.export`, `Table.likelihood` imports
`kvae.likelihoods`. docs/architecture.md says what is where.

    sklearn                                                 an estimator of scikit-learn; imported by its name alone
    anomaly                                                 scores of strange rows, p-values, their detector
    dynamics                                                a transition on codes, its data and scores
    callbacks                                               for `fit`: checkpoints, diagnosis, frames
    compress                                                lossless files as long as the ELBO says
    evaluate                                                estimates with errors, a diagnosis in words
    export                                                  the SavedModel
    models                                                  `VAE`: from x and noise to the log-densities
    training                                                compile, fit, evaluate; the compiled loop
    likelihoods, posteriors, priors, objectives, networks   the parts of a model
    families, schedules, plots                              what parts share; weights by the step; figures
    data                                                    loading, splits, checks, batches
    numerics                                                noise, distributions, compiled functions
"""

# ruff: noqa: E402, I001
from kvae import _environment

_environment.check()
_environment.check_backend()
__version__ = _environment.VERSION

# The model
from kvae.models import VAE, load_model

# Its parts
from kvae import likelihoods, networks, objectives, posteriors, priors, schedules

# Around it
from kvae import anomaly, callbacks, compress, data, dynamics, evaluate, export, plots

__all__ = [
    "VAE",
    "__version__",
    "anomaly",
    "callbacks",
    "compress",
    "data",
    "dynamics",
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
