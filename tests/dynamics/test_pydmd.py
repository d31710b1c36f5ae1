"""`PODRegression(degree=1)` beside PyDMD: the same eigenvalues and the same forecasts."""

import importlib.util
import warnings

import numpy as np
import pytest

from kvae.dynamics import PODRegression, flows

pytestmark = [
    pytest.mark.slow,  # where optional packages are installed
    pytest.mark.filterwarnings("ignore:Input data condition number"),
]

DATA = {  # trajectories in float64 and the modes that hold them
    "travelling wave": (lambda steps: flows.advection(1, steps, dt=0.05, modes=6, points=64, dtype="float64"), 12),
    "heat": (lambda steps: flows.heat(1, steps, nu=0.1, dt=0.05, dtype="float64"), 3),
}


def peer():
    if importlib.util.find_spec("pydmd") is None:
        pytest.skip("needs pydmd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pydmd import DMD
    return DMD


@pytest.mark.parametrize("name", DATA)
def test_eigenvalues_and_forecasts_are_pydmds(name):
    """Exactly linear data: the constant of a regression, and the mean, which PyDMD does not have, change nothing."""
    DMD, (made, modes) = peer(), DATA[name]
    x = made(200)
    dmd, ours = DMD(svd_rank=modes).fit(x[0, :100].T), PODRegression(modes, 1).fit(x[:, :100])
    np.testing.assert_allclose(np.sort_complex(ours.eigenvalues()), np.sort_complex(dmd.eigs), rtol=0, atol=1e-8)
    dmd.dmd_time["tend"] = 199
    forecast = ours.rollout(x[:, 0], 199)[0]
    np.testing.assert_allclose(forecast, dmd.reconstructed_data.real.T[1:], rtol=0, atol=1e-8)
    np.testing.assert_allclose(forecast, x[0, 1:], rtol=0, atol=1e-7)


def test_eigenvalues_of_a_best_fit_are_pydmds():
    """Burgers' equation is not linear. PyDMD gets the pairs of coordinates less their means (Frisch, Waugh)."""
    DMD, x = peer(), flows.burgers(4, 60, points=32, dtype="float64")
    ours = PODRegression(5, 1).fit(x)
    a = ours.coordinates(x)
    before, after = (part.reshape(-1, 5) - part.reshape(-1, 5).mean(0) for part in (a[:, :-1], a[:, 1:]))
    dmd = DMD(svd_rank=5).fit(before.T, after.T)
    np.testing.assert_allclose(np.sort_complex(ours.eigenvalues()), np.sort_complex(dmd.eigs), rtol=0, atol=1e-8)
    assert np.abs(np.abs(dmd.eigs) - 1.0).max() > 1e-3
