"""`compile`, `fit` and `evaluate`: Keras' own, with a fast path for arrays and checks before the first step."""

import contextlib
import warnings

import keras
import tensorflow as tf

from kvae.data import checks, inputs
from kvae.data.batch import Batch
from kvae.numerics.compilation import Programs, prefers_xla
from kvae.objectives import Objective
from kvae.training.fit_callbacks import EndPass, StopOnFault, outside_message, wants_every_batch
from kvae.training.loop import Loop, placeholder_dataset
from kvae.training.trackers import Faults, Trackers

_REFUSED = ("loss", "loss_weights", "metrics", "weighted_metrics")


class Trainer(keras.Model):
    """Abstract: a Keras model whose `step` trains or evaluates on a batch, fed by arrays or pipelines."""

    objective: Objective
    encoder: keras.Model
    decoder: keras.Model
    event_shape: tuple[int, ...]
    condition_shape: tuple[int, ...] | None
    trackers: Trackers
    faults: Faults
    test_faults: Faults
    seen: keras.metrics.Metric
    steps_per_execution: int

    def __init__(self, name: str | None = None):
        super().__init__(name=name)
        self.programs = Programs()
        self._validation: Loop | None = None

    def step(self, batch: Batch, training=False, checked=True) -> None:
        """One step on a batch; `checked`: what was observed of x is known to be in the support."""
        raise NotImplementedError

    def compile(
        self, optimizer="adam", loss=None, *, jit_compile="auto", steps_per_execution="auto", run_eagerly=False,
        auto_scale_loss=True, **refused,
    ):  # fmt: skip
        """Choose the optimizer.

        Args:
            optimizer: a Keras optimizer or its name.
            jit_compile: True or False; "auto" compiles with XLA where it is faster: on a GPU, and on a CPU for
                networks without convolutions.
            steps_per_execution: how many steps a compiled call runs; "auto" chooses as many as take about a third of a
                second.
                Only the granularity of callbacks depends on it, never the result.
            run_eagerly: True to run step by step in Python, for debugging.
            auto_scale_loss: whether float16 policies get a loss-scaling optimizer.

        Raises:
            ValueError: for `loss=` or `metrics=`: the loss is the model's `objective`.
        """
        for name, value in {"loss": loss, **refused}.items():
            if name not in _REFUSED:
                raise TypeError(f"compile() got an unexpected keyword argument {name!r}.")
            if value is not None:
                raise ValueError(
                    f"compile({name}=...) has no place in a {type(self).__name__}: what is minimised is its "
                    f"objective, {type(self.objective).__name__}. Give it to the constructor: "
                    f"{type(self).__name__}(..., objective=kvae.objectives.ELBO(beta=...)); it reports loss, "
                    "elbo, reconstruction and kl by itself."
                )
        self._compile_arguments = {
            "jit_compile": jit_compile, "steps_per_execution": steps_per_execution,
            "run_eagerly": run_eagerly, "auto_scale_loss": auto_scale_loss,
        }  # fmt: skip
        if jit_compile == "auto":
            jit_compile = not run_eagerly and prefers_xla(self.encoder, self.decoder, self.likelihood)
        super().compile(
            optimizer=optimizer,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            auto_scale_loss=auto_scale_loss,
            steps_per_execution=1 if steps_per_execution == "auto" else steps_per_execution,
        )
        self.programs = Programs()
        self.optimizer.build(self.trainable_variables)

    def get_metrics_result(self):
        """The trackers' values: one compiled call, where Keras would make dozens of small ones."""
        return self._run_compiled("logs", self.trackers.logs)

    def reset_metrics(self):
        """Set the trackers to zero, in one compiled call."""
        self._run_compiled("reset", lambda: [metric.reset_state() for metric in self.metrics] and None)

    def _run_compiled(self, key, function):
        if self.run_eagerly or not tf.executing_eagerly():
            return function()
        return self.programs.get(key, lambda: tf.function(function, autograph=False).get_concrete_function())()

    def get_compile_config(self):
        """The optimizer and the arguments of `compile`, for the `.keras` file."""
        if not self.compiled:
            return {}
        optimizer = keras.saving.serialize_keras_object(self.optimizer)
        return self._compile_arguments | {"optimizer": optimizer}

    def compile_from_config(self, config):
        """Compile as the saved model was."""
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
        self.compile(**(config | {"optimizer": optimizer}))

    def fit(
        self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
        validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0,
        steps_per_epoch=None, validation_steps=None, validation_batch_size=None, validation_freq=1,
    ):  # fmt: skip
        """Train, as `keras.Model.fit` does, and return its History.

        x is an array `[N, *event_shape]`, a split of `kvae.data`, or a pipeline (`tf.data`, `PyDataset`, a
        generator); `(x,)`, `(x, y)`, `(x, y, sample_weight)` and dicts of `x`, `condition`, `mask` and
        `sample_weight` do as well. y is the condition of a conditional model; other models do not use it. A mask has
        the shape of x. It is 1 where a value was observed and 0 where it is missing; the value there (NaN, too) is
        ignored. Arrays and splits take the fast path: many steps in one compiled call. Their order is a function of
        (seed, pass), so that training continues exactly after a restart.

        The other arguments are Keras'. Sample weights w weigh the loss, sum(w l) / B, with or without a y.

        Raises:
            ValueError: for data of a wrong shape, dtype or range, before the first step.
            FloatingPointError: where a term of the loss stops being finite; it names the term and the step. A
                `TerminateOnNaN` callback stops the training instead.
        """
        self._assert_compile_called("fit")
        if class_weight is not None:
            raise ValueError("class_weight belongs to classifiers; give fit(sample_weight=...) instead.")
        callbacks = _listed(callbacks)
        ends_quietly = any(isinstance(c, keras.callbacks.TerminateOnNaN) for c in callbacks)
        callbacks = [*callbacks, StopOnFault(non_finite=not ends_quietly)]
        split = inputs.split_of(x, y, sample_weight, batch_size)
        if validation_split and validation_data is None:
            if split is None:
                raise ValueError("validation_split divides arrays; give a pipeline's validation_data by itself.")
            split, validation_data = inputs.divide(split, validation_split)
        arguments: dict = {"epochs": epochs, "verbose": verbose, "callbacks": callbacks}
        arguments |= {"initial_epoch": initial_epoch, "validation_freq": validation_freq}
        self.faults.reset_state()
        with contextlib.ExitStack() as stack:
            for callback in callbacks:
                stack.callback(getattr(callback, "on_fit_exit", lambda: None))
            if validation_data is not None:
                size = validation_batch_size or batch_size
                arguments |= self._validation_arguments(stack, validation_data, size, validation_steps)
            if split is None:
                pipeline = stack.enter_context(self._checked(x))
                self._warn_if_short(steps_per_epoch or inputs.length(x), epochs - initial_epoch)
                arguments |= {"x": pipeline, "y": y, "sample_weight": sample_weight, "batch_size": batch_size}
                arguments |= {"steps_per_epoch": steps_per_epoch}
                arguments |= {"shuffle": shuffle and not isinstance(x, tf.data.Dataset)}
            else:
                loop = self._train_loop(split, steps_per_epoch, callbacks, shuffle)
                self._warn_if_short(loop.steps, epochs - initial_epoch)
                end_pass = EndPass(loop, self.steps_per_execution)
                stack.enter_context(self._steps_at_a_time(loop.per_call))
                stack.enter_context(self._instead_of("train_function", loop))
                arguments |= {"x": placeholder_dataset(), "steps_per_epoch": loop.steps, "shuffle": False}
                arguments |= {"callbacks": [end_pass, *callbacks]}
            return super().fit(**arguments)

    def _warn_if_short(self, steps: int, epochs: int) -> None:
        """Warn where a fit of so many steps an epoch (0 where that is not known) ends before beta's schedule does."""
        updates = steps * epochs // (self.optimizer.gradient_accumulation_steps or 1)
        last = int(self.optimizer.iterations) + updates
        if steps and last < self.objective.schedule_end:
            warnings.warn(
                f"This fit ends at optimizer step {last}, before the schedule of beta does at step "
                f"{self.objective.schedule_end}: the model is not trained on the ELBO then. Train for longer, or give "
                "the schedule fewer steps.",
                stacklevel=3,
            )

    def _validation_arguments(self, stack, data, batch_size, steps) -> dict:
        split = inputs.split_of(data, batch_size=batch_size)
        if split is None:
            pipeline = stack.enter_context(self._checked(data))
            return {"validation_data": pipeline, "validation_steps": steps, "validation_batch_size": batch_size}
        self._validation = loop = self._test_loop(split, steps)
        stack.callback(setattr, self, "_validation", None)
        calls = -(-loop.steps // loop.per_call)
        return {"validation_data": placeholder_dataset(), "validation_steps": calls * self.steps_per_execution}

    def evaluate(
        self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, steps=None, callbacks=None,
        return_dict=False, **kwargs,
    ):  # fmt: skip
        """The trackers over x, as `keras.Model.evaluate` returns them; x as in `fit`.

        The noise of example i is a function of (seed, i): evaluating twice gives the same numbers, whatever
        the batch size, and validating does not change training.
        """
        self._assert_compile_called("evaluate")
        arguments = {"verbose": verbose, "callbacks": callbacks, "return_dict": return_dict, **kwargs}
        self.seen.reset_state()
        self.test_faults.reset_state()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._without_jit())
            if kwargs.get("_use_cached_eval_dataset"):  # the validation of a fit that is under way
                loop = self._validation
                arguments |= {"x": x, "y": y, "batch_size": batch_size, "steps": steps}
            else:
                split = inputs.split_of(x, y, sample_weight, batch_size)
                loop = None if split is None else self._test_loop(split, steps)
                if loop is None:
                    dataset = stack.enter_context(self._checked(x))
                    arguments |= {"x": dataset, "y": y, "sample_weight": sample_weight}
                    arguments |= {"batch_size": batch_size, "steps": steps}
                else:
                    stack.enter_context(self._steps_at_a_time(loop.per_call))
                    arguments |= {"x": placeholder_dataset(), "steps": loop.steps}
            if loop is not None:
                loop.rewind()
                stack.enter_context(self._instead_of("test_function", loop))
            results = super().evaluate(**arguments)
        if "support" in self.test_faults.found():
            raise ValueError(outside_message("The evaluation data are wrong", self.likelihood))
        return results

    def _check(self, split):
        if self._distribute_strategy is not None:
            raise ValueError("Under a tf.distribute strategy give a tf.data.Dataset, for example split.dataset().")
        checks.check_split(split, self.likelihood, self.condition_shape)

    def _train_loop(self, split, steps, callbacks, shuffle) -> Loop:
        self._check(split)
        loop = Loop(self, split, steps, training=True, shuffle=shuffle)
        loop.begin()
        loop.per_call = self._compile_arguments["steps_per_execution"]
        if self.run_eagerly or any(wants_every_batch(callback) for callback in callbacks):
            loop.per_call = 1
        elif loop.per_call == "auto":
            loop.choose_steps_by_time()
        return loop

    def _test_loop(self, split, steps) -> Loop:
        self._check(split)
        loop = Loop(self, split, None, training=False)
        loop.steps = min(steps or loop.batches, loop.batches)
        if not self.run_eagerly:
            loop.choose_steps_by_time()
        return loop

    @contextlib.contextmanager
    def _checked(self, data):
        """Pipeline data with its first batches checked. TensorFlow's wrapper around the check's error is removed."""
        if not isinstance(data, tf.data.Dataset):
            yield inputs.as_tuples(data)
            return
        checked = checks.CheckedDataset(data, self.likelihood, self.condition_shape)
        try:
            yield checked.dataset
        except tf.errors.OpError:
            if checked.error is not None:
                raise checked.error from None
            raise

    @contextlib.contextmanager
    def _instead_of(self, function: str, loop: Loop):
        before = getattr(self, function)
        setattr(self, function, loop)
        try:
            yield
        finally:
            setattr(self, function, before)

    @contextlib.contextmanager
    def _steps_at_a_time(self, steps: int):
        before: int = self.steps_per_execution
        self.steps_per_execution = steps
        try:
            yield
        finally:
            self.steps_per_execution = before

    @contextlib.contextmanager
    def _without_jit(self):
        """An evaluation is one pass: compiling every batch shape would cost more than it gains."""
        before, self.jit_compile = self.jit_compile, False
        try:
            yield
        finally:
            self.jit_compile = before


def _listed(callbacks) -> list:
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise ValueError("fit(callbacks=...) takes a list of callbacks.")
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
