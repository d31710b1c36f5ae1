"""Flow in two dimensions by the lattice Boltzmann method, and the wake of a cylinder by it."""

import numpy as np

from kvae.numerics import arguments

# Velocities (x, y): rest, then four with their opposites beside them.
_C = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1], [1, -1], [-1, 1]])
_W = np.array([4 / 9, *[1 / 9] * 4, *[1 / 36] * 4])
_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8))
_MAGIC = 3 / 16  # with it a wall is half-way between two cells, whatever the viscosity
_SPEED = 0.1  # of the flow around a cylinder, cells in a step: 0.17 of the speed of sound


class Lattice:
    """The D2Q9 lattice on a periodic box, with two relaxation times and walls by half-way bounce-back.

    Populations f_i `[N, height, width]` for the 9 velocities c_i, in cells and steps. In a step each pair of opposite
    velocities relaxes to its equilibrium w_i rho (1 + 3 c_i u + 9/2 (c_i u)^2 - 3/2 u^2), its even part with the rate
    that gives the viscosity nu = (1 / rate - 1/2) / 3, and moves by c_i. What would enter a solid cell comes back.

    Args:
        solid: booleans `[height, width]`.
        viscosity: nu.

    Reference: Ginzburg, Verhaeghe, d'Humieres (2008), Two-relaxation-time lattice Boltzmann scheme.
    """

    def __init__(self, solid, viscosity: float):
        self.solid = np.asarray(solid, bool)
        self.even = 1.0 / (3.0 * viscosity + 0.5)
        self.odd = 1.0 / (_MAGIC / (3.0 * viscosity) + 0.5)
        self._returned: list[tuple] = []  # velocity, its opposite, and the fluid cells where a wall is in its way
        for pair in _PAIRS:
            for i, opposite in (pair, pair[::-1]):
                ahead = np.roll(self.solid, (-_C[i, 1], -_C[i, 0]), (0, 1))
                self._returned.append((i, opposite, *np.nonzero(ahead & ~self.solid)))

    def equilibrium(self, rho, u, v) -> np.ndarray:
        """Populations `[9, ...]` for density and velocity `[...]`."""
        along = np.multiply.outer(_C[:, 0], u) + np.multiply.outer(_C[:, 1], v)
        return np.multiply.outer(_W, rho) * (1.0 + 3.0 * along + 4.5 * along**2 - 1.5 * (u**2 + v**2))

    def moments(self, f) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Density and velocity (along x, along y); the velocity is 0 in solid cells."""
        rho = f.sum(axis=0)
        u = (f[1] - f[2] + f[5] - f[6] + f[7] - f[8]) / rho
        v = (f[3] - f[4] + f[5] - f[6] - f[7] + f[8]) / rho
        return rho, np.where(self.solid, 0.0, u), np.where(self.solid, 0.0, v)

    def step(self, f) -> np.ndarray:
        """The populations a step later."""
        rho, u, v = self.moments(f)
        rest = rho * (1.0 - 1.5 * (u**2 + v**2))
        after = np.empty_like(f)
        after[0] = f[0] - self.even * (f[0] - _W[0] * rest)
        for i, j in _PAIRS:
            along = _C[i, 0] * u + _C[i, 1] * v
            even = self.even * (0.5 * (f[i] + f[j]) - _W[i] * (rest + 4.5 * rho * along**2))
            odd = self.odd * (0.5 * (f[i] - f[j]) - 3.0 * _W[i] * rho * along)
            after[i], after[j] = f[i] - even - odd, f[j] - even + odd
        moved = np.stack([np.roll(one, (y, x), (-2, -1)) for one, (x, y) in zip(after, _C, strict=True)])
        for i, opposite, rows, columns in self._returned:
            moved[opposite][..., rows, columns] = after[i][..., rows, columns]
        moved[..., self.solid] = _W[:, None, None]
        return moved


def cylinder(
    trajectories: int = 1, steps: int = 200, diameter: int = 10, length: float = 20.0, height: float = 10.0,
    dt: float = 0.25, reynolds: float = 100.0, transient: float = 120.0, seed: int = 0, dtype: str = "float32",
) -> np.ndarray:  # fmt: skip
    """The wake of a cylinder, by the lattice Boltzmann method: velocities `[trajectories, steps, rows, columns, 2]`.

    Lengths are in units of the diameter, velocities of the inflow's, times of their ratio. The flow comes from the
    left; above and below the box it goes on periodically. The cylinder is a quarter of the length from the inflow, in
    the middle, and 0 inside. Above a Reynolds number of about 47 vortices are shed, with the Strouhal number as their
    frequency.

    With few cells the cylinder is rough, and cylinders above and below are near: expect a frequency some percent off.
    The default takes about half a minute, and the time is proportional to diameter^3.

    Args:
        diameter: in cells, at least 4.
        length, height: of the box, at least 4 and 3.
        dt: between two states; it is rounded to a whole number of steps of the method, 10 `diameter` in a unit of time.
        reynolds: inflow times diameter over viscosity, at most 20 `diameter`: beyond it the method is not stable.
        transient: time before the first state, from uniform flow with a random push.

    Returns:
        the last axis is (along the flow, across it).

    References: He, Doolen (1997), Lattice Boltzmann method on curvilinear coordinates system: flow around a circular
    cylinder. Williamson (1996), Vortex dynamics in the cylinder wake.
    """
    trajectories, steps = arguments.whole("trajectories", trajectories, 1), arguments.whole("steps", steps, 1)
    diameter = arguments.whole("diameter", diameter, 4)
    length, height = arguments.number("length", length, least=4.0), arguments.number("height", height, least=3.0)
    reynolds = arguments.number("reynolds", reynolds, above=0.0, most=20.0 * diameter)
    dt, transient = arguments.number("dt", dt, above=0.0), arguments.number("transient", transient, least=0.0)
    generator = np.random.default_rng(arguments.seed(seed))
    dtype = arguments.choice("dtype", dtype, ("float32", "float64"))

    y, x = np.mgrid[: round(height * diameter), : round(length * diameter)] + 0.5
    from_center = np.hypot(x - x.shape[1] / 4.0, y - y.shape[0] / 2.0)
    lattice = Lattice(from_center < diameter / 2.0, _SPEED * diameter / reynolds)
    push = _SPEED * generator.uniform(0.2, 0.5, (trajectories, 1, 1)) * generator.choice([-1, 1], (trajectories, 1, 1))
    push = push * np.exp(-np.square((from_center - diameter) / diameter)) * (x > x.shape[1] / 4.0)
    u = np.where(lattice.solid, 0.0, _SPEED) * np.ones_like(push)
    f = lattice.equilibrium(np.ones_like(u), u, np.where(lattice.solid, 0.0, push))

    def advanced(f, time):
        for _ in range(max(1, round(time * diameter / _SPEED)) if time else 0):
            f = lattice.step(f)
            for i, opposite in (_PAIRS[0], *_PAIRS[2:]):  # to the right, to the left
                f[i][..., 0] = f[opposite][..., 0] + 6.0 * _W[i] * _SPEED  # from a wall that moves with the inflow
                f[opposite][..., -1] = f[opposite][..., -2]
        return f

    f, states = advanced(f, transient), np.empty((trajectories, steps, *x.shape, 2), dtype)
    for step in range(steps):
        f = advanced(f, dt) if step else f
        states[:, step] = np.stack(lattice.moments(f)[1:], axis=-1) / _SPEED
    return states
