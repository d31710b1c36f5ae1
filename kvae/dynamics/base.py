"""What a transition of codes is, and one step of its training."""

import math

import keras
import numpy as np
import tensorflow as tf

from kvae.dynamics import sequences, trajectories, transitions
from kvae.numerics import arguments, noise
from kvae.numerics.compilation import Programs, identity_of, prefers_xla

_DECAY = 0.99  # of the moving average of the squares, in a step
_CALIBRATION, _ROUNDS = 4096, 4  # windows of `calibrate`, and how often it corrects s
_ACTIVE = 0.05  # of the variance of z over x and q is that of the centers, in a unit that is active
_FLOOR = 1e-6  # of the transition's scale, in units of the codes' spread


class Transition(keras.Model):
    """Abstract: p(z_t+1 | z_t, ...) = N(z_t + f(z_t, ...), diag s^2) on the codes of a VAE, and steps of its training.

    f(z) = spread * network((z - center) / width): the network works in units of the codes. s^2 is what maximises the
    likelihood for given f, the mean square of z_t+1 - z_t - f: a moving average in training, as
    `kvae.likelihoods.Normal(scale="optimal")` has it, and so without a gradient.

    Attributes:
        vae, order, horizon, objective, seed: see `kvae.dynamics.Dynamics`.
        transition, network: the name of the transition, "own" for a user's, and its network.
        center, width, spread: `[D]`, mean and standard deviation of the codes, and root mean square of a move.
        active: `[D]`, 1 for the units that f sees and moves. With objective="codes" it is 0 for a unit that the VAE
            hardly uses: one whose centers have less than 5 % of the variance of z. A draw from q would be far outside
            of what f was trained on there. Such a unit stays where it is, and has no part in the loss. Where all units
            are such, as in a VAE that is not trained, all are active.
        variance: `[leads, D]`, mean squares of the codes' distance from the path of the mean, for one step and for
            each of `horizon` steps ahead; the first is s^2.
    """

    steps_per_execution: int

    def __init__(self, vae, transition, order: int, horizon: int, objective: str, seed: int, name=None):
        super().__init__(name=arguments.label("name", name), dtype=vae.likelihood.compute_dtype)
        self.vae, self.order, self.horizon, self.objective, self.seed = vae, order, horizon, objective, seed
        self.leads, size = horizon if objective == "codes" else 1, vae.latent_dim
        self.copies = order - 1 if transition == "gru" else 0  # of the first code, in front of it
        named = isinstance(transition, str)
        self.transition = transition if named else "own"
        self.network = transitions.network(transition, order, size, self.compute_dtype) if named else transition
        self.center = self._constant("center", (size,), "zeros")
        self.width, self.spread = (self._constant(name, (size,), "ones") for name in ("width", "spread"))
        self.variance = self._constant("variance", (self.leads, size), "ones")
        self.active = self._constant("active", (size,), "ones")
        self.adapted = self.add_weight(name="adapted", shape=(), dtype="int64", initializer="zeros", trainable=False)
        names = ("loss", "elbo", "reconstruction", "kl") if objective == "elbo" else ("loss",)
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.programs = Programs(self._made_of)
        self.built = True

    def _made_of(self) -> tuple:
        """What changes with the parts and their weights: `vae.fit_prior` puts another prior in."""
        return identity_of((*self.vae.parts(), self.network))

    def _constant(self, name: str, shape: tuple, initializer: str):
        return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)

    # ---- the transition ----

    def mean(self, codes, training=False):
        """The mean of the next code `[B, D]` for the last `order` codes `[B, order, D]`, the oldest first."""
        inputs = self.active * (codes - self.center) / self.width
        if len(self.network.inputs[0].shape) == 2:
            inputs = inputs[:, 0]
        return codes[:, -1] + self.active * self.spread * tf.cast(self.network(inputs, training=training), codes.dtype)

    def path(self, codes, steps: int, training=False):
        """The path of the mean, `[B, steps, D]`, after the codes `[B, order, D]`: each step starts at the last one."""
        found = []
        for _ in range(steps):
            found.append(self.mean(codes, training))
            codes = tf.concat([codes[:, 1:], found[-1][:, None]], axis=1)
        return tf.stack(found, axis=1)

    def _floored(self, variance):
        """A variance, which is at least a tiny part of that of the codes."""
        return tf.maximum(variance, tf.square(_FLOOR * self.width))

    @property
    def scale(self) -> tf.Tensor:
        """s, the standard deviations of one step, `[D]`."""
        return tf.sqrt(self._floored(tf.convert_to_tensor(self.variance)[0]))

    @property
    def linear(self) -> bool:
        """Whether the transition is "linear" of order 1."""
        return self.transition == "linear" and self.order == 1

    def linear_map(self) -> tuple[np.ndarray, np.ndarray]:
        """A and b of the mean of a linear transition, A z + b, with z the last `order` codes, the oldest first.

        Raises:
            ValueError: for a transition that is not linear.
        """
        if self.transition != "linear":
            raise ValueError(f"A linear transition is needed, and this one is {self.transition!r}.")
        kernel, bias = (np.asarray(one, np.float64) for one in self.network.layers[-1].weights)
        center, width, spread, active = (
            np.asarray(one, np.float64) for one in (self.center, self.width, self.spread, self.active)
        )
        size, spread = len(center), spread * active
        kernel = kernel * np.tile(active / width, self.order)[:, None] * spread
        bias = bias * spread - np.tile(center, self.order) @ kernel
        kernel[-size:] += np.eye(size)
        return kernel.T, bias

    def eigenvalues(self) -> np.ndarray:
        """Of one step of a linear transition, complex, the largest first: `[order D]`.

        exp(rate dt) for each rate of the equation: a modulus below 1 decays, an angle is a turn in a step. A unit that
        is not `active` adds a 1, and zeros where `order` is more.

        Raises:
            ValueError: for a transition that is not linear.
        """
        values = np.linalg.eigvals(transitions.companion(self.linear_map()[0].T, self.order)).astype(complex)
        return values[np.argsort(-np.abs(values), kind="stable")]

    # ---- before training ----

    def codes(self, x) -> np.ndarray:
        """The codes of trajectories `[N, T, *event_shape]`: the centers of q(z|x), `[N, T, D]`. Deterministic.

        Raises:
            ValueError: for what are no trajectories that the VAE explains.
        """
        return self._codes(trajectories.checked(x, self.vae.event_shape, 1))

    def _codes(self, states):
        return trajectories.in_parts(lambda x, _: self.vae.posterior.center(self.vae.encode(x)).numpy(), states)

    def adapt(self, x) -> None:
        """Set the units, and a linear transition by least squares, by trajectories. The first `fit` does it.

        Raises:
            ValueError: as in `fit`.
        """
        x = self._checked(x)
        self._adapt(x, self._codes(x) if self.objective == "codes" else None)

    def calibrate(self, x, lead: int = 1) -> None:
        """Set s, and s_j for each of `horizon` steps, by trajectories that it was not trained on.

        Where training data are few, f fits them better than others, and forecasts have bands that are too narrow.
        Training goes on from there.

        Args:
            x: trajectories `[N, T, *event_shape]`.
            lead: the step at which the spread of an ensemble is to be the error of the path of the mean. Beyond 1, s is
                no longer that of one step: the errors of steps that follow each other have more than it in common.
                `evaluate` and `log_likelihood` use this s, too.

        Raises:
            ValueError: as in `fit`.
        """
        lead = arguments.whole("lead", lead, 1)
        x = trajectories.checked(x, self.vae.event_shape, self.order - self.copies + max(lead, self.horizon))
        codes = self._codes(x) if self.objective == "codes" else self._draws(x)
        self.variance.assign(self._squares(codes))
        if lead > 1:
            windows = self._windows(codes, lead)
            chosen = np.random.default_rng(self.seed).choice(len(windows), min(len(windows), _CALIBRATION), False)
            some = tf.constant(windows[chosen])
            spread = self.programs.get(("spread", lead), lambda: tf.function(self._spread, autograph=False))
            for number in range(_ROUNDS):
                error, variance = (one.numpy() for one in spread(some, tf.constant(number, tf.int64)))
                known = np.asarray(self.variance)
                self.variance.assign(np.concatenate([known[:1] * error / np.maximum(variance, 1e-30), known[1:]]))

    def _spread(self, windows, number):
        """Mean squares `[D]` at the last step of windows: of the path of the mean, and of noisy paths around it."""
        codes, lead, size = windows[:, : self.order], windows.shape[1] - self.order, windows.shape[2]
        all_eps = noise.normal(self.seed, noise.ROLLOUT + 1 + number, 0, windows.shape[0], lead * size, windows.dtype)
        noisy, mean = codes, codes
        for eps in tf.unstack(tf.reshape(all_eps, [-1, lead, size]), axis=1):
            steps = [self.mean(noisy) + self.scale * eps, self.mean(mean)]
            noisy, mean = (
                tf.concat([old[:, 1:], new[:, None]], axis=1) for old, new in zip((noisy, mean), steps, strict=True)
            )
        squares = tf.square(windows[:, -1] - mean[:, -1]), tf.square(noisy[:, -1] - mean[:, -1])
        return [tf.reduce_mean(square, axis=0) for square in squares]

    def _checked(self, x) -> np.ndarray:
        return trajectories.checked(x, self.vae.event_shape, self.order - self.copies + self.horizon)

    def _draws(self, states):
        """Draws from q(z|x) of states `[N, T, *event_shape]`: `[N, T, D]`."""
        posterior = self.vae.posterior

        def drawn(x, first):
            eps = noise.normal(self.seed, noise.DRAWS, first, len(x), posterior.noise_size, self.compute_dtype)
            return posterior.draw(self.vae.encode(x), eps[None])[0].numpy()

        return trajectories.in_parts(drawn, states)

    def _adapt(self, x, codes: np.ndarray | None) -> None:
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
        if self.transition == "linear":
            windows = trajectories.Windows(codes[:, :-1], self.order).all()
            center, width, spread, active = (
                np.asarray(one) for one in (self.center, self.width, self.spread, self.active)
            )
            moved = moves[:, self.order - 1 :].reshape(-1, moves.shape[-1]) / spread
            self.network.layers[-1].set_weights(transitions.least_squares(active * (windows - center) / width, moved))
        self.variance.assign(self._squares(codes))
        self.adapted.assign(1)

    def _used(self, x, codes: np.ndarray) -> np.ndarray:
        """1 for the units that are `active`, and 0 for the others, `[D]`."""
        count = codes.shape[0] * codes.shape[1]
        numbers = np.divmod(np.linspace(0, count - 1, min(count, trajectories.STATES)).astype(int), codes.shape[1])
        centers = codes[numbers]
        draws = self._draws(x[numbers][None])[0] if self.vae.posterior.has_density else centers
        used = centers.var(axis=0) > _ACTIVE * draws.var(axis=0)
        return np.where(used.any(), used, True)

    def _squares(self, codes: np.ndarray) -> np.ndarray:
        """Mean squares of the distance from the path of the mean, `[leads, D]`, over all windows of codes."""
        windows, total = self._windows(codes, self.leads), np.zeros((self.leads, codes.shape[-1]))
        function = self.programs.function(self._residuals)
        for batch in windows.in_order(trajectories.STATES):
            total += np.square(function(batch).numpy().astype(np.float64)).sum(axis=0)
        return total / len(windows)

    def _windows(self, codes: np.ndarray, leads: int) -> trajectories.Windows:
        return trajectories.Windows(trajectories.before(codes, self.copies), self.order + leads)

    def _residuals(self, windows, training=False):
        """The codes of windows `[B, order + leads, D]` less the path of the mean: `[B, leads, D]`."""
        return windows[:, self.order :] - self.path(windows[:, : self.order], self.leads, training)

    # ---- one step ----

    @property
    def metrics(self):
        """The loss in nats for one step of time; with objective="elbo" the terms of the bound, too."""
        return list(self.trackers.values())

    def _trained(self) -> list:
        """The weights that a step moves: those of the transition, with objective="elbo" of the VAE, too."""
        return self.trainable_variables if self.objective == "elbo" else self.network.trainable_variables

    def train_step(self, data):
        """One optimizer step on a batch of windows, as Keras calls it."""
        compiled = bool(self.jit_compile) and not tf.executing_eagerly()
        with noise.under_xla(compiled), tf.GradientTape() as tape:
            terms, squares = self._terms(data, tf.cast(self.optimizer.iterations, tf.int64) + 1, 0, True)
            penalty = tf.add_n([tf.cast(p, squares.dtype) for p in self.losses]) if self.losses else 0.0
            loss = self.optimizer.scale_loss(tf.reduce_mean(terms["loss"]) + penalty)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, self._trained()), self._trained(), strict=True))
        self.variance.assign(_DECAY * self.variance + (1.0 - _DECAY) * tf.reduce_mean(squares, axis=0))
        return self._track(terms)

    def test_step(self, data):
        """A batch of windows of an evaluation, as Keras calls it."""
        first = tf.cast(self.trackers["loss"].count, tf.int64)
        return self._track(self._terms(data, noise.EVALUATION, first, False)[0])

    def _track(self, terms) -> dict:
        for name, tracker in self.trackers.items():
            tracker.update_state(terms[name])
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def _terms(self, windows, stream, first, training):
        """The terms `[B]` by name, and squares `[B, leads, D]`; numbers of windows from `first` on."""
        if self.objective == "elbo":
            return sequences.terms(self, windows, stream, first, training)
        squares = tf.square(self._residuals(windows, training))
        variance = self._floored(self.variance)
        density = self.active * (squares / variance + tf.math.log(2.0 * math.pi * variance)) / 2.0
        return {"loss": tf.reduce_mean(tf.reduce_sum(density, axis=-1), axis=1)}, squares

    def _networks(self) -> tuple:
        """Those that are trained."""
        return (self.network, self.vae.encoder, self.vae.decoder) if self.objective == "elbo" else (self.network,)

    def _in_float16(self) -> bool:
        layers = (layer for network in self._networks() for layer in network._flatten_layers())
        return any(layer.compute_dtype == "float16" for layer in layers)

    def _xla(self, jit_compile) -> bool:
        """Whether to compile by XLA, for what `compile` was given."""
        return prefers_xla(*self._networks()) if jit_compile == "auto" else jit_compile
