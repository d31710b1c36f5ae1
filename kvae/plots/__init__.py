"""Figures. Each function takes arrays, or a model where that says it all, and returns a Matplotlib figure.

The functions do not show or save it. An argument `decode` is a `kvae.VAE` or a function from z `[N, D]` to means.
"""

from kvae.plots.charts import curves, kl_bars, rate_distortion
from kvae.plots.film import film
from kvae.plots.forecasts import code_moves, code_paths, forecast_errors, spectra
from kvae.plots.images import animation, grid, reconstructions, worst
from kvae.plots.latents import interpolations, latent_plane, posteriors, traversals

__all__ = [
    "animation",
    "code_moves",
    "code_paths",
    "curves",
    "film",
    "forecast_errors",
    "grid",
    "interpolations",
    "kl_bars",
    "latent_plane",
    "posteriors",
    "rate_distortion",
    "reconstructions",
    "spectra",
    "traversals",
    "worst",
]
