"""Figures of forecasts, codes and flows: the numbers in them."""

import os

import numpy as np
import pytest
from PIL import Image

from kvae import dynamics, plots
from kvae.evaluate.estimates import Estimate

RANDOM = np.random.default_rng(0)


def estimates(means, errors) -> list[Estimate]:
    return [Estimate(mean, error, 0.0, 1.0, "") for mean, error in zip(means, errors, strict=True)]


def edges(band) -> np.ndarray:
    """The lower and the upper edge of a filled band, for each place."""
    corners = band.get_paths()[0].vertices
    places = np.unique(corners[:, 0])
    return np.array([[f(corners[corners[:, 0] == x, 1]) for f in (np.min, np.max)] for x in places])


def test_errors_over_time():
    own, other = [0.1, 0.2, 0.4], [0.3, 0.5, 0.9]
    errors = {"model": estimates(own, [0.01, 0.02, 0.03]), "persistence": estimates(other, [np.nan] * 3)}
    figure = plots.forecast_errors(errors, dt=0.5, coverage=estimates([0.8, 0.9, 0.95], [0.1, 0.1, 0.1]), level=0.8)
    above, below = figure.axes
    assert [line.get_label() for line in above.lines] == list(errors)
    np.testing.assert_allclose(above.lines[0].get_xydata(), np.stack([[0.5, 1.0, 1.5], own], axis=1))
    np.testing.assert_allclose(above.lines[1].get_ydata(), other)
    half = np.array([0.02, 0.04, 0.06])
    np.testing.assert_allclose(edges(above.collections[0]), np.stack([own - half, own + half], axis=1))
    np.testing.assert_allclose(below.lines[0].get_ydata(), [0.8, 0.9, 0.95])
    assert below.lines[1].get_ydata()[0] == 0.8 and below.get_xlabel() == "time" and not above.get_xlabel()
    assert len(plots.forecast_errors({"model": own}).axes) == 1


def test_what_the_scores_give_is_drawn():
    truth = RANDOM.normal(size=(5, 7, 8))
    forecast = truth + 0.1 * RANDOM.normal(size=truth.shape)
    errors = dynamics.forecast_error(forecast, truth)
    (axes,) = plots.forecast_errors({"model": errors}).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [one.mean for one in errors])
    energies = {"truth": dynamics.spectrum(truth), "model": dynamics.spectrum(forecast)}
    (axes,) = plots.spectra(energies).axes
    assert axes.get_yscale() == "log" and [one.get_label() for one in axes.containers] == ["truth", "model"]
    for container, one in zip(axes.containers, energies.values(), strict=True):
        np.testing.assert_allclose(container.lines[0].get_ydata(), [e.mean for e in one])


def test_code_paths():
    paths, truth = RANDOM.normal(size=(200, 6, 3)), RANDOM.normal(size=(6, 3))
    figure = plots.code_paths(paths, truth, dt=2.0, level=0.5)
    assert [axes.get_ylabel() for axes in figure.axes] == ["z0", "z1", "z2"]
    for i, axes in enumerate(figure.axes):
        np.testing.assert_allclose(axes.lines[0].get_ydata(), np.median(paths[..., i], axis=0))
        np.testing.assert_allclose(axes.lines[1].get_xydata(), np.stack([2.0 * np.arange(1, 7), truth[:, i]], axis=1))
        np.testing.assert_allclose(edges(axes.collections[0]), np.quantile(paths[..., i], [0.25, 0.75], axis=0).T)
    assert len(plots.code_paths(RANDOM.normal(size=(6, 20))).axes) == 12


def test_code_moves():
    """On a line with speed 3, and a turn on a circle with the chord 2 sin(k w / 2)."""
    t = np.arange(200.0)
    straight = np.stack([3.0 * t, 0 * t], axis=-1)[None]
    (axes,) = plots.code_moves(straight, most=4, dt=0.5).axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0.5, 3.0], [1.0, 6.0], [1.5, 9.0], [2.0, 12.0]])
    circle = np.stack([np.cos(0.2 * t), np.sin(0.2 * t)], axis=-1)[None].repeat(2, axis=0) * [[[1.0]], [[3.0]]]
    (axes,) = plots.code_moves(circle, most=6).axes
    k = np.arange(1, 7)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 4.0 * np.sin(0.1 * k))
    segments = axes.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(np.diff([s[:, 1] for s in segments])[:, 0], 4.0 * np.sin(0.1 * k))
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), k * 4.0 * np.sin(0.1))


@pytest.mark.parametrize("event, latents", [((16,), 1), ((16,), 3), ((4, 6), 2)])
def test_film(event, latents, tmp_path):
    truth, forecast = RANDOM.normal(size=(2, 4, *event))
    codes = RANDOM.normal(size=(4, latents)) * np.arange(1, latents + 1)
    shown = plots.film(truth, forecast, codes, codes + 1.0, dt=0.5)
    path = tmp_path / "film.gif"
    shown.save(path, writer="pillow", dpi=40)
    with Image.open(path) as image:
        assert image.n_frames == 4
    figure = shown._fig
    assert figure.get_suptitle() == "t = 2.00"
    if len(event) == 1:
        np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), truth[3])
        np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), forecast[3])
    else:
        for axes, fields in zip(figure.axes, (truth, forecast), strict=False):
            np.testing.assert_array_equal(axes.images[0].get_array(), fields[3])
    line, dot = figure.axes[-1].lines[:2]
    plane = np.stack([0.5 * np.arange(1, 5), codes[:, 0]], axis=1) if latents == 1 else codes[:, -2:]
    chosen = [line.get_xydata(), dot.get_xydata()]
    if latents > 1:
        spread = np.argsort(-np.ptp(codes, axis=0))[:2]
        plane = codes[:, sorted(spread)]
    np.testing.assert_allclose(chosen[0], plane)
    np.testing.assert_allclose(chosen[1], plane[-1:])
    assert os.path.getsize(path) > 1000
