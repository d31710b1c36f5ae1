"""How a transition is compiled, fitted and evaluated."""

import keras
import numpy as np
import tensorflow as tf

from kvae.data.checks import check_values
from kvae.dynamics import trajectories
from kvae.dynamics.adapting import Adapting
from kvae.numerics import arguments
from kvae.numerics.compilation import count_apart
from kvae.training import fit_arguments
from kvae.training.compiling import optimizer_of

_ROWS = 1024  # windows in a batch of an evaluation
_STEPS_PER_CALL = 32  # at most


class Fitting(Adapting):
    """Abstract: `compile`, `fit` and `evaluate` of a transition, as Keras calls them."""

    def compile(self, optimizer="adam", *, jit_compile="auto", run_eagerly=False, **others):
        """Choose the optimizer, as `keras.Model.compile` does; others than these arguments are refused.

        Where a network computes in float16 the loss is scaled, by Keras' `LossScaleOptimizer`.

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
        optimizer = optimizer_of(optimizer)
        if self._in_float16() and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        super().compile(optimizer=optimizer, jit_compile=xla, run_eagerly=run_eagerly)
        self.optimizer.build(self._trained())
        self._known, self._compiled_for = frozenset(map(id, self._trained())), self._made_of()

    def get_compile_config(self):
        """The optimizer and the arguments of `compile`, for the `.keras` file."""
        return self._compile_arguments | {"optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    def compile_from_config(self, config):
        """Compile as the saved model was."""
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
        self.compile(**(config | {"optimizer": optimizer}))

    def fit(
        self, x=None, batch_size: int = 256, epochs: int = 1, verbose="auto", callbacks=None, validation_data=None,
        initial_epoch: int = 0, condition=None,
    ):  # fmt: skip
        """Train on trajectories, and return Keras' History.

        The order of the windows is a function of (seed, pass over the data). A model that is saved after an epoch and
        loaded goes on as if there had been no stop. Split trajectories for training and validation by trajectory, or
        by time with a gap: windows of one stretch of time overlap.

        Args:
            x: trajectories `[N, T, *event_shape]`, which may be memory-mapped.
            batch_size: windows in a step.
            epochs, verbose, callbacks, initial_epoch: as Keras has them.
            validation_data: other trajectories; where the model has a condition, a pair of them and theirs.
            condition: of the trajectories, `[N, condition]`, such as their viscosities.

        Raises:
            ValueError: for what are no trajectories, too short ones, and states that the VAE does not explain; with
                objective="elbo" where the VAE has got other weights since `compile`, by `fit_prior` for example.
            FloatingPointError: where the loss stops being finite, after the last epoch.
        """
        numbers = fit_arguments.checked(
            batch_size=batch_size, epochs=epochs, initial_epoch=initial_epoch, verbose=verbose
        )
        batch_size, epochs, initial_epoch, verbose = numbers.values()
        x, given = self._checked(x, condition)
        self._renew()
        if not self._known.issuperset(map(id, self._trained())):
            raise ValueError(
                "The VAE has other weights than at compile(), after fit_prior for example. Call compile() again."
            )
        codes = self._codes(x) if self.objective == "codes" else None
        if not int(self.adapted) or self.solved_at_once:
            self._adapt(x, given, codes)
        validation = None if validation_data is None else self._data(*self._checked(*self._pair(validation_data)))
        if self.solved_at_once:
            return self._solved(self._stretches(codes, given), validation, callbacks, initial_epoch)
        windows = self._stretches(x if codes is None else codes, given)
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
        self, x=None, batch_size: int = _ROWS, verbose="auto", callbacks=None, return_dict: bool = False,
        condition=None, **keras_own,
    ):  # fmt: skip
        """The loss over all windows of trajectories, in nats for one step of time; see `keras.Model.evaluate`.

        It uses the s and s_j that `calibrate` left.

        Raises:
            ValueError: as in `fit`.
        """
        if "_use_cached_eval_dataset" in keras_own:  # the validation of a fit that is under way
            return super().evaluate(x, callbacks=callbacks, return_dict=return_dict, **keras_own)
        numbers = fit_arguments.checked(batch_size=batch_size, verbose=verbose, return_dict=return_dict)
        x, given = self._checked(x, condition)
        data, verbose = self._data(x, given, numbers["batch_size"] or _ROWS), numbers["verbose"]
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

    def _pair(self, validation_data) -> tuple:
        """Trajectories and conditions of a fit's validation."""
        if not self.condition:
            return validation_data, None
        if not isinstance(validation_data, tuple) or len(validation_data) != 2:
            raise ValueError("validation_data of a Dynamics with a condition must be a pair (trajectories, condition).")
        return validation_data

    def _solved(self, windows: trajectories.Windows, validation, callbacks, epoch: int):
        called = keras.callbacks.CallbackList(fit_arguments.listed(callbacks), add_history=True, model=self, epochs=1)
        called.on_train_begin()
        called.on_epoch_begin(epoch)
        logs = super().evaluate(windows.in_order(_ROWS), verbose=0, return_dict=True)
        if validation is not None:
            found = super().evaluate(validation, verbose=0, return_dict=True)
            logs |= {f"val_{name}": value for name, value in found.items()}
        called.on_epoch_end(epoch, logs)
        called.on_train_end(logs)
        return self.history

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

    def _data(self, x, given: np.ndarray, batch_size: int = _ROWS) -> tf.data.Dataset:
        values = self._codes(x) if self.objective == "codes" else x
        return self._stretches(values, given).in_order(batch_size)

    def _stretches(self, values, given: np.ndarray) -> trajectories.Windows:
        """The windows of a step: of codes, or of states that the VAE explains."""
        if self.objective == "codes":
            return self._windows(values, given, self.leads)
        for trajectory in values:
            check_values(trajectory, None, self.vae.likelihood)
        return trajectories.Windows(values, self.horizon + 1, self.compute_dtype, given)
