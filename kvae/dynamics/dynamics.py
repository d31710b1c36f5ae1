"""The time-evolution operator on codes."""

import keras
import numpy as np
import tensorflow as tf

from kvae._environment import VERSION
from kvae.data.checks import check_values
from kvae.dynamics import filtering, rollouts, serving, trajectories, transitions
from kvae.dynamics.base import Transition
from kvae.models.resolve import check_continuous, check_model
from kvae.numerics import arguments
from kvae.numerics.compilation import count_apart
from kvae.training import fit_arguments
from kvae.training.compiling import optimizer_of

_ROWS = 1024  # windows in a batch of an evaluation
_STEPS_PER_CALL = 32  # at most


@keras.saving.register_keras_serializable("kvae")
class Dynamics(Transition):
    """A reduced-order model: p(z_t+1 | z_t, ...) = N(z_t + f(z_t, ...), diag s^2) on the codes of a VAE.

    Trajectories are arrays `[N, T, *event_shape]` of states at equal steps of time. The VAE gives z for a state and a
    state for z; the transition moves z by one step.

    With objective="codes" the VAE stays as it is. f is fitted to the centers of q(z|x) by maximum likelihood: the
    mean over `horizon` steps of log N(z_t+j; m_j, diag s_j^2), with m_j the path of the mean from z_t on, s_j^2 a mean
    square, and s = s_1. With objective="elbo" VAE and transition are trained together on the sequence ELBO of
    stretches of `horizon` + 1 states,

        sum_t E_q log p(x_t|z_t) - KL(q(z_t|x_t) || p(z_t|z_t-1)), with the VAE's prior for the first z.

    Args:
        vae: a `kvae.VAE` without conditions, whose z are real numbers. For objective="codes" a trained one.
        transition: f: "linear", "residual" (two layers of 256), "gru" (64 units), or a Keras model from codes
            `[B, order, D]` (or `[B, D]` for order 1) to `[B, D]`. It works in units of the codes, which the first
            `fit` sets: its input has mean 0 and deviation 1, its output is in units of a typical move.
        horizon: steps ahead.
        order: how many of the last codes f sees, by default 1, or 8 for "gru". Where there are fewer, copies of the
            first one stand before it. "gru" is trained on such starts, too; others on whole windows, so that
            objective="elbo" takes no other of a higher order.
        objective: "codes" or "elbo".
        seed: of the order of the data and of the noise in training.
        name: the model's name.

    A "linear" transition on codes with horizon 1 is fitted at once, by least squares. Others start there (or, where
    they are not linear, at no move) and are trained by `fit` with Adam, or as `compile` says. It is a Keras model: one
    `.keras` file holds it with its VAE and optimizer. All log-densities are in nats.

    Raises:
        ValueError: for a conditional VAE, one with a codebook, a transition of other shapes, or an order above 1 of
            other transitions than "gru" with objective="elbo".

    References: Solera-Rico et al. (2024), beta-variational autoencoders and transformers for reduced-order modelling of
    fluid flows, Nature Communications 15. Krishnan, Shalit, Sontag (2015), Deep Kalman filters, arXiv 1511.05121.
    """

    def __init__(
        self, vae: keras.Model, transition="residual", horizon: int = 1, order: int | None = None,
        objective: str = "codes", seed: int = 0, name: str | None = None,
    ):  # fmt: skip
        check_model(vae)
        objective = arguments.choice("objective", objective, ("codes", "elbo"))
        if vae.posterior.has_density or objective == "elbo":
            check_continuous(vae, "Dynamics")
        if vae.condition_shape is not None:
            raise ValueError("Dynamics takes a VAE without conditions, and this one has them. Train one without.")
        horizon, seed = arguments.whole("horizon", horizon, 1), arguments.seed(seed)
        default = 8 if isinstance(transition, str) and transition == "gru" else 1
        order = default if order is None else arguments.whole("order", order, 1)
        if objective == "elbo" and order > 1 and transition != "gru":
            raise ValueError(
                f"objective='elbo' takes order=1, or transition='gru', got order={order}: f would be trained on copies "
                "of the first code of each stretch. Use objective='codes', or transition='gru'."
            )
        transition = transitions.checked(transition, order, vae.latent_dim)
        super().__init__(vae, transition, order, horizon, objective, seed, name)
        self.compile()

    def compile(self, optimizer="adam", *, jit_compile="auto", run_eagerly=False, **others):
        """Choose the optimizer, as `keras.Model.compile` does; others than these arguments are refused.

        Raises:
            TypeError: for `loss=`, `metrics=` and the like: what is minimised is minus the log-likelihood.
        """
        if others:
            raise TypeError(
                f"compile() of a Dynamics takes optimizer, jit_compile and run_eagerly, got {sorted(others)}. Its loss "
                "is minus the log-likelihood."
            )
        jit_compile = arguments.choice("jit_compile", jit_compile, (True, False, "auto"))
        run_eagerly = arguments.flag("run_eagerly", run_eagerly)
        self._compile_arguments = {"jit_compile": jit_compile, "run_eagerly": run_eagerly}
        xla = self._xla(jit_compile) and not run_eagerly
        super().compile(optimizer=optimizer_of(optimizer), jit_compile=xla, run_eagerly=run_eagerly)
        self.optimizer.build(self._trained())
        self._known, self._compiled_for = frozenset(map(id, self._trained())), self._made_of()

    def get_compile_config(self):
        """The optimizer and the arguments of `compile`, for the `.keras` file."""
        return self._compile_arguments | {"optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    def compile_from_config(self, config):
        """Compile as the saved model was."""
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
        self.compile(**(config | {"optimizer": optimizer}))

    # ---- training ----

    def fit(
        self, x=None, batch_size: int = 256, epochs: int = 1, verbose="auto", callbacks=None, validation_data=None,
        initial_epoch: int = 0,
    ):  # fmt: skip
        """Train on trajectories, and return Keras' History.

        The order of the windows is a function of (seed, pass over the data). A model that is saved after an epoch and
        loaded goes on as if there had been no stop. Split trajectories for training and validation by trajectory, or
        by time with a gap: windows of one stretch of time overlap.

        Args:
            x: trajectories `[N, T, *event_shape]`, which may be memory-mapped.
            batch_size: windows in a step.
            epochs, verbose, callbacks, initial_epoch: as Keras has them.
            validation_data: other trajectories.

        Raises:
            ValueError: for what are no trajectories, too short ones, and states that the VAE does not explain; with
                objective="elbo" where the VAE has got other weights since `compile`, by `fit_prior` for example.
            FloatingPointError: where the loss stops being finite, after the last epoch.
        """
        numbers = fit_arguments.checked(
            batch_size=batch_size, epochs=epochs, initial_epoch=initial_epoch, verbose=verbose
        )
        batch_size, epochs, initial_epoch, verbose = numbers.values()
        x = self._checked(x)
        self._renew()
        if not self._known.issuperset(map(id, self._trained())):
            raise ValueError(
                "The VAE has other weights than at compile(), after fit_prior for example. Call compile() again."
            )
        codes = self._codes(x) if self.objective == "codes" else None
        if not int(self.adapted) or self.solved_at_once:
            self._adapt(x, codes)
        validation = None if validation_data is None else self._data(self._checked(validation_data))
        if self.solved_at_once:
            return self._solved(codes, validation)
        windows = self._stretches(x if codes is None else codes)
        data, steps = windows.shuffled(batch_size, self.seed, int(self.optimizer.iterations))
        at_once = max(n for n in range(1, _STEPS_PER_CALL + 1) if steps % n == 0)
        if at_once != self.steps_per_execution:
            self.steps_per_execution, self.train_function, self.test_function = at_once, None, None
        history = super().fit(
            data, epochs=epochs, steps_per_epoch=steps, verbose=verbose, callbacks=fit_arguments.listed(callbacks),
            validation_data=validation, initial_epoch=initial_epoch, shuffle=False,
        )  # fmt: skip
        if not np.isfinite(history.history.get("loss", 0.0)).all():
            raise FloatingPointError(
                "The loss is no longer finite. Begin again with a smaller learning rate, or a smaller horizon."
            )
        return history

    def evaluate(
        self, x=None, batch_size: int = _ROWS, verbose="auto", callbacks=None, return_dict: bool = False, **keras_own
    ):  # fmt: skip
        """The loss over all windows of trajectories, in nats for one step of time; see `keras.Model.evaluate`.

        Raises:
            ValueError: as in `fit`.
        """
        if "_use_cached_eval_dataset" in keras_own:  # the validation of a fit that is under way
            return super().evaluate(x, callbacks=callbacks, return_dict=return_dict, **keras_own)
        numbers = fit_arguments.checked(batch_size=batch_size, verbose=verbose, return_dict=return_dict)
        data, verbose = self._data(self._checked(x), numbers["batch_size"] or _ROWS), numbers["verbose"]
        callbacks = fit_arguments.listed(callbacks)
        self._renew()
        return super().evaluate(data, verbose=verbose, callbacks=callbacks, return_dict=return_dict, **keras_own)

    def _renew(self) -> None:
        """Forget Keras' functions where they were made for other weights."""
        now = self._made_of()
        if now != self._compiled_for:
            self.train_function, self.test_function, self._compiled_for = None, None, now

    @property
    def solved_at_once(self) -> bool:
        """Whether `fit` needs no steps: the likelihood has its maximum at the least squares."""
        return self.transition == "linear" and self.objective == "codes" and self.horizon == 1

    def _solved(self, codes, validation):
        history = keras.callbacks.History()
        history.set_model(self)
        logs = super().evaluate(self._stretches(codes).in_order(_ROWS), verbose=0, return_dict=True)
        if validation is not None:
            found = super().evaluate(validation, verbose=0, return_dict=True)
            logs |= {f"val_{name}": value for name, value in found.items()}
        history.on_train_begin()
        history.on_epoch_end(0, logs)
        return history

    def make_train_function(self, force=False):
        """As Keras does."""
        super().make_train_function(force)
        count_apart(self.train_function)

    def make_test_function(self, force=False):
        """As Keras does, without XLA, which would compile for each size of a batch."""
        xla, self.jit_compile = self.jit_compile, False
        super().make_test_function(force)
        self.jit_compile = xla
        count_apart(self.test_function)

    def _data(self, x, batch_size: int = _ROWS) -> tf.data.Dataset:
        return self._stretches(self._codes(x) if self.objective == "codes" else x).in_order(batch_size)

    def _stretches(self, values) -> trajectories.Windows:
        """The windows of a step: of codes, or of states that the VAE explains."""
        if self.objective == "codes":
            return self._windows(values, self.leads)
        for trajectory in values:
            check_values(trajectory, None, self.vae.likelihood)
        return trajectories.Windows(values.astype(self.compute_dtype, copy=False), self.horizon + 1)

    # ---- what it answers ----

    def call(self, codes, training=False):
        """The mean of the next code `[B, D]` for the last `order` codes `[B, order, D]`."""
        return self.mean(codes, training)

    def rollout(self, x0, steps: int, samples: int = 1, seed: int = 0, output: str = "mean") -> np.ndarray:
        """Forecasts after the states x0: an ensemble of draws from q(z|x0) and of the transition's noise.

        Args:
            x0: states `[N, *event_shape]`, or histories `[N, K, *event_shape]`, the oldest first, of which the last
                `order` are used.
            steps: how many.
            samples: paths from each start; 0 for one path of the mean, without noise. The noise of start i is a
                function of (seed, i, samples, step), so a longer forecast begins as a shorter one.
            seed: of the noise.
            output: "mean" for the means of p(x|z), "sample" for draws of x, "codes" for z.

        Returns:
            `[max(samples, 1), N, steps, *event_shape]`, for codes `[..., latent_dim]`.

        Raises:
            ValueError: for states that the VAE does not explain.
            FloatingPointError: where a path leaves the finite numbers.
        """
        steps, samples = arguments.whole("steps", steps, 1), arguments.whole("samples", samples, 0)
        output, seed = arguments.choice("output", output, ("mean", "sample", "codes")), arguments.seed(seed)
        z = rollouts.code_paths(self, self._starts(x0), steps, samples, seed)
        finite = np.isfinite(z).all(axis=(0, 1, 3))
        if not finite.all():
            raise FloatingPointError(
                f"The roll-out leaves the finite numbers at step {int(np.argmin(finite)) + 1}. Take fewer steps, or "
                "train the transition with a larger horizon."
            )
        return z if output == "codes" else rollouts.decoded(self, z, seed, output)

    def _starts(self, x0) -> np.ndarray:
        x0 = trajectories.array(x0, "x0")
        if x0.ndim == len(self.vae.event_shape) + 1:
            x0 = x0[:, None]
        x0 = trajectories.checked(x0, self.vae.event_shape, 1)[:, -self.order :]
        self.vae.encode(x0.reshape(-1, *self.vae.event_shape))  # raises
        return x0.astype(self.compute_dtype)

    def log_likelihood(self, x, samples: int = 100, seed: int = 0) -> np.ndarray:
        """log p(x_1, ..., x_T) of trajectories `[N, T, *event_shape]`, in nats, `[N]`: log of an unbiased estimate.

        It is a particle filter, see `kvae.dynamics.filtering`: too low on average, by less for more `samples`. For a
        linear transition and a q that is the exact posterior it is exact, the Kalman filter's. The noise of trajectory
        i is a function of (seed, i, samples).

        Raises:
            ValueError: for a posterior that is not normal, and as in `fit`.
        """
        check_continuous(self.vae, "log_likelihood")
        samples, seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
        x = trajectories.checked(x, self.vae.event_shape, 1)
        return filtering.log_likelihood(self, x.astype(self.compute_dtype), samples, seed, 0)

    # ---- files ----

    def export(self, path, steps: int = 100) -> str:
        """Write a SavedModel for serving to exactly `path`, which must not exist, and return it.

        Its signatures, with the batch first and seeds int32 `[B]`, one for each row:

        | name | inputs | outputs |
        |---|---|---|
        | serving_default, rollout | x, seed | codes and mean of p(x given z) for `steps` steps; valid |
        | step | z | mean and scale of the next code |

        A row of `rollout` is `rollout(x[None], steps, 1, seed)` here. Where a row is not `valid` its x is not one that
        the likelihood explains. `assets.extra/manifest.json` has shapes and tensor names for other languages.

        Raises:
            FileExistsError: where `path` exists.
            ValueError: for what is no path or number of steps.
            OSError: where nothing can be written there.
        """
        return serving.saved_model(self, path, steps)

    def get_config(self):
        """The constructor's arguments, serialised, and the version of kvae."""
        parts = {"vae": self.vae, "transition": self.network if self.transition == "own" else self.transition}
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        names = ("horizon", "order", "objective", "seed", "name")
        return config | {name: getattr(self, name) for name in names} | {"kvae_version": VERSION}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model that `get_config` described."""
        config = {key: value for key, value in config.items() if key != "kvae_version"}
        for key, value in config.items():
            if isinstance(value, dict):
                config[key] = keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
        return cls(**config)
