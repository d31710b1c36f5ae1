"""Messages about posteriors and priors over codes: place to (call, message[, type])."""

import functools

import keras
import numpy as np

import kvae
from kvae import evaluate, plots
from kvae.posteriors import FiniteScalar, VectorQuantized
from kvae.priors import Codes
from tests.messages.given import X, mlp


@functools.cache
def _model(kind="uniform") -> kvae.VAE:
    return kvae.VAE(*mlp(), FiniteScalar((3,)), prior=Codes(kind))


def _map(places=(2, 1), latent=3) -> kvae.VAE:
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Reshape((*places, 6 // np.prod(places)))])
    return kvae.VAE(encoder, mlp(latent=latent)[1], FiniteScalar((3,)), prior=Codes())


ROWS = {
    "evaluate.chains.Annealing.__init__": [
        (
            lambda: evaluate.ais(_model(), X),
            "FiniteScalar is a point mass at a code, from which no chain moves. Give sta",
        ),
    ],
    "evaluate.chains.Annealing.forth_and_back": [
        (
            lambda: evaluate.sandwich(_model(), 3, start="prior"),
            r"Codes is no bijector of noise. Of codes there is no bound from above; ais\(start='prior'\) gives one",
        ),
    ],
    "models.resolve.check_continuous": [
        (
            lambda: evaluate.gaps(_model(), X),
            "gap of the ELBO needs a density .* real numbers, and FiniteScalar is a point mass at a code. What it",
        ),
    ],
    "plots.latents.latent_plane": [
        (
            lambda: plots.latent_plane(_model()),
            r"for a prior N\(0, I\), but this model has codes. Draw samples or traversals",
        ),
    ],
    "posteriors.codes.CodePosterior.build": [
        (
            lambda: kvae.VAE(*mlp(), VectorQuantized(8, 2), prior=Codes()),
            "VectorQuantized has 2 numbers at each position, so that .* must be a multiple of 2, but the decoder",
        ),
        (
            lambda: kvae.VAE(*mlp(), FiniteScalar((3,), project=False), prior=Codes()),
            r"output must have shape \(3,\) for one example, but it has \(8,\)",
        ),
        (
            _map,
            "feature map has 2 x 1 places, .*a code of 1 numbers: the decoder must take 2 latent dimensions, not 3",
        ),
    ],
    "posteriors.codes.CodePosterior.pair": [
        (
            lambda: kvae.VAE(*mlp(), FiniteScalar((3,))),
            "FiniteScalar gives codes, which .* StandardNormal has a density: .* no ELBO. Give prior=kvae.priors.Codes",
        ),
    ],
    "posteriors.finite_scalar.FiniteScalar.__init__": [
        (lambda: FiniteScalar(()), r"needs one level or more, and less than 2\*\*31 codes, got levels=\(\) with 1"),
        (lambda: FiniteScalar((256,) * 4), "with 4294967296. Give fewer numbers a position, and more positions"),
    ],
    "priors.codes.Codes.__init__": [
        (lambda: Codes("autoregressive", units=10), "units in a multiple of heads, got units=10 and heads=4"),
    ],
    "priors.codes.Codes.pair": [
        (
            lambda: kvae.VAE(*mlp(), prior=Codes()),
            r"the DiagonalNormal posterior has none. Give posterior=kvae.posteriors.FiniteScalar\(\) or VectorQ",
        ),
    ],
    "priors.codes.Codes.fit_codes": [
        (lambda: _model("categorical").prior.fit_codes(X), r"must be codes of shape \[N, 3\], got \(10, 6\)"),
    ],
}
