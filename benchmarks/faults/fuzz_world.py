"""The tiny models, data and names in which `fuzz.py` makes its calls."""

import collections
import datetime
import decimal
import fractions
import inspect
import io
import math
import pathlib
from collections.abc import Callable

import fuzz_exports
import fuzz_uses
import keras
import numpy as np
import pandas as pd
import polars as pl
import tensorflow as tf
import xarray as xr
from fuzz_calls import CONDITIONAL, GOOD, Target
from scipy import sparse

import kvae


class Broken:
    """Nothing works."""

    def __getattr__(self, name):
        raise AttributeError(name)

    def __array__(self, *_, **__):
        raise TypeError("broken")

    def __len__(self):
        raise TypeError("broken")

    __bool__ = __float__ = __index__ = __iter__ = __len__


class Sequence(keras.utils.PyDataset):
    """A PyDataset of some batches."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class Sub(np.ndarray):
    """A subclass of NumPy's array."""


def _broken(*_, **__):
    raise ValueError(OWN)


OWN = "a function of the user's fails"  # such an error is right as it is

_OWNERS = ("VAE", "Split", "Table", "Gaussian", "Detector", "Dynamics", "PODRegression")  # of methods
_ALONE = ("evaluate.Gaussian.fit", "anomaly.Detector.load", "data.Table.from_schema", "data.Table.of")


class World:
    """Models, data and the names that hostile values use."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        random = np.random.default_rng(0)
        x = random.normal(size=(24, 4)).astype(np.float32)
        y = np.arange(24) % 3
        self.encoder, self.decoder = kvae.networks.mlp((4,), 2, hidden=(3,))
        self.with_classes = kvae.networks.mlp((4,), 2, hidden=(3,), condition=3)
        self.names = {
            "__name__": "fuzz", "X": x, "T": x.reshape(4, 6, 4), "B": (x > 0).astype(np.float32), "Y": y,
            "Z": random.normal(size=(24, 2)), "np": np, "pd": pd, "pl": pl,
            "F": np.stack([y, np.arange(24) // 12], 1), "tf": tf, "keras": keras, "kvae": kvae, "xr": xr,
            "sparse": sparse,
            "math": math, "io": io, "fractions": fractions, "decimal": decimal, "datetime": datetime,
            "pathlib": pathlib,
            "collections": collections, "Broken": Broken, "Sequence": Sequence, "Sub": Sub, "broken": _broken,
            "Split": kvae.data.Split, "Data": kvae.data.from_arrays(x, validation=0.25), "encoder": self.encoder,
            "decoder": self.decoder, "ds": tf.data.Dataset.from_tensor_slices,
            "estimate": kvae.evaluate.Estimate(-3.0, 0.1, 0.1, 5.0, "nats", "mass"),
            "curve": kvae.evaluate.RateDistortion(
                *(np.array([0.5, 1.0]), *([kvae.evaluate.Estimate(v, 0.1, 0.1, 5.0, "nats") for v in (1.0, 2.0)],) * 2)
            ),
            "signatures": {"encode": {"inputs": {"x": {"dtype": "float32", "shape": [None, 4], "name": "a"}},
                                      "outputs": {"mean": {"dtype": "float32", "shape": [None, 2], "name": "b"}}}},
        }  # fmt: skip
        self.build()

    def build(self) -> None:
        """New models, with the networks of the first ones."""
        one, two = kvae.networks.mlp((4,), 2, hidden=(3,)), kvae.networks.mlp((4,), 2, hidden=(3,), condition=3)
        self.vae, self.bits = kvae.VAE(*one), kvae.VAE(*one, likelihood="bernoulli")
        self.conditional = kvae.VAE(*two, likelihood="bernoulli")
        self.autoencoder = kvae.VAE(*one, posterior="deterministic", objective=kvae.objectives.ELBO(beta=0))
        self.models = (self.vae, self.conditional)
        for model in (*self.models, self.autoencoder):
            self._compile(model)
        self.weights = [model.get_weights() for model in self.models]
        self.names |= {"vae": self.vae, "conditional": self.conditional, "autoencoder": self.autoencoder}
        self.names |= {"bits": self.bits, "coded": kvae.compress.encode(self.bits, self.names["B"])}
        self.terms = self.vae.terms(self.names["X"])
        self.dynamics = kvae.dynamics.Dynamics(self.vae, "linear")
        self.dynamics.adapt(self.names["T"])
        self.dynamics_weights = self.dynamics.get_weights()
        self.regression = kvae.dynamics.PODRegression(2, degree=1).fit(self.names["T"])
        frame = pd.DataFrame({"a": self.names["X"][:, 0], "n": self.names["Y"], "c": list("xyz" * 8)})
        self.table = kvae.data.table(frame.assign(a=frame["a"].where(frame["a"] > -1.0)))
        of_table = kvae.VAE(*kvae.networks.mlp((3,), 2, hidden=(3,)), likelihood=self.table.likelihood())
        self.names |= {"frame": frame, "tabled": self.table, "of_table": of_table}
        self.gaussian = kvae.evaluate.Gaussian(np.zeros(4), np.eye(4))
        self.detector = kvae.anomaly.Detector(self.vae, "reconstruction").calibrate(self.names["X"] + 1.0)

    def _compile(self, model):
        model.compile(optimizer=keras.optimizers.SGD(1e-3), jit_compile=False, steps_per_execution=1)

    def mend(self, target: str) -> None:
        """Put the models back after a call that trains them or compiles them anew."""
        if ".fit_prior" in target:
            self.vae.fit_prior(self.names["X"], "standard_normal", samples=1)
        for model, weights in zip(self.models, self.weights, strict=True):
            model.set_weights(weights)
            model.stop_training = False
        if target.startswith("dynamics."):
            self.dynamics.set_weights(self.dynamics_weights)
            self.dynamics.compile()
            self.regression.fit(self.names["T"])
        if ".compile" in target:
            self._compile(self.vae)

    def files(self, folder: pathlib.Path) -> None:
        """What the hostile paths name."""
        self.vae.save(folder / "m.keras")
        self.detector.save(folder / "detector.keras")
        self.vae.export(folder / "served" / "1", verbose=False)
        for name in ("folder", "photos", "words"):
            (folder / name).mkdir()
        for number in range(4):
            tf.io.write_file(
                str(folder / "photos" / f"{number}.png"), tf.io.encode_png(np.full((4, 4, 1), 60 * number, "u1"))
            )
        for name in ("file", "junk.keras", "junk.npz", "junk.npy", "words/a.txt", "m.h5", "m.txt"):
            (folder / name).write_text("words")
        np.savez(folder / "x.npz", x_train=self.names["X"])
        np.savez(folder / "text.npz", x_train=np.array(["a"] * 24))

    # ---- targets ----

    def targets(self) -> dict[str, Target]:
        """All of them, by name; raises where the exports have one that is not known here, or the other way round."""
        found = {}
        for name, function in fuzz_exports.exports().items():
            target = Target(self._bound(name, function), GOOD.get(name, {}), fuzz_uses.use(self, name))
            needed = {one for one, of in target.arguments.items() if of.default is inspect.Parameter.empty}
            if needed - set(target.good) or (name not in GOOD and not inspect.isclass(function)):
                raise KeyError(f"benchmarks/faults/fuzz_calls.py has no good call for kvae.{name}: add one to GOOD.")
            found[name] = target
        if unknown := sorted(set(GOOD) - set(found)):
            raise KeyError(f"kvae does not export {unknown}: take them out of GOOD.")
        found = {name: target for name, target in found.items() if target.arguments}
        for name, changes in CONDITIONAL.items():
            good = GOOD[f"VAE.{name}"] | changes
            found[f"VAE.{name} with classes"] = Target(getattr(self.conditional, name), good)
        return found

    def _bound(self, name: str, function: Callable) -> Callable:
        *_, owner, last = ("", "", *name.split("."))
        if name in _ALONE or owner not in _OWNERS:
            return function
        if name == "data.Split.replace":
            return _replace
        split = kvae.data.Split(self.names["X"], self.names["Y"])
        on = {"VAE": self.vae, "Split": split, "Gaussian": self.gaussian, "Detector": self.detector,
              "Dynamics": self.dynamics, "PODRegression": self.regression, "Table": self.table}[owner]  # fmt: skip
        return getattr(on, last)


def _replace(array="X", y=None, sample_weight=None, scale=1.0, dynamic=False, batch_size=128, seed=0, mask=None):
    return kvae.data.Split(np.zeros((24, 4))).replace(**dict(locals()))
