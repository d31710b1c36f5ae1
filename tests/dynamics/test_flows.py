"""Trajectories against exact solutions, SciPy's integrators, orders of convergence and conserved quantities."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from kvae.dynamics import flows

WIDE = {"trajectories": 2, "dtype": "float64"}


def relative(a, b) -> float:
    return float(np.sqrt(np.mean(np.square(a - b)) / np.mean(np.square(b))))


def test_heat_is_the_series():
    u = flows.heat(steps=30, points=32, nu=0.3, dt=0.1, seed=1, **WIDE)
    x = 2 * np.pi * np.arange(32) / 32
    waves = np.stack([f(k * x) for k in (1, 2, 3) for f in (np.cos, np.sin)], axis=1)
    first = np.linalg.lstsq(waves, u[:, 0].T, rcond=None)[0]  # [6, trajectories]
    decay = np.exp(-0.3 * np.repeat([1, 2, 3], 2) ** 2 * (0.1 * np.arange(30))[:, None])  # [T, 6]
    np.testing.assert_allclose(u, np.einsum("xm,tm,mn->ntx", waves, decay, first), atol=1e-12)
    assert np.linalg.norm(u[:, 0]) > 1.0


def test_advection_moves_the_first_wave():
    u = flows.advection(steps=20, points=64, dt=2 * np.pi / 64, speed=2.0, **WIDE)
    np.testing.assert_allclose(u[:, 7], np.roll(u[:, 0], 14, axis=-1), atol=1e-12)
    np.testing.assert_allclose(np.square(u).sum(-1), np.square(u[:, :1]).sum(-1) * np.ones(20), rtol=1e-12)


def pseudo_spectral(u, nu: float, times):
    """Burgers' equation from u by SciPy, de-aliased by doubling the grid."""
    n = len(u)
    k = np.arange(n // 2 + 1.0)

    def slope(_, v):
        spectrum = np.fft.rfft(v)
        wide = np.zeros(n + 1, complex)
        wide[: n // 2] = spectrum[: n // 2]
        square = np.fft.rfft(np.square(2 * np.fft.irfft(wide, 2 * n)))[: n // 2 + 1] / 2
        return np.fft.irfft(-0.5j * k * square - nu * k**2 * spectrum, n)

    return solve_ivp(slope, (0, times[-1]), u, "Radau", times, rtol=1e-8, atol=1e-9).y.T


@pytest.mark.slow
def test_burgers_is_scipys():
    u = flows.burgers(steps=11, points=128, dt=0.1, nu=0.2, seed=3, **WIDE)
    np.testing.assert_allclose(np.mean(u, axis=-1), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.mean(np.square(u[:, 0]), axis=-1), 1.0, rtol=1e-6)
    assert relative(u[0], pseudo_spectral(u[0, 0], 0.2, 0.1 * np.arange(11))) < 1e-6
    assert np.all(np.diff(np.square(u).sum(-1), axis=1) < 0)  # viscosity takes energy


def error_of_steps(make, dt: float, time: float) -> np.ndarray:
    """Errors at `time` with dt, dt / 2 and dt / 4 against dt / 16."""
    ends = [make(dt / n, round(time / dt) * n + 1)[:, -1] for n in (1, 2, 4, 16)]
    return np.array([relative(end, ends[-1]) for end in ends[:3]])


def test_kuramoto_sivashinsky_is_of_fourth_order():
    def make(dt, steps):
        return flows.kuramoto_sivashinsky(steps=steps, points=32, dt=dt, transient=0.0, seed=2, **WIDE)

    errors = error_of_steps(make, 1 / 32, 2.0)
    assert 12 < errors[0] / errors[1] < 17 and 12 < errors[1] / errors[2] < 17, errors


def test_kuramoto_sivashinsky_is_scipys():
    u = flows.kuramoto_sivashinsky(steps=21, dt=0.05, points=32, seed=4, **WIDE)
    k = 2 * np.pi * np.arange(17) / 22

    def slope(_, v):
        square = np.fft.rfft(np.square(v)) * (np.arange(17) <= 32 / 3)
        return np.fft.irfft(-0.5j * k * square + (k**2 - k**4) * np.fft.rfft(v), 32)

    found = solve_ivp(slope, (0, 1.0), u[0, 0], "Radau", [1.0], rtol=1e-9, atol=1e-10).y[:, 0]
    assert relative(u[0, -1], found) < 1e-6
    np.testing.assert_allclose(u.mean(-1), 0.0, atol=1e-12)
    assert 0.5 < u.std() < 2.5  # on the attractor


def test_lorenz96_is_scipys_and_of_fourth_order():
    options = {"points": 12, "transient": 5.0, "seed": 1, **WIDE}
    x = flows.lorenz96(steps=21, **options)

    def slope(_, v):
        n = len(v)
        return [(v[(i + 1) % n] - v[i - 2]) * v[i - 1] - v[i] + 8.0 for i in range(n)]

    found = solve_ivp(slope, (0, 1.0), x[0, 0], "DOP853", [1.0], rtol=1e-11, atol=1e-11).y[:, 0]
    assert relative(x[0, -1], found) < 1e-5

    def make(dt, steps):
        options["transient"] = 0.0
        return flows.lorenz96(steps=steps, dt=dt, substeps=1, **options)

    errors = error_of_steps(make, 0.02, 1.0)
    assert 10 < errors[0] / errors[1] < 25 and 10 < errors[1] / errors[2] < 25, errors


@pytest.mark.slow
def test_lorenz96_keeps_its_energy_balance():
    """d/dt sum x^2 / 2 = -sum x^2 + F sum x: the quadratic term has no part in it."""
    x = flows.lorenz96(steps=401, dt=0.001, substeps=1, **WIDE)
    energy, slope = np.square(x).sum(-1) / 2, -np.square(x).sum(-1) + 8.0 * x.sum(-1)
    np.testing.assert_allclose((energy[:, 2:] - energy[:, :-2]) / 0.002, slope[:, 1:-1], rtol=1e-4, atol=0.05)


def test_oscillator_turns():
    x = flows.oscillator(steps=50, dt=0.2, frequency=1.5, **WIDE)
    c, s = np.cos(0.3), np.sin(0.3)
    np.testing.assert_allclose(x[:, 1:], x[:, :-1] @ np.array([[c, s], [-s, c]]).T, atol=1e-12)
    np.testing.assert_allclose(np.square(x).sum(-1), np.square(x[:, :1]).sum(-1) * np.ones(50), rtol=1e-12)


@pytest.mark.parametrize("name", ["heat", "advection", "burgers", "kuramoto_sivashinsky", "lorenz96", "oscillator"])
def test_each_is_a_function_of_its_seed(name):
    make = getattr(flows, name)
    options = {"transient": 1.0} if name in ("kuramoto_sivashinsky", "lorenz96") else {}
    one, again, other = (make(2, 5, seed=seed, **options) for seed in (3, 3, 4))
    assert one.dtype == np.float32 and one.shape[:2] == (2, 5)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3 and np.abs(one[0] - one[1]).max() > 1e-3
    np.testing.assert_allclose(one, make(2, 5, seed=3, dtype="float64", **options), atol=1e-5)
