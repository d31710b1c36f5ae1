"""Forecasts without a VAE, which every table should have."""

import numpy as np

from kvae.dynamics import trajectories
from kvae.numerics import arguments


def persistence(x0, steps: int) -> np.ndarray:
    """The state as it was, `[N, steps, *event_shape]`, for states x0 `[N, *event_shape]`."""
    x0, steps = _states("x0", x0), arguments.whole("steps", steps, 1)
    if x0.ndim < 2:
        raise ValueError(f"x0 must be states [N, *event_shape], got shape {x0.shape}. A single one takes x0[None].")
    return np.repeat(x0[:, None], steps, axis=1)


def _states(name: str, value) -> np.ndarray:
    found = trajectories.array(value, name)
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds values that are not finite. Leave those states out.")
    return found


class PODRegression:
    """A regression of the next coordinates on polynomials of the last ones, in a proper orthogonal decomposition.

    The modes are the leading right singular vectors of the states less their mean. The coordinates a `[modes]`, in
    units of their deviations, go one step by a_t+1 = a_t + K phi(a_t), with phi all monomials up to `degree` and K by
    ridge regression. degree=1 is dynamic mode decomposition (DMD) with a constant; degree=2 a quadratic reduced-order
    model. In float64 by NumPy. It has no noise.

    Args:
        modes: how many.
        degree: 1 or 2.
        ridge: times the number of states, added to the diagonal of phi^T phi.

    References: Schmid (2010), Dynamic mode decomposition of numerical and experimental data. Peherstorfer, Willcox
    (2016), Data-driven operator inference.
    """

    def __init__(self, modes: int, degree: int = 2, ridge: float = 0.0):
        self.modes, self.degree = arguments.whole("modes", modes, 1), arguments.choice("degree", degree, (1, 2))
        self.ridge = arguments.number("ridge", ridge, least=0.0)
        self.operator: np.ndarray | None = None

    def fit(self, x) -> "PODRegression":
        """Fit modes and regression to trajectories `[N, T, *event_shape]`, and return itself.

        Raises:
            ValueError: for what are no trajectories of two states and more, and fewer values than modes.
        """
        x = _states("trajectories", x)
        shape = x.shape[2:]
        x = trajectories.checked(x, shape, 2).astype(np.float64)
        flat = x.reshape(-1, x[0, 0].size)
        if self.modes > min(flat.shape):
            raise ValueError(f"modes must be at most {min(flat.shape)} for these states, got {self.modes}.")
        self.event_shape, self.mean = shape, flat.mean(axis=0)
        *_, vectors = np.linalg.svd(flat - self.mean, full_matrices=False)
        a = (flat - self.mean) @ vectors[: self.modes].T
        self.width = np.maximum(a.std(axis=0), 1e-300)
        self.vectors = vectors[: self.modes]
        a = (a / self.width).reshape(*x.shape[:2], self.modes)
        phi, moves = self._features(a[:, :-1].reshape(-1, self.modes)), np.diff(a, axis=1).reshape(-1, self.modes)
        if self.ridge:
            penalty = np.sqrt(self.ridge * len(phi)) * np.eye(phi.shape[1])
            phi, moves = np.concatenate([phi, penalty]), np.concatenate([moves, np.zeros((len(penalty), self.modes))])
        self.operator = np.linalg.lstsq(phi, moves, rcond=None)[0]
        return self

    def coordinates(self, x) -> np.ndarray:
        """Of states `[..., *event_shape]`, in units of their deviations: `[..., modes]`."""
        self._check_fitted()
        x = _states("x", x).astype(np.float64)
        if x.shape[x.ndim - len(self.event_shape) :] != self.event_shape:
            raise ValueError(f"States must have shape [..., *{self.event_shape}], got {x.shape}. Reshape them.")
        flat = x.reshape(*x.shape[: x.ndim - len(self.event_shape)], -1)
        return (flat - self.mean) @ self.vectors.T / self.width

    def reconstruct(self, x) -> np.ndarray:
        """States `[..., *event_shape]`, projected to the modes."""
        return self._states(self.coordinates(x))

    def rollout(self, x0, steps: int) -> np.ndarray:
        """The forecast `[N, steps, *event_shape]` after states x0 `[N, *event_shape]`; it may leave the finite numbers.

        Raises:
            ValueError: before `fit`, and for states of another shape.
        """
        steps, a = arguments.whole("steps", steps, 1), self.coordinates(x0)
        found = np.empty((steps, *a.shape))
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                a = a + self._features(a) @ self.operator
                found[step] = a
            return self._states(np.moveaxis(found, 0, -2))

    def eigenvalues(self) -> np.ndarray:
        """Of one step, complex, the largest first; for degree 1.

        Raises:
            ValueError: for degree 2, and before `fit`.
        """
        operator = self._check_fitted()
        if self.degree != 1:
            raise ValueError("Only a regression of degree 1 has eigenvalues. Fit PODRegression(modes, degree=1).")
        values = np.linalg.eigvals(np.eye(self.modes) + operator[1:].T).astype(complex)
        return values[np.argsort(-np.abs(values), kind="stable")]

    def _check_fitted(self) -> np.ndarray:
        if self.operator is None:
            raise ValueError("This PODRegression is not fitted. Call fit(trajectories) first.")
        return self.operator

    def _features(self, a: np.ndarray) -> np.ndarray:
        """All monomials up to the degree, the constant first."""
        parts = [np.ones((*a.shape[:-1], 1)), a]
        if self.degree == 2:
            rows, columns = np.triu_indices(self.modes)
            parts.append(a[..., rows] * a[..., columns])
        return np.concatenate(parts, axis=-1)

    def _states(self, a: np.ndarray) -> np.ndarray:
        return (a * self.width @ self.vectors + self.mean).reshape(*a.shape[:-1], *self.event_shape)
