"""`compile`: the optimizer, XLA or not, how many steps a call runs; and the functions that are compiled."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from kvae.likelihoods import Likelihood
from kvae.numerics.arguments import choice, flag, shown, whole
from kvae.numerics.compilation import Programs, count_apart, identity_of, prefers_xla
from kvae.numerics.xla_support import refused_layers
from kvae.objectives import Objective
from kvae.posteriors import Posterior
from kvae.priors import Prior
from kvae.training.distributed import pipeline_function
from kvae.training.trackers import Trackers

_TAKEN = ("jit_compile", "steps_per_execution", "run_eagerly", "auto_scale_loss")
_REFUSED = ("loss", "loss_weights", "metrics", "weighted_metrics")


class Compiled(keras.Model):
    """Abstract: a Keras model of networks and families, with an optimizer and a cache of compiled functions.

    Attributes:
        methods, programs: the caches, of the public methods and of training. Both are made anew where the networks'
            layers or variables are others than before, as after `enable_lora` or `quantize`.
    """

    objective: Objective
    encoder: keras.Model
    decoder: keras.Model
    posterior: Posterior
    likelihood: Likelihood
    prior: Prior
    trackers: Trackers
    steps_per_execution: int

    def __init__(self, name: str | None = None):
        super().__init__(name=name)
        self._thread_lock, self._fitting = threading.RLock(), 0
        self._made_for: dict[str, tuple] = {}
        self._stand_ins: dict[str, object] = {}
        self.methods = self.programs = Programs()

    def parts(self) -> tuple[keras.layers.Layer, ...]:
        """The networks and the families."""
        return self.encoder, self.decoder, self.posterior, self.likelihood, self.prior

    def renew(self) -> None:
        """Forget what was compiled."""
        self.methods, self.programs = (Programs(lambda: identity_of(self.parts())) for _ in range(2))

    def compile(
        self, optimizer="adam", loss=None, *, jit_compile="auto", steps_per_execution="auto", run_eagerly=False,
        auto_scale_loss=True, **refused,
    ):  # fmt: skip
        """Choose the optimizer.

        Args:
            optimizer: a Keras optimizer or its name.
            jit_compile: True or False; "auto" compiles with XLA where it is faster: on a GPU, and on a CPU for
                networks without convolutions. Where XLA cannot compile a layer, "auto" does without and says so once.
            steps_per_execution: how many steps a compiled call runs; "auto" chooses as many as take about a third of a
                second.
                Only the granularity of callbacks depends on it, never the result.
            run_eagerly: True to run step by step in Python, for debugging.
            auto_scale_loss: whether float16 policies get a loss-scaling optimizer.

        Raises:
            ValueError: for `loss=` or `metrics=`: the loss is the model's `objective`. For jit_compile=True with layers
                that XLA cannot compile.
        """
        for name, value in {"loss": loss, **refused}.items():
            if name not in _REFUSED:
                raise TypeError(
                    f"compile() got an unexpected keyword argument {name!r}. It takes optimizer, {', '.join(_TAKEN)}."
                )
            if value is not None:
                raise ValueError(
                    f"compile({name}=...) has no place in a {type(self).__name__}: what is minimised is its "
                    f"objective, {type(self.objective).__name__}. Give it to the constructor: "
                    f"{type(self).__name__}(..., objective=kvae.objectives.ELBO(beta=...)); it reports loss, "
                    "elbo, reconstruction and kl by itself."
                )
        optimizer = optimizer_of(optimizer)
        if self._distribute_strategy is not None and optimizer.gradient_accumulation_steps:
            raise ValueError(
                f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps} does not go with a strategy of "
                "tf.distribute. Give a batch_size that many times as large: its gradient is the same."
            )
        jit_compile = choice("jit_compile", jit_compile, (True, False, "auto"))
        if not isinstance(steps_per_execution, str) or steps_per_execution != "auto":
            steps_per_execution = whole("steps_per_execution", steps_per_execution, 1)
        run_eagerly, auto_scale_loss = flag("run_eagerly", run_eagerly), flag("auto_scale_loss", auto_scale_loss)
        self._compile_arguments = {
            "jit_compile": jit_compile, "steps_per_execution": steps_per_execution,
            "run_eagerly": run_eagerly, "auto_scale_loss": auto_scale_loss,
        }  # fmt: skip
        super().compile(
            optimizer=optimizer,
            jit_compile=self._xla(jit_compile, run_eagerly),
            run_eagerly=run_eagerly,
            auto_scale_loss=auto_scale_loss,
            steps_per_execution=1 if steps_per_execution == "auto" else steps_per_execution,
        )
        self.renew()
        self.optimizer.build(self.trainable_variables)

    def _xla(self, jit_compile, run_eagerly: bool) -> bool:
        """Whether to compile by XLA, for what `compile` was given."""
        if self._distribute_strategy is not None:
            if jit_compile is True:
                raise ValueError(
                    "compile(jit_compile=True): TensorFlow cannot compile steps on several replicas with XLA. Use "
                    "jit_compile='auto' or False under a strategy of tf.distribute."
                )
            return False
        if jit_compile == "auto" and (run_eagerly or not prefers_xla(self.encoder, self.decoder, self.likelihood)):
            return False
        refused = refused_layers((self.encoder, self.decoder)) if jit_compile else []
        if not refused:
            return bool(jit_compile)
        what = f"XLA cannot compile {', '.join(refused)}"
        if jit_compile is True:
            raise ValueError(f"compile(jit_compile=True): {what}. Use jit_compile='auto' or False, or another layer.")
        warnings.warn(f"{what}: the model is trained without XLA.", stacklevel=3)
        return False

    def without_xla(self, error: Exception) -> None:
        """Go on without XLA after an error of its own, where `compile` left the choice to kvae; else raise it again."""
        if self._compile_arguments["jit_compile"] != "auto" or "unsupported operations" not in str(error):
            raise error
        warnings.warn(f"XLA cannot compile this model, which is trained without it: {error!s:.200}", stacklevel=2)
        self.jit_compile = False

    def on_replicas(self, step: Callable, *arguments) -> None:
        """Run a step on each replica of the strategy that the model was made under; here, where there is none."""
        strategy = self._distribute_strategy
        step(*arguments) if strategy is None else strategy.run(step, args=arguments)

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

    def recompile(self, old: list, new: list) -> None:
        """Compile as before where weights `new` stand for `old`. What the optimizer knows of the others stays."""
        self.train_function = self.test_function = self.predict_function = None
        if not self.compiled:
            self.renew()
            return
        before = self.optimizer
        self.compile(type(before).from_config(before.get_config()), **self._compile_arguments)
        for value, variable in zip(_not_of(before, old), _not_of(self.optimizer, new), strict=True):
            variable.assign(value)

    def quantize(self, mode, **kwargs):
        """Quantise the networks as Keras does. The families, whose parameters are float32, stay as they are."""
        for network in (self.encoder, self.decoder):
            network.quantize(mode, **kwargs)
        self.train_function = self.test_function = self.predict_function = None
        self.renew()

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

    def make_train_function(self, force=False):
        """As Keras does; anew where the networks are others."""
        self._make("train_function", super().make_train_function, self.train_step, force)

    def make_test_function(self, force=False):
        """As Keras does; anew where the networks are others."""
        self._make("test_function", super().make_test_function, self.test_step, force)

    def _make(self, function: str, by_keras: Callable, step: Callable, force: bool) -> None:
        """Make the function of a step: as Keras does, or under a strategy by `pipeline_function`."""
        force = self._renewed(function, force)
        if self._distribute_strategy is None:
            by_keras(force)
            count_apart(getattr(self, function))
        elif getattr(self, function) is None or force:
            setattr(self, function, pipeline_function(self, step))

    def make_predict_function(self, force=False):
        """As Keras does; anew where the networks are others."""
        function = super().make_predict_function(self._renewed("predict_function", force))
        count_apart(self.predict_function)
        return function

    def _renewed(self, function: str, force: bool) -> bool:
        """Whether Keras has to make a function anew: never where a loop stands in its place."""
        if getattr(self, function) is not None and getattr(self, function) is self._stand_ins.get(function):
            return force
        before, now = self._made_for.get(function), identity_of(self.parts())
        self._made_for[function] = now
        return force or before != now

    @contextlib.contextmanager
    def _alone(self, method: str) -> Iterator[None]:
        """One thread at a time: training, evaluation and prediction by Keras use state of the model.

        Raises:
            RuntimeError: while another thread is in `fit`, which may take hours.
        """
        fitting = method == "fit"
        if not self._thread_lock.acquire(blocking=False):
            if self._fitting:
                raise RuntimeError(
                    f"{method}() was called while another thread trains this model. Wait for it, or use a copy: "
                    "copy.deepcopy(vae) before the training."
                )
            self._thread_lock.acquire()
        self._fitting += fitting
        try:
            yield
        finally:
            self._fitting -= fitting
            self._thread_lock.release()


def _not_of(optimizer, weights: list) -> list:
    """The optimizer's variables that do not go with these weights, in their order."""
    names = tuple(weight.path.replace("/", "_") + "_" for weight in weights)  # Keras calls them so
    return [variable for variable in optimizer.variables if not variable.name.startswith(names)]


def optimizer_of(optimizer) -> keras.optimizers.Optimizer:
    """A Keras optimizer, given as such or by its name."""
    try:
        found = keras.optimizers.get(optimizer)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, keras.optimizers.Optimizer):
        raise ValueError(f"optimizer must be a Keras optimizer or its name, such as 'adam', got {shown(optimizer)}.")
    return found
