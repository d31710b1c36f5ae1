"""`evaluate` and `predict`: Keras' own, with a fast path for arrays and checks before the first step."""

import contextlib

import tensorflow as tf

from kvae.data import checks, inputs
from kvae.data.batch import Batch, unpack
from kvae.data.pipelines import CheckedPipeline
from kvae.data.splits import Split
from kvae.numerics import replicas
from kvae.numerics.arguments import flag
from kvae.training import fit_arguments
from kvae.training.compiling import Compiled
from kvae.training.fit_callbacks import outside_message
from kvae.training.loop import Loop
from kvae.training.trackers import Faults


class Evaluator(Compiled):
    """Abstract: a Keras model whose `step` trains or evaluates on a batch, fed by arrays or pipelines."""

    event_shape: tuple[int, ...]
    condition_shape: tuple[int, ...] | None
    faults: Faults
    test_faults: Faults

    def __init__(self, name: str | None = None):
        super().__init__(name=name)
        self._validation: Loop | None = None

    def step(self, batch: Batch, training=False, checked=True) -> None:
        """One step on a batch; `checked`: what was observed of x is known to be in the support."""
        raise NotImplementedError

    def test_step(self, data):
        """One evaluation step on a batch of a pipeline, as Keras calls it."""
        self.step(unpack(data), training=False, checked=False)
        return self.trackers.logs()

    def evaluate(
        self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, steps=None, callbacks=None,
        return_dict=False, **kwargs,
    ):  # fmt: skip
        """The trackers over x, as `keras.Model.evaluate` returns them; x as in `fit`.

        The noise of example i is a function of (seed, i): evaluating twice gives the same numbers, whatever
        the batch size, and validating does not change training.
        """
        self._assert_compile_called("evaluate")
        numbers = fit_arguments.checked(batch_size=batch_size, steps=steps, verbose=verbose, return_dict=return_dict)
        batch_size, steps, verbose, return_dict = numbers.values()
        if not kwargs:
            callbacks = fit_arguments.listed(callbacks)
        with self._alone("evaluate"):
            arguments = {"verbose": verbose, "callbacks": callbacks, "return_dict": return_dict, **kwargs}
            return self._evaluate(x, y, sample_weight, batch_size, steps, arguments)

    def _evaluate(self, x, y, sample_weight, batch_size, steps, arguments):
        self.seen.reset_state()
        self.test_faults.reset_state()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._without_jit())
            if arguments.get("_use_cached_eval_dataset"):  # the validation of a fit that is under way
                loop = self._validation
                arguments |= {"x": x, "y": y, "batch_size": batch_size, "steps": steps}
            else:
                split = inputs.split_of(x, y, sample_weight, batch_size)
                if split is not None:
                    self._check(split)
                fast = self._fast(split, "test_step")
                loop = None if fast is None else self._test_loop(fast, steps)
                if loop is None:
                    if split is not None:
                        x, y, sample_weight, batch_size = split.dataset(shuffle=False), None, None, None
                    fit_arguments.check_ends(x, steps, "steps")
                    dataset = stack.enter_context(self._checked(x))
                    arguments |= {"x": dataset, "y": y, "sample_weight": sample_weight}
                    arguments |= {"batch_size": batch_size, "steps": steps}
                else:
                    stack.enter_context(self._steps_at_a_time(loop.per_call))
                    arguments |= {
                        "x": loop.ticks,
                        "steps": loop.steps,
                    }
            if loop is not None:
                loop.rewind()
                stack.enter_context(self._instead_of("test_function", loop))
            results = super().evaluate(**arguments)
        if not replicas.value(self.seen.result()):
            raise ValueError("The data are empty: they gave no batch to evaluate. Give at least one.")
        for fault in ("support", "condition"):
            if fault in self.test_faults.found():
                raise ValueError(outside_message("The evaluation data are wrong", self, fault))
        return results

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """`reconstruct` by Keras' own loop, in batches, with callbacks: a NumPy array.

        x as in `fit`. Conditions and masks come with a split, with the `(x, y)` of a dataset, or in a dict.

        Raises:
            ValueError: for data that `fit` refuses.
        """
        batch_size, steps, verbose = fit_arguments.checked(batch_size=batch_size, steps=steps, verbose=verbose).values()
        callbacks = fit_arguments.listed(callbacks)
        split = inputs.split_of(x, batch_size=batch_size)
        if split is not None:
            self._check(split)
            x, batch_size = split.dataset(shuffle=False), None
        fit_arguments.check_ends(x, steps, "steps")
        with self._alone("predict"), self._without_jit(), self._checked(x, every=True) as pipeline:
            return super().predict(pipeline, batch_size, verbose, steps, callbacks)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """The trackers over a batch, as `keras.Model.test_on_batch`; x as in `fit`."""
        return_dict = flag("return_dict", return_dict)
        data, weight = self._one_batch(x, y, sample_weight)
        with self._alone("test_on_batch"), self._without_jit():
            return super().test_on_batch(data, sample_weight=weight, return_dict=return_dict)

    def predict_on_batch(self, x):
        """`reconstruct` of a batch, as `keras.Model.predict_on_batch`; x as in `fit`."""
        data, _ = self._one_batch(x)
        with self._alone("predict_on_batch"), self._without_jit():
            return super().predict_on_batch(data)

    def _one_batch(self, x, y=None, sample_weight=None) -> tuple[dict, object]:
        split = inputs.split_of(x, y, sample_weight)
        if split is None:
            raise ValueError("A batch is an array or a dict of arrays. Give pipelines to fit, evaluate or predict.")
        self._check(split)
        given = {"x": split.x, "mask": split.mask}
        if self.condition_shape is not None:
            given["condition"] = split.y
        return {name: tf.convert_to_tensor(a) for name, a in given.items() if a is not None}, split.sample_weight

    def _check(self, split: Split) -> None:
        checks.check_split(split, self.likelihood, self.condition_shape)

    def _fast(self, split: Split | None, step: str) -> Split | None:
        """The split where the compiled loop can run it: not sparse, and the step is kvae's own."""
        own = getattr(self, step).__module__.startswith("kvae.training.")
        return split if split is not None and own and not split.sparse else None

    def _test_loop(self, split, steps) -> Loop:
        loop = Loop(self, split, None, training=False)
        loop.steps = min(steps or loop.batches, loop.batches)
        if not self.run_eagerly:
            loop.choose_steps_by_time()
        return loop

    @contextlib.contextmanager
    def _checked(self, data, every: bool = False):
        """A pipeline with its batches checked. TensorFlow's wrapper around the check's error is removed."""
        checked = CheckedPipeline(data, self.likelihood, self.condition_shape, every)
        try:
            yield checked.data
        except UnboundLocalError:  # of Keras' predict
            if checked.seen:
                raise
            raise ValueError("The data are empty: they gave no batch to predict. Give at least one.") from None
        except tf.errors.OpError:
            if checked.error is not None:
                raise checked.error from None
            raise

    @contextlib.contextmanager
    def _instead_of(self, function: str, loop: Loop):
        before, standing_in = getattr(self, function), self._stand_ins.get(function)
        setattr(self, function, loop)
        self._stand_ins[function] = loop
        try:
            yield
        finally:
            setattr(self, function, before)
            self._stand_ins[function] = standing_in

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
