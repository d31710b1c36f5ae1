"""What sets a transition's units and variances by trajectories."""

import numpy as np
import tensorflow as tf

from kvae.dynamics import trajectories, transitions
from kvae.dynamics.base import Transition
from kvae.numerics import arguments, noise

_CALIBRATION, _ROUNDS = 4096, 4  # windows of `calibrate`, and how often it corrects s
_ACTIVE = 0.05  # of the variance of z over x and q is that of the centers, in a unit that is active


class Adapting(Transition):
    """Abstract: `codes`, `adapt` and `calibrate` of a transition."""

    def codes(self, x) -> np.ndarray:
        """The codes of trajectories `[N, T, *event_shape]`: the centers of q(z|x), `[N, T, D]`. Deterministic.

        Raises:
            ValueError: for what are no trajectories that the VAE explains.
        """
        return self._codes(trajectories.checked(x, self.vae.event_shape, 1))

    def _codes(self, states):
        return trajectories.in_parts(lambda x, _: self.vae.posterior.center(self.vae.encode(x)).numpy(), states)

    def adapt(self, x, condition=None) -> None:
        """Set the units, and a linear transition by least squares, by trajectories. The first `fit` does it.

        Raises:
            ValueError: as in `fit`.
        """
        x, given = self._checked(x, condition)
        self._adapt(x, given, self._codes(x) if self.objective == "codes" else None)

    def calibrate(self, x, lead: int = 1, condition=None) -> None:
        """Set s, and s_j for each of `horizon` steps, by trajectories that it was not trained on.

        Where training data are few, f fits them better than others, and forecasts have bands that are too narrow.
        Training goes on from there.

        Args:
            x: trajectories `[N, T, *event_shape]`.
            lead: the step at which the spread of an ensemble is to be the error of the path of the mean. Beyond 1, s is
                no longer that of one step: the errors of steps that follow each other have more than it in common.
                `evaluate` and `log_likelihood` use this s, too.
            condition: as in `fit`.

        Raises:
            ValueError: as in `fit`.
        """
        lead = arguments.whole("lead", lead, 1)
        x = trajectories.checked(x, self.vae.event_shape, self.order - self.copies + max(lead, self.horizon))
        given = trajectories.conditions(condition, self.condition, len(x))
        codes = self._codes(x) if self.objective == "codes" else self._draws(x)
        self.variance.assign(self._squares(codes, given))
        if lead > 1:
            windows = self._windows(codes, given, lead)
            chosen = np.random.default_rng(self.seed).choice(len(windows), min(len(windows), _CALIBRATION), False)
            some = tf.constant(windows[chosen]), tf.constant(windows.conditions_of(chosen))
            spread = self.programs.get(("spread", lead), lambda: tf.function(self._spread, autograph=False))
            for number in range(_ROUNDS):
                error, variance = (one.numpy() for one in spread(*some, tf.constant(number, tf.int64)))
                known = np.asarray(self.variance)
                self.variance.assign(np.concatenate([known[:1] * error / np.maximum(variance, 1e-30), known[1:]]))

    def _spread(self, windows, condition, number):
        """Mean squares `[D]` at the last step of windows: of the path of the mean, and of noisy paths around it."""
        codes, lead, size = windows[:, : self.order], windows.shape[1] - self.order, windows.shape[2]
        all_eps = noise.normal(self.seed, noise.ROLLOUT + 1 + number, 0, windows.shape[0], lead * size, windows.dtype)
        noisy, mean = codes, codes
        for eps in tf.unstack(tf.reshape(all_eps, [-1, lead, size]), axis=1):
            steps = [self.mean(noisy, condition) + self.scale * eps, self.mean(mean, condition)]
            noisy, mean = (
                tf.concat([old[:, 1:], new[:, None]], axis=1) for old, new in zip((noisy, mean), steps, strict=True)
            )
        squares = tf.square(windows[:, -1] - mean[:, -1]), tf.square(noisy[:, -1] - mean[:, -1])
        return [tf.reduce_mean(square, axis=0) for square in squares]

    def _checked(self, x, condition) -> tuple[np.ndarray, np.ndarray]:
        x = trajectories.checked(x, self.vae.event_shape, self.order - self.copies + self.horizon)
        return x, trajectories.conditions(condition, self.condition, len(x))

    def _draws(self, states):
        """Draws from q(z|x) of states `[N, T, *event_shape]`: `[N, T, D]`."""
        posterior = self.vae.posterior

        def drawn(x, first):
            eps = noise.normal(self.seed, noise.DRAWS, first, len(x), posterior.noise_size, self.compute_dtype)
            return posterior.draw(self.vae.encode(x), eps[None])[0].numpy()

        return trajectories.in_parts(drawn, states)

    def _adapt(self, x, given: np.ndarray, codes: np.ndarray | None) -> None:
        """Set the units, a linear transition by least squares, and the variances, by codes `[N, T, D]`, or by draws."""
        if codes is None:
            codes = self._draws(x)
        else:
            self.active.assign(self._used(x, codes))
        moves = np.diff(codes, axis=1)
        width, spread = codes.std(axis=(0, 1)), np.sqrt(np.mean(np.square(moves), axis=(0, 1)))
        self.center.assign(codes.mean(axis=(0, 1)))
        self.width.assign(np.where(width > 0, width, 1.0))
        self.spread.assign(np.where(spread > 0, spread, 1.0))
        if self.condition:
            width = given.std(axis=0)
            self.condition_center.assign(given.mean(axis=0))
            self.condition_width.assign(np.where(width > 0, width, 1.0))
        if self.transition == "linear":
            windows = trajectories.Windows(codes[:, :-1], self.order).all()
            center, width, spread, active = (
                np.asarray(one) for one in (self.center, self.width, self.spread, self.active)
            )
            moved = moves[:, self.order - 1 :].reshape(-1, moves.shape[-1]) / spread
            features = (active * (windows - center) / width).reshape(len(windows), -1)
            if self.condition:
                scaled = (given - np.asarray(self.condition_center)) / np.asarray(self.condition_width)
                features = transitions.products(features, np.repeat(scaled, len(windows) // len(given), axis=0))
            self.network.layers[-1].set_weights(transitions.least_squares(features, moved))
        self.variance.assign(self._squares(codes, given))
        self.adapted.assign(1)

    def _used(self, x, codes: np.ndarray) -> np.ndarray:
        """1 for the units that are `active`, and 0 for the others, `[D]`."""
        count = codes.shape[0] * codes.shape[1]
        numbers = np.divmod(np.linspace(0, count - 1, min(count, trajectories.STATES)).astype(int), codes.shape[1])
        centers = codes[numbers]
        draws = self._draws(x[numbers][None])[0] if self.vae.posterior.has_density else centers
        used = centers.var(axis=0) > _ACTIVE * draws.var(axis=0)
        return np.where(used.any(), used, True)

    def _squares(self, codes: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Mean squares of the distance from the path of the mean, `[leads, D]`, over all windows of codes."""
        windows, total = self._windows(codes, given, self.leads), np.zeros((self.leads, codes.shape[-1]))
        function = self.programs.function(self._residuals)
        for batch in windows.in_order(trajectories.STATES):
            total += np.square(function(*batch).numpy().astype(np.float64)).sum(axis=0)
        return total / len(windows)

    def _windows(self, codes: np.ndarray, given: np.ndarray, leads: int) -> trajectories.Windows:
        return trajectories.Windows(trajectories.before(codes, self.copies), self.order + leads, given=given)
