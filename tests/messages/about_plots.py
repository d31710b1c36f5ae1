"""Messages about figures: place to (call, message[, type])."""

import numpy as np

from kvae import plots
from tests.messages.given import X, stand_in, vae

IMAGES = np.zeros((4, 3, 3, 1))
CODES = X[:, :2]

ROWS = {
    "plots.figures.as_array": [
        (lambda: plots.worst(X, X, "scores"), "scores must be an array of numbers, got 'scores'"),
        (lambda: plots.worst(X, X, X), r"scores must have 1 axes, got shape \(10, 6\)"),
    ],
    "plots.figures.as_finite": [
        (
            lambda: plots.code_paths(X / np.array(0.0)),
            "paths holds values that are not finite. Leave out the steps from the first of them on",
        ),
    ],
    "plots.figures.as_images": [
        (
            lambda: plots.grid(X[0]),
            r"\[N, \*event_shape\], got \(6,\). One axis is missing in front: x\[None\] for one",
        ),
        (lambda: plots.grid(X[:0]), r"got \(0, 6\). There are no images to draw"),
    ],
    "plots.figures.decoded": [
        (lambda: plots.latent_plane(3), r"must be a kvae.VAE or a function from z \[N, D\] to means, got 3", TypeError),
    ],
    "plots.figures.means_of": [
        (
            lambda: plots.reconstructions(X, X[:3]),
            r"a kvae.VAE, or an array with a row for each of the 10 of x, got sh",
        ),
    ],
    "plots.images.grid": [(lambda: plots.grid(IMAGES, low=2, high=1), "low must be below high, got 2 and 1")],
    "plots.images.worst": [
        (lambda: plots.worst(X, X, X[:3, 0]), "scores must be a number for each of the 10 of x, got 3"),
    ],
    "plots.images.animation": [
        (lambda: plots.animation(X), r"\[T, N, \*event_shape\], got \(10, 6\). An axis is missing"),
        (lambda: plots.animation(IMAGES[:0]), r"got \(0, 3, 3, 1\). There are no frames to draw"),
    ],
    "plots.latents.latent_plane": [
        (
            lambda: plots.latent_plane(vae()),
            "draws two latent dimensions, this model has 3. Take traversals",
        ),
    ],
    "plots.latents.traversals": [
        (lambda: plots.traversals(vae(), X[0, :3], (3,)), r"must be numbers of latents from 0 to 2, got \(3,\)"),
    ],
    "plots.latents.interpolations": [
        (lambda: plots.interpolations(vae(), CODES, X), r"must have one shape \[N, D\], got \(10, 2\) and \(10, 6\)"),
    ],
    "plots.latents.posteriors": [
        (
            lambda: plots.posteriors(X[:, :1]),
            r"draws two latents, \(0, 1\), but .* shape \(10, 1\). Give dimensions=, or",
        ),
        (lambda: plots.posteriors(CODES, labels=[1]), r"one for each of the 10 codes, got shape \(1,\)"),
        (lambda: plots.posteriors(CODES, X), r"scale must have the shape of mean, \(10, 2\), got \(10, 6\)"),
    ],
    "plots.forecasts.code_paths": [
        (lambda: plots.code_paths(X[0]), r"paths must have shape \[S, T, D\] or \[T, D\], got \(6,\). Take one start"),
        (lambda: plots.code_paths(X, X[:3]), r"truth must have shape \(10, 6\), as a path, got \(3, 6\)"),
    ],
    "plots.forecasts.code_moves": [
        (
            lambda: plots.code_moves(X[None], most=10),
            r"codes must have shape \[N, T, D\] with T above 10, got \(1, 10, 6\). Give a smaller one",
        ),
    ],
    "plots.forecasts._named": [
        (lambda: plots.spectra([1.0]), r"energies must be a dict, name to a list of estimates, got \[1.0\]"),
    ],
    "plots.forecasts._estimates": [
        (
            lambda: plots.spectra({"truth": ["a"]}),
            r"energies must be estimates over starts, one for each step, got \['a'\]",
        ),
    ],
    "plots.film.film": [
        (
            lambda: plots.film(X, X[:5], CODES),
            r"truth and forecast must have one shape, \[T, points\] or \[T, height, width\], got \(10, 6\) and "
            r"\(5, 6\). Take one start and one channel",
        ),
        (lambda: plots.film(X, X, CODES[:5]), r"The codes of the forecast must have shape \[10, D\], got \(5, 2\)"),
    ],
    "plots.charts.curves": [
        (lambda: plots.curves(3), "history must be what fit returned, got 3", TypeError),
        (lambda: plots.curves({"mse": [1]}), r"has elbo, reconstruction or kl in it; this one has \['mse'\]"),
    ],
    "plots.charts.kl_bars": [
        (lambda: plots.kl_bars(3), "per_dimension must be what kl_per_dimension gives, got 3", TypeError),
    ],
    "plots.charts.rate_distortion": [
        (
            lambda: plots.rate_distortion(stand_in("mine")),
            "must be what kvae.evaluate.rate_distortion gives",
            TypeError,
        ),
    ],
}
