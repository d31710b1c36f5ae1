"""The constructors, functions and methods that kvae exports, which `fuzz.py` calls."""

import inspect
import types
from collections.abc import Callable
from typing import Any

import kvae

MODULES = (
    "likelihoods", "posteriors", "priors", "objectives", "schedules", "networks", "data", "callbacks", "evaluate",
    "compress", "plots", "export", "anomaly", "dynamics",
)  # fmt: skip
# What Keras or kvae calls, with values of their own; CONTRIBUTING.md says what each takes.
HOOKS = {
    "call", "step", "train_step", "test_step", "predict_step", "encode_features", "encode_parameters",
    "decode_features", "posterior_distribution", "prepared",
    "marked", "on_replicas", "parts", "random_examples", "renew", "recompile", "without_xla", "make_train_function",
    "make_test_function", "make_predict_function", "get_config", "get_compile_config", "compile_from_config",
    "from_config", "get_metrics_result", "reset_metrics", "quantize", "prior_draws", "prior_distribution", "mean",
    "path",
}  # fmt: skip
METHODS = {  # the other classes' methods are hooks
    "data": {"Split", "Table"}, "evaluate": {"Gaussian"}, "anomaly": {"Detector"},
    "dynamics": {"Dynamics", "PODRegression"},
}  # fmt: skip


def exports() -> dict[str, Callable]:
    """The public constructors, functions and methods, by name. Tuples that hold results are left out."""
    found: dict[str, Any] = {"VAE": kvae.VAE, "load_model": kvae.load_model}
    public = {name: getattr(kvae, name) for name in kvae.__all__ if name != "__version__"}
    if unknown := {name for name, one in public.items() if isinstance(one, types.ModuleType)} ^ set(MODULES):
        raise KeyError(f"The subpackages that kvae exports are others: {sorted(unknown)}.")
    if unknown := {name for name, one in public.items() if not isinstance(one, types.ModuleType)} ^ set(found):
        raise KeyError(f"The names that kvae exports are others: {sorted(unknown)}.")
    found |= {f"VAE.{name}": one for name, one in methods(kvae.VAE).items() if name not in HOOKS}
    found |= {"VAE.__call__": kvae.VAE.__call__, "VAE.predict_on_batch": kvae.VAE.predict_on_batch}
    for module in MODULES:
        of = public[module]
        for name in getattr(of, "__all__", [name for name in vars(of) if not name.startswith("_")]):
            one = getattr(of, name)
            own = getattr(one, "__module__", "").startswith("kvae" if hasattr(of, "__all__") else of.__name__)
            if not (callable(one) and own) or (inspect.isclass(one) and issubclass(one, tuple)):
                continue
            found[f"{module}.{name}"] = one
            if name in METHODS.get(module, ()):
                of_class = {method: function for method, function in methods(one).items() if method not in HOOKS}
                found |= {f"{module}.{name}.{method}": function for method, function in of_class.items()}
    return found


def methods(kind: type) -> dict[str, Callable]:
    """The public methods that kvae defines."""
    names = [name for name in dir(kind) if not name.startswith("_")]
    found = {name: getattr(kind, name) for name in names}
    kinds = (types.FunctionType, types.MethodType)
    return {name: one for name, one in found.items() if isinstance(one, kinds) and one.__module__.startswith("kvae")}
