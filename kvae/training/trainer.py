"""`fit`: Keras' own, with a fast path for arrays and checks before the first step."""

import contextlib
import warnings
import weakref

import keras
import tensorflow as tf

from kvae.data import advice, inputs
from kvae.data.batch import Batch, unpack
from kvae.data.splits import Split
from kvae.numerics import noise, replicas
from kvae.numerics.arguments import flag
from kvae.training import fit_arguments
from kvae.training.evaluator import Evaluator
from kvae.training.fit_callbacks import EndPass, StopOnFault, stops_quietly, wants_every_batch
from kvae.training.loop import Loop


class Trainer(Evaluator):
    """Abstract: an `Evaluator` that is trained on arrays or pipelines."""

    _fitted_to: tuple[Batch, float] | None = None  # of weak references

    @property
    def fitted_to(self) -> Split | None:
        """The training rows of the last `fit`, with masks and conditions; None where one of the arrays is gone."""
        references, share = self._fitted_to or (Batch(lambda: None), 0.0)
        found = references.map(lambda reference: reference())
        if any(reference is not None and kept is None for reference, kept in zip(references, found, strict=True)):
            return None
        split = inputs.split_of({"x": found.x, "mask": found.mask}, found.condition)
        return inputs.divide(split, share)[0] if split is not None and share else split

    def train_step(self, data):
        """One optimizer step on a batch of a pipeline, as Keras calls it."""
        batch = unpack(data)
        with tf.control_dependencies([batch.x]):  # a pipeline that fails leaves the counter alone
            self.draws.assign_add(1)
        with noise.under_xla(bool(self.jit_compile) and not tf.executing_eagerly()):
            self.step(batch, training=True, checked=False)
        return self.trackers.logs()

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
        numbers = fit_arguments.checked(
            epochs=epochs, initial_epoch=initial_epoch, batch_size=batch_size, steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps, validation_batch_size=validation_batch_size, verbose=verbose,
            shuffle=shuffle, validation_split=validation_split, validation_freq=validation_freq,
        )  # fmt: skip
        if not self.trainable_variables:
            raise ValueError("There is nothing to train: all weights are frozen. Set trainable = True, and compile.")
        callbacks = fit_arguments.listed(callbacks)
        callbacks = [*callbacks, StopOnFault(non_finite=not stops_quietly(callbacks))]
        with self._alone("fit"):
            return self._fit(x, y, sample_weight, callbacks, validation_data, numbers)

    def _fit(self, x, y, sample_weight, callbacks, validation_data, numbers):
        steps, shuffle, epochs = numbers["steps_per_epoch"], numbers["shuffle"], numbers["epochs"]
        split = inputs.split_of(x, y, sample_weight, numbers["batch_size"])
        self._fitted_to = None
        with contextlib.suppress(TypeError):  # a list, which no reference can follow
            divided = numbers["validation_split"] if validation_data is None else 0.0
            given = unpack(x)
            condition = y if given.condition is None else given.condition
            condition = None if self.condition_shape is None else condition
            self._fitted_to = given._replace(condition=condition, weight=None).map(weakref.ref), divided
        if numbers["validation_split"] and validation_data is None:
            if split is None:
                raise ValueError("validation_split divides arrays; give a pipeline's validation_data by itself.")
            split, validation_data = inputs.divide(split, numbers["validation_split"])
        arguments = {name: numbers[name] for name in ("epochs", "verbose", "initial_epoch", "validation_freq")}
        arguments["callbacks"] = callbacks
        self.faults.reset_state()
        with contextlib.ExitStack() as stack:
            for callback in callbacks:
                stack.callback(getattr(callback, "on_fit_exit", lambda: None))
            if validation_data is not None:
                size = numbers["validation_batch_size"] or numbers["batch_size"]
                arguments |= self._validation_arguments(stack, validation_data, size, numbers["validation_steps"])
            if split is not None:
                self._check(split)
                advice.advise(split, self.likelihood, wide=_wide(x))
                self.likelihood.columns = self.likelihood.columns or split.columns
            fast = self._fast(split, "train_step")
            if fast is None:
                if split is not None:
                    x, y, sample_weight, numbers["batch_size"] = split.dataset(shuffle=shuffle), None, None, None
                fit_arguments.check_ends(x, steps, "steps_per_epoch")
                pipeline = stack.enter_context(self._checked(x))
                self._warn_if_short(steps or inputs.length(x), epochs - numbers["initial_epoch"])
                arguments |= {"x": pipeline, "y": y, "sample_weight": sample_weight, "steps_per_epoch": steps}
                arguments |= {"batch_size": numbers["batch_size"]}
                finite = isinstance(x, keras.utils.PyDataset) and x.num_batches is not None
                arguments |= {"shuffle": shuffle and finite}  # Keras warns where it cannot
            else:
                loop = self._train_loop(fast, steps, callbacks, shuffle)
                self._warn_if_short(loop.steps, epochs - numbers["initial_epoch"])
                end_pass = EndPass(loop, self.steps_per_execution)
                stack.enter_context(self._steps_at_a_time(loop.per_call))
                stack.enter_context(self._instead_of("train_function", loop))
                arguments |= {
                    "x": loop.ticks,
                    "steps_per_epoch": loop.steps,
                    "shuffle": False,
                }
                arguments |= {"callbacks": [end_pass, *callbacks]}
            return super().fit(**arguments)

    def _warn_if_short(self, steps: int, epochs: int) -> None:
        """Warn where a fit of so many steps an epoch (0 where that is not known) ends before a schedule does."""
        updates = steps * epochs // (self.optimizer.gradient_accumulation_steps or 1)
        last = replicas.value(self.optimizer.iterations) + updates
        if steps and last < self.objective.schedule_end:
            scheduled = " and ".join(name for name, weight in self.objective.weights.items() if weight.moves)
            warnings.warn(
                f"This fit ends at optimizer step {last}, before the schedule of {scheduled} does "
                f"at step {self.objective.schedule_end}: the model is not trained at its last value. Train for longer, "
                "or give the schedule fewer steps.",
                stacklevel=4,
            )

    def _validation_arguments(self, stack, data, batch_size, steps) -> dict:
        split = inputs.split_of(data, batch_size=batch_size)
        if split is not None:
            self._check(split)
        fast = self._fast(split, "test_step")
        if fast is None:
            data, batch_size = (data, batch_size) if split is None else (split.dataset(shuffle=False), None)
            fit_arguments.check_ends(data, steps, "validation_steps")
            pipeline = stack.enter_context(self._checked(data))
            return {"validation_data": pipeline, "validation_steps": steps, "validation_batch_size": batch_size}
        self._validation = loop = self._test_loop(fast, steps)
        stack.callback(setattr, self, "_validation", None)
        calls = -(-loop.steps // loop.per_call)
        return {
            "validation_data": loop.ticks,
            "validation_steps": calls * self.steps_per_execution,
        }

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """One optimizer step on a batch, as `keras.Model.train_on_batch`; x as in `fit`."""
        if class_weight is not None:
            raise ValueError("class_weight belongs to classifiers; give sample_weight instead.")
        return_dict = flag("return_dict", return_dict)
        data, weight = self._one_batch(x, y, sample_weight)
        with self._alone("train_on_batch"):
            return super().train_on_batch(data, sample_weight=weight, return_dict=return_dict)

    def _train_loop(self, split, steps, callbacks, shuffle) -> Loop:
        loop = Loop(self, split, steps, training=True, shuffle=shuffle)
        loop.begin()
        loop.per_call = self._compile_arguments["steps_per_execution"]
        if self.run_eagerly or any(wants_every_batch(callback) for callback in callbacks):
            loop.per_call = 1
        elif loop.per_call == "auto":
            loop.choose_steps_by_time()
        return loop


def _wide(x):
    """The array as it came, where float32 does not hold all of its digits."""
    x = x[0] if isinstance(x, tuple) and x else x.get("x") if isinstance(x, dict) else x
    return x if getattr(getattr(x, "dtype", None), "name", "") in ("float64", "int64", "int32", "uint32") else None
