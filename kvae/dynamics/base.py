"""What a transition of codes is, and one step of its training."""

import math

import keras
import numpy as np
import tensorflow as tf

from kvae.dynamics import sequences, trajectories, transitions
from kvae.numerics import arguments, noise, replicas
from kvae.numerics.compilation import Programs, identity_of, prefers_xla

_DECAY = 0.99  # of the moving average of the squares, in a step
_FLOOR = 1e-6  # of the transition's scale, in units of the codes' spread


class Transition(keras.Model):
    """Abstract: p(z_t+1 | z_t, ...) = N(z_t + f(z_t, ...), diag s^2) on the codes of a VAE, and steps of its training.

    f(z) = spread * network((z - center) / width): the network works in units of the codes. A condition is
    its second input, in units of its own. s^2 is what maximises the likelihood for given f, the mean square of
    z_t+1 - z_t - f: a moving average in training, as `kvae.likelihoods.Normal(scale="optimal")` has it, and so without
    a gradient.

    Attributes:
        vae, order, horizon, objective, condition, seed: see `kvae.dynamics.Dynamics`.
        transition, network: the name of the transition, "own" for a user's, and its network.
        center, width, spread: `[D]`, mean and standard deviation of the codes, and root mean square of a move.
        condition_center, condition_width: `[condition]`, mean and standard deviation of the conditions, where they are.
        active: `[D]`, 1 for the units that f sees and moves. With objective="codes" it is 0 for a unit that the VAE
            hardly uses: one whose centers have less than 5 % of the variance of z. A draw from q would be far outside
            of what f was trained on there. Such a unit stays where it is, and has no part in the loss. Where all units
            are such, as in a VAE that is not trained, all are active.
        variance: `[leads, D]`, mean squares of the codes' distance from the path of the mean, for one step and for
            each of `horizon` steps ahead; the first is s^2.
    """

    steps_per_execution: int

    def __init__(
        self, vae, transition, order: int, horizon: int, objective: str, condition: int, seed: int, name=None
    ):  # fmt: skip
        super().__init__(name=arguments.label("name", name), dtype=vae.likelihood.compute_dtype)
        self.vae, self.order, self.horizon, self.objective, self.seed = vae, order, horizon, objective, seed
        self.condition = condition
        self.leads, size = horizon if objective == "codes" else 1, vae.latent_dim
        self.copies = order - 1 if transition == "gru" else 0  # of the first code, in front of it
        named = isinstance(transition, str)
        self.transition = transition if named else "own"
        made = transitions.network if named else lambda transition, *_: transition
        self.network = made(transition, order, size, self.compute_dtype, condition)
        self.center = self._constant("center", (size,), "zeros")
        self.width, self.spread = (self._constant(name, (size,), "ones") for name in ("width", "spread"))
        self.variance = self._constant("variance", (self.leads, size), "ones")
        self.active = self._constant("active", (size,), "ones")
        if condition:
            self.condition_center = self._constant("condition_center", (condition,), "zeros")
            self.condition_width = self._constant("condition_width", (condition,), "ones")
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

    def mean(self, codes, condition=None, training=False):
        """The mean of the next code `[B, D]` for the last `order` codes `[B, order, D]`, the oldest first.

        `condition` is `[B, condition]`; it does not count where the model has none.
        """
        inputs = self.active * (codes - self.center) / self.width
        if len(self.network.inputs[0].shape) == 2:
            inputs = inputs[:, 0]
        if self.condition:
            inputs = [inputs, (tf.cast(condition, codes.dtype) - self.condition_center) / self.condition_width]
        return codes[:, -1] + self.active * self.spread * tf.cast(self.network(inputs, training=training), codes.dtype)

    def path(self, codes, condition, steps: int, training=False):
        """The path of the mean, `[B, steps, D]`, after the codes `[B, order, D]`: each step starts at the last one."""
        found = []
        for _ in range(steps):
            found.append(self.mean(codes, condition, training))
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

    def linear_map(self, condition=None) -> tuple[np.ndarray, np.ndarray]:
        """A and b of the mean of a linear transition, A z + b, with z the last `order` codes, the oldest first.

        Where the model has a condition it is for this one, a number or `[condition]`.

        Raises:
            ValueError: for a transition that is not linear, and a missing or superfluous condition.
        """
        if self.transition != "linear":
            raise ValueError(f"A linear transition is needed, and this one is {self.transition!r}.")
        one = None if condition is None else [condition]
        given = trajectories.conditions(one, self.condition, 1)[0].astype(np.float64)
        center, width, spread, active = (
            np.asarray(one, np.float64) for one in (self.center, self.width, self.spread, self.active)
        )
        size, spread = len(center), spread * active
        kernel, bias = (np.asarray(one, np.float64) for one in self.network.layers[-1].weights)
        if self.condition:
            given = (given - np.asarray(self.condition_center)) / np.asarray(self.condition_width)
        kernel, bias = transitions.at_condition(kernel, bias, given, self.order * size)
        kernel = kernel * np.tile(active / width, self.order)[:, None] * spread
        bias = bias * spread - np.tile(center, self.order) @ kernel
        kernel[-size:] += np.eye(size)
        return kernel.T, bias

    def eigenvalues(self, condition=None) -> np.ndarray:
        """Of one step of a linear transition, complex, the largest first: `[order D]`; see `linear_map`.

        exp(rate dt) for each rate of the equation: a modulus below 1 decays, an angle is a turn in a step. A unit that
        is not `active` adds a 1, and zeros where `order` is more.

        Raises:
            ValueError: as for `linear_map`.
        """
        values = np.linalg.eigvals(transitions.companion(self.linear_map(condition)[0].T, self.order)).astype(complex)
        return values[np.argsort(-np.abs(values), kind="stable")]

    # ---- one step ----

    @property
    def metrics(self):
        """The loss in nats for one step of time; with objective="elbo" the terms of the bound, too."""
        return list(self.trackers.values())

    def _trained(self) -> list:
        """The weights that a step moves: those of the transition, with objective="elbo" of the VAE, too."""
        return self.trainable_variables if self.objective == "elbo" else self.network.trainable_variables

    def train_step(self, data):
        """One optimizer step on a batch of windows and their conditions, as Keras calls it."""
        compiled = bool(self.jit_compile) and not tf.executing_eagerly()
        with noise.under_xla(compiled), tf.GradientTape() as tape:
            terms, squares = self._terms(*data, tf.cast(self.optimizer.iterations, tf.int64) + 1, 0, True)
            penalty = tf.add_n([tf.cast(p, squares.dtype) for p in self.losses]) if self.losses else 0.0
            loss = self.optimizer.scale_loss(tf.reduce_mean(terms["loss"]) + penalty)
        replicas.update(self.optimizer, tape.gradient(loss, self._trained()), self._trained())
        self.variance.assign(_DECAY * self.variance + (1.0 - _DECAY) * tf.reduce_mean(squares, axis=0))
        return self._track(terms)

    def test_step(self, data):
        """A batch of windows of an evaluation, as Keras calls it."""
        first = tf.cast(self.trackers["loss"].count, tf.int64)
        return self._track(self._terms(*data, noise.EVALUATION, first, False)[0])

    def _track(self, terms) -> dict:
        for name, tracker in self.trackers.items():
            tracker.update_state(terms[name])
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def _residuals(self, windows, condition, training=False):
        """The codes of windows `[B, order + leads, D]` less the path of the mean: `[B, leads, D]`."""
        return windows[:, self.order :] - self.path(windows[:, : self.order], condition, self.leads, training)

    def _terms(self, windows, condition, stream, first, training):
        """The terms `[B]` by name, and squares `[B, leads, D]`; numbers of windows from `first` on."""
        if self.objective == "elbo":
            return sequences.terms(self, windows, condition, stream, first, training)
        squares = tf.square(self._residuals(windows, condition, training))
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
