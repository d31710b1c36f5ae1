"""Trajectories of known equations by NumPy, `[trajectories, steps, *event_shape]`, a function of the seed.

Fields live on a periodic domain of `points` equidistant points; x_i = i length / points. The first state of a
trajectory is at time 0 (for the chaotic equations: on the attractor), the others are `dt` apart. `cylinder` is the one
flow in two dimensions.
"""

import numpy as np

from kvae.dynamics.lattice_boltzmann import cylinder
from kvae.numerics import arguments

__all__ = ["advection", "burgers", "cylinder", "heat", "kuramoto_sivashinsky", "lorenz96", "oscillator"]

_TRANSIENT = 100.0  # time units before the first state of a chaotic trajectory


def heat(
    trajectories: int = 16, steps: int = 100, points: int = 32, dt: float = 0.05, nu: float = 0.1, modes: int = 3,
    seed: int = 0, dtype: str = "float32",
) -> np.ndarray:  # fmt: skip
    """u_t = nu u_xx on [0, 2 pi): exact, u = sum_k exp(-nu k^2 t) (a_k cos kx + b_k sin kx), k = 1..modes.

    The a and b are standard normal numbers. A step multiplies each of the 2 `modes` by exp(-nu k^2 dt).
    """
    nu = arguments.number("nu", nu, least=0.0)
    sizes, dt, generator = _sizes(trajectories, steps, points, modes), _step(dt), _generator(seed)
    spectrum, k = _random_modes(generator, *sizes[::2], sizes[3])
    decay = np.exp(-nu * k**2 * dt * np.arange(sizes[1])[:, None])
    return np.fft.irfft(spectrum[:, None] * decay, sizes[2]).astype(_real(dtype))


def advection(
    trajectories: int = 16, steps: int = 100, points: int = 64, dt: float = 0.05, speed: float = 1.0, modes: int = 3,
    seed: int = 0, dtype: str = "float32",
) -> np.ndarray:  # fmt: skip
    """u_t + speed u_x = 0 on [0, 2 pi): exact, a random wave of `modes` wavenumbers that travels without change."""
    speed = arguments.number("speed", speed)
    sizes, dt, generator = _sizes(trajectories, steps, points, modes), _step(dt), _generator(seed)
    spectrum, k = _random_modes(generator, *sizes[::2], sizes[3])
    shift = np.exp(-1j * k * speed * dt * np.arange(sizes[1])[:, None])
    return np.fft.irfft(spectrum[:, None] * shift, sizes[2]).astype(_real(dtype))


def burgers(
    trajectories: int = 16, steps: int = 100, points: int = 64, dt: float = 0.05, nu: float = 0.1, modes: int = 3,
    seed: int = 0, dtype: str = "float32",
) -> np.ndarray:  # fmt: skip
    """u_t + u u_x = nu u_xx on [0, 2 pi), by the transform of Cole and Hopf: u = -2 nu w_x / w with w_t = nu w_xx.

    It is exact but for the resolution of w at time 0, which has 8 times as many points. The mean of u is zero. Its
    first values are those of a random wave of root mean square 1.

    Args:
        nu: the viscosity, at least 0.05: below it w spans more than the grid resolves.

    References: Hopf (1950), The partial differential equation u_t + u u_x = mu u_xx. Cole (1951).
    """
    nu = arguments.number("nu", nu, least=0.05)
    sizes, dt, generator = _sizes(trajectories, steps, points, modes), _step(dt), _generator(seed)
    fine = 8 * sizes[2]
    spectrum, k = _random_modes(generator, sizes[0], fine, sizes[3])
    rms = np.sqrt(np.mean(np.fft.irfft(spectrum, fine) ** 2, axis=-1, keepdims=True))
    integral = np.fft.irfft(np.divide(spectrum, 1j * k, out=np.zeros_like(spectrum), where=k > 0) / rms, fine)
    w = np.exp(-(integral - integral.min(axis=-1, keepdims=True)) / (2.0 * nu))
    w = np.fft.rfft(w)[:, None] * np.exp(-nu * k**2 * dt * np.arange(sizes[1])[:, None])
    u = -2.0 * nu * np.fft.irfft(1j * k * w, fine) / np.fft.irfft(w, fine)
    return u[..., :: fine // sizes[2]].astype(_real(dtype))


def kuramoto_sivashinsky(
    trajectories: int = 4, steps: int = 1000, points: int = 64, dt: float = 0.25, length: float = 22.0,
    transient: float = _TRANSIENT, seed: int = 0, dtype: str = "float32",
) -> np.ndarray:  # fmt: skip
    """u_t = -u u_x - u_xx - u_xxxx on [0, length), by ETDRK4 in Fourier space, de-aliased by the 2/3 rule.

    At length 22 it is chaotic, with a Lyapunov time of about 23 (exponent 0.043). The mean of u is conserved, and zero.

    Args:
        dt: the time step of the method and between states.
        transient: time units before the first state, from a random wave.

    Reference: Kassam, Trefethen (2005), Fourth-order time-stepping for stiff PDEs.
    """
    length = arguments.number("length", length, above=0.0)
    transient = arguments.number("transient", transient, least=0.0)
    trajectories, steps, points, _ = _sizes(trajectories, steps, points, 1)
    dt, generator = _step(dt), _generator(seed)
    v, number = _random_modes(generator, trajectories, points, min(4, (points - 1) // 2))
    k = 2.0 * np.pi * number / length
    advance = _etdrk4(k**2 - k**4, -0.5j * k * (number <= points / 3), points, dt)
    for _ in range(round(transient / dt)):
        v = advance(v)
    states = np.empty((trajectories, steps, points), _real(dtype))
    for step in range(steps):
        states[:, step] = np.fft.irfft(v, points)
        v = advance(v)
    return states


def _etdrk4(linear, slope, points: int, dt: float):
    """The step of v_t = linear v + slope F(u^2), u the inverse transform of v. Means over a circle give the phi."""
    half, whole = np.exp(dt * linear / 2.0), np.exp(dt * linear)
    z = dt * linear[:, None] + np.exp(1j * np.pi * (np.arange(1, 33) - 0.5) / 32)
    q = dt * np.mean((np.exp(z / 2.0) - 1.0) / z, axis=1).real
    f1 = dt * np.mean((-4.0 - z + np.exp(z) * (4.0 - 3.0 * z + z**2)) / z**3, axis=1).real
    f2 = dt * np.mean((2.0 + z + np.exp(z) * (z - 2.0)) / z**3, axis=1).real
    f3 = dt * np.mean((-4.0 - 3.0 * z - z**2 + np.exp(z) * (4.0 - z)) / z**3, axis=1).real

    def nonlinear(v):
        return slope * np.fft.rfft(np.fft.irfft(v, points) ** 2)

    def advance(v):
        at_v = nonlinear(v)
        a = half * v + q * at_v
        at_a = nonlinear(a)
        at_b = nonlinear(half * v + q * at_a)
        at_c = nonlinear(half * a + q * (2.0 * at_b - at_v))
        return whole * v + f1 * at_v + 2.0 * f2 * (at_a + at_b) + f3 * at_c

    return advance


def lorenz96(
    trajectories: int = 4, steps: int = 1000, points: int = 40, dt: float = 0.05, forcing: float = 8.0,
    substeps: int = 5, transient: float = _TRANSIENT / 10, seed: int = 0, dtype: str = "float32",
) -> np.ndarray:  # fmt: skip
    """x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing, cyclic in i, by the classical Runge-Kutta method.

    The quadratic term conserves sum x_i^2. At forcing 8 it is chaotic.

    Args:
        substeps: steps of the method between two states.
        transient: time units before the first state, from `forcing` with a little noise.

    Reference: Lorenz (1996), Predictability: a problem partly solved.
    """
    trajectories, steps, points, _ = _sizes(trajectories, steps, points, 1)
    forcing, dt, generator = arguments.number("forcing", forcing), _step(dt), _generator(seed)
    substeps = arguments.whole("substeps", substeps, 1)
    transient = arguments.number("transient", transient, least=0.0)
    x = forcing + 0.01 * generator.normal(size=(trajectories, points))

    def slope(x):
        return (np.roll(x, -1, -1) - np.roll(x, 2, -1)) * np.roll(x, 1, -1) - x + forcing

    for _ in range(round(transient / dt)):
        x = _runge_kutta(slope, x, dt, substeps)
    states = np.empty((trajectories, steps, points), _real(dtype))
    for step in range(steps):
        states[:, step] = x
        x = _runge_kutta(slope, x, dt, substeps)
    return states


def _runge_kutta(slope, x, dt: float, substeps: int):
    h = dt / substeps
    for _ in range(substeps):
        a = slope(x)
        b = slope(x + h / 2.0 * a)
        c = slope(x + h / 2.0 * b)
        x = x + h / 6.0 * (a + 2.0 * b + 2.0 * c + slope(x + h * c))
    return x


def oscillator(
    trajectories: int = 16, steps: int = 100, dt: float = 0.1, frequency: float = 1.0, seed: int = 0,
    dtype: str = "float32",
) -> np.ndarray:  # fmt: skip
    """q' = frequency p, p' = -frequency q: exact, a turn by frequency dt (radians) in each step; the event is (q, p).

    Energy (q^2 + p^2) / 2 is conserved. The first states are standard normal.
    """
    trajectories, steps = arguments.whole("trajectories", trajectories, 1), arguments.whole("steps", steps, 1)
    frequency, dt, generator = arguments.number("frequency", frequency), _step(dt), _generator(seed)
    first = generator.normal(size=(trajectories, 1, 2)) @ np.array([1.0, 1.0j])
    state = first * np.exp(-1j * frequency * dt * np.arange(steps))
    return np.stack([state.real, state.imag], axis=-1).astype(_real(dtype))


def _random_modes(generator, trajectories: int, points: int, modes: int):
    """The spectrum, as NumPy's rfft has it, of sum_k a_k cos kx + b_k sin kx with normal a and b; and its k."""
    a, b = generator.normal(size=(2, trajectories, modes))
    spectrum = np.zeros((trajectories, points // 2 + 1), complex)
    spectrum[:, 1 : modes + 1] = (a - 1j * b) * points / 2.0
    return spectrum, np.arange(points // 2 + 1.0)


def _sizes(trajectories, steps, points, modes) -> tuple[int, int, int, int]:
    points = arguments.whole("points", points, 4)
    modes = arguments.whole("modes", modes, 1, (points - 1) // 2)
    return arguments.whole("trajectories", trajectories, 1), arguments.whole("steps", steps, 1), points, modes


def _step(dt) -> float:
    return arguments.number("dt", dt, above=0.0)


def _generator(seed) -> np.random.Generator:
    return np.random.default_rng(arguments.seed(seed))


def _real(dtype) -> str:
    return arguments.choice("dtype", dtype, ("float32", "float64"))
