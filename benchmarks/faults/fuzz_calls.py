"""What `fuzz.py` calls: one good call of each public constructor, method and function of kvae, with tiny models."""

import collections
import datetime
import decimal
import fractions
import inspect
import io
import math
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import fuzz_exports
import fuzz_uses
import keras
import numpy as np
import pandas as pd
import polars as pl
import tensorflow as tf
import xarray as xr
from scipy import sparse

import kvae


class Target(NamedTuple):
    """Something to call.

    Attributes:
        function: called with keywords.
        good: its arguments in a good call, as text.
        use: what makes use of the result, so that a fault cannot hide in it.
    """

    function: Callable
    good: dict[str, str]
    use: Callable | None = None

    @property
    def arguments(self) -> dict[str, inspect.Parameter]:
        """The parameters of the function."""
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        function = self.function.__init__ if inspect.isclass(self.function) else self.function
        found = inspect.signature(function).parameters
        return {name: one for name, one in found.items() if one.kind in kinds and name not in ("self", "cls")}


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
MODEL = {"x": "X"}
DRAWS = {"vae": "vae", "data": "X", "samples": "3"}
CODES = {"codes": "X", "factors": "F", "resamples": "2"}
CHAINS = {"steps": "2", "chains": "2", "leapfrog": "1"}
NEW = {"x": "X + 1.0"}  # rows that no call trains on
GOOD = {
    "VAE": {"encoder": "encoder", "decoder": "decoder"},
    "load_model": {"path": "'m.keras'"},
    "VAE.__call__": MODEL, "VAE.encode": MODEL, "VAE.reconstruct": MODEL, "VAE.predict": MODEL | {"verbose": "0"},
    "VAE.predict_on_batch": MODEL, "VAE.train_on_batch": MODEL, "VAE.test_on_batch": MODEL, "VAE.elbo": MODEL,
    "VAE.terms": MODEL, "VAE.impute": MODEL | {"samples": "3"}, "VAE.adapt": {"data": "X"}, "VAE.decode": {"z": "Z"},
    "VAE.fit_prior": {"data": "X", "prior": "kvae.priors.MixtureOfNormals(2)", "steps": "2", "samples": "1"},
    "VAE.sample": {"n": "3"}, "VAE.compile": {"jit_compile": "False"}, "VAE.save": {"filepath": "'new.keras'"},
    "VAE.export": {"filepath": "'new/1'"},
    "VAE.fit": MODEL | {"verbose": "0"}, "VAE.evaluate": MODEL | {"verbose": "0"},
    "likelihoods.Categorical": {"levels": "2"}, "likelihoods.Ordinal": {"levels": "3"},
    "likelihoods.Joint": {"groups": "{'a': (range(4), kvae.likelihoods.Bernoulli())}"},
    "likelihoods.ZeroInflated": {"likelihood": "kvae.likelihoods.Poisson()"},
    "posteriors.FiniteScalar": {"levels": "(3,)"}, "posteriors.VectorQuantized": {"codes": "4", "dim": "1"},
    "networks.FirstGroup": {"size": "1"}, "networks.OneHot": {"classes": "(0, 2, 0)"},
    "networks.mlp": {"event_shape": "(4,)", "latent_dim": "2", "hidden": "(3,)"},
    "networks.conv": {"event_shape": "(4, 4, 1)", "latent_dim": "2", "filters": "(2,)", "dense": "3"},
    "networks.resnet": {"event_shape": "(4, 4, 1)", "latent_dim": "2", "filters": "(2,)", "dense": "3"},
    "data.Split": {"array": "X"}, "data.Split.replace": {"array": "X"}, "data.Split.first": {"n": "3"},
    "data.Split.part": {"rows": "[0, 2]"}, "data.Split.chunks": {}, "data.Split.order": {"seed": "0", "epoch": "1"},
    "data.Split.dataset": {}, "data.folder": {"path": "'photos'"}, "data.from_arrays": {"x_train": "X"},
    "data.load": {"name": "'digits'"}, "data.Split.hide": {},
    "data.write_shards": {"folder": "'new'", "x": "X", "rows_per_file": "9"},
    "data.table": {"frame": "frame"}, "data.Table": {"package": "'pandas'", "columns": "tabled.columns"},
    "data.Table.from_schema": {"schema": "tabled.schema"}, "data.Table.of": {"vae": "of_table"},
    "data.Table.likelihood": {}, "data.Table.encode": {"frame": "frame"}, "data.Table.frame": {"x": "tabled.values"},
    "data.Table.impute": {"vae": "of_table", "frame": "frame", "samples": "3"},
    "data.Table.reconstruct": {"vae": "of_table", "frame": "frame"}, "data.Table.sample": {"vae": "of_table", "n": "3"},
    "callbacks.BestCheckpoint": {"filepath": "'new.keras'", "monitor": "'loss'"},
    "callbacks.Checkpoint": {"filepath": "'new.keras'"}, "callbacks.Diagnose": {"data": "X", "say": "str"},
    "callbacks.Frames": {}, "callbacks.HeldOutCells": {"data": "X", "mask": "X > 0", "every": "1", "samples": "3"},
    "evaluate.Gaussian": {"mean": "np.zeros(4)", "covariance": "np.eye(4)"}, "evaluate.Gaussian.fit": {"data": "X"},
    "evaluate.Gaussian.log_prob": {"data": "X"}, "evaluate.Gaussian.impute": {"x": "X"},
    "evaluate.ais": {"vae": "vae", "data": "X"} | CHAINS, "evaluate.sandwich": {"vae": "vae", "n": "3"} | CHAINS,
    "evaluate.rate_distortion": {"vae": "vae", "data": "X", "betas": "(0.5, 1.0)"} | CHAINS,
    "evaluate.bits_per_dim": {"log_likelihood": "estimate", "elements": "4"}, "evaluate.calibration": DRAWS,
    "evaluate.calibration_by_element": DRAWS, "evaluate.calibration_by_scale": DRAWS | {"groups": "2"},
    "evaluate.collapse": {"vae": "vae", "data": "X"}, "evaluate.collapsed": {"vae": "vae", "data": "X"},
    "evaluate.compare": {"models": "{'a': vae, 'b': vae}", "data": "X", "samples": "3"},
    "evaluate.dci": CODES | {"trees": "2"}, "evaluate.factor_vae_score": CODES | {"groups": "10", "size": "3"},
    "evaluate.mutual_information_gap": CODES | {"bins": "3"}, "evaluate.sap": CODES,
    "evaluate.diagnose": {"vae": "vae", "data": "X", "samples": "2", "probe_steps": "2"},
    "evaluate.gaps": DRAWS | {"steps": "2", "draws": "2"},
    "evaluate.gaussian": {"vae": "vae", "train": "X", "test": "X"},
    "evaluate.imputation": {"vae": "vae", "data": "X", "mask": "X > 0", "samples": "3"},
    "evaluate.independent_pixels": {"vae": "vae", "train": "X", "test": "X"},
    "evaluate.kl_per_dimension": {"vae": "vae", "data": "X"}, "evaluate.log_likelihood": DRAWS,
    "evaluate.log_likelihood_per_example": DRAWS, "evaluate.rate": DRAWS, "evaluate.summary": DRAWS,
    "evaluate.knn_accuracy": {"vae": "vae", "train": "(X, Y)", "test": "(X, Y)", "neighbours": "3"},
    "evaluate.prior_gap": {"vae": "vae", "train": "X", "test": "X"}, "evaluate.score": {"vae": "vae", "data": "X"},
    "plots.animation": {"frames": "X.reshape(2, 3, 4, 4)"}, "plots.curves": {"history": "{'elbo': [2.0, 1.0]}"},
    "plots.grid": {"images": "X"}, "plots.kl_bars": {"per_dimension": "[1.0, 0.5]"},
    "plots.interpolations": {"decode": "vae", "starts": "Z[:2]", "ends": "Z[2:4]", "steps": "3"},
    "plots.forecast_errors": {"errors": "{'a': [0.1, 0.2]}"}, "plots.spectra": {"energies": "{'a': [0.1, 0.2]}"},
    "plots.code_paths": {"paths": "T"}, "plots.code_moves": {"codes": "T", "most": "3"},
    "plots.film": {"truth": "T[0]", "forecast": "T[1]", "codes": "Z[:6]"},
    "plots.latent_plane": {"decode": "vae", "size": "3"}, "plots.posteriors": {"mean": "Z", "labels": "Y"},
    "plots.rate_distortion": {"curve": "curve"}, "plots.reconstructions": {"x": "X", "means": "vae"},
    "plots.traversals": {"decode": "vae", "code": "Z[0]", "dimensions": "(0, 1)", "steps": "3"},
    "plots.worst": {"x": "X", "means": "vae", "scores": "X[:, 0]", "count": "5"},
    "compress.encode": {"vae": "bits", "x": "B"}, "compress.decode": {"vae": "bits", "data": "coded"},
    "export.next_version": {"base": "'folder'"}, "export.signature_table": {"signatures": "signatures"},
    "export.verify": {"path": "'served/1'"},
    "export.saved_model": {"vae": "vae", "path": "'new/1'", "verbose": "False"},
    "anomaly.Detector": {"vae": "vae"}, "anomaly.Detector.calibrate": NEW, "anomaly.Detector.score": NEW,
    "anomaly.Detector.p_value": NEW, "anomaly.Detector.decision_function": NEW, "anomaly.Detector.predict": NEW,
    "anomaly.Detector.select": NEW, "anomaly.Detector.contributions": NEW, "anomaly.Detector.drift": NEW,
    "anomaly.Detector.save": {"path": "'new.keras'"}, "anomaly.Detector.load": {"path": "'detector.keras'"},
    "anomaly.Detector.export": {"path": "'new/1'", "verbose": "False"},
    "dynamics.Dynamics": {"vae": "vae", "transition": "'linear'"}, "dynamics.Dynamics.adapt": {"x": "T"},
    "dynamics.Dynamics.calibrate": {"x": "T"}, "dynamics.Dynamics.codes": {"x": "T"},
    "dynamics.Dynamics.evaluate": {"x": "T", "verbose": "0"},
    "dynamics.Dynamics.fit": {"x": "T", "verbose": "0"}, "dynamics.Dynamics.eigenvalues": {},
    "dynamics.Dynamics.rollout": {"x0": "X", "steps": "2"}, "dynamics.Dynamics.linear_map": {},
    "dynamics.Dynamics.log_likelihood": {"x": "T", "samples": "3"}, "dynamics.Dynamics.export": {"path": "'new/1'"},
    "dynamics.Dynamics.compile": {"jit_compile": "False"},
    "dynamics.Dynamics.save": {"filepath": "'new.keras'"}, "dynamics.PODRegression": {"modes": "2"},
    "dynamics.PODRegression.fit": {"x": "T"}, "dynamics.PODRegression.coordinates": {"x": "X"},
    "dynamics.PODRegression.reconstruct": {"x": "X"}, "dynamics.PODRegression.rollout": {"x0": "X", "steps": "2"},
    "dynamics.PODRegression.eigenvalues": {}, "dynamics.persistence": {"x0": "X", "steps": "2"},
    "dynamics.forecast_error": {"forecast": "T", "truth": "T + 1"}, "dynamics.spectrum": {"trajectories": "T"},
    "dynamics.valid_prediction_time": {"forecast": "T", "truth": "T + 1"},
    "dynamics.coverage": {"ensemble": "np.stack([T - 1, T + 1])", "truth": "T"},
    "dynamics.frequency": {"series": "np.sin(np.arange(40.0))[None]"},
    "dynamics.amplitude": {"series": "np.sin(np.arange(40.0))[None]"},
}  # fmt: skip
CONDITIONAL = {
    "__call__": {"x": "B", "condition": "Y"}, "fit": {"x": "B", "y": "Y"}, "evaluate": {"x": "B", "y": "Y"},
    "encode": {"x": "B", "condition": "Y"}, "reconstruct": {"x": "B", "condition": "Y"}, "predict": {"x": "(B, Y)"},
    "elbo": {"x": "B", "condition": "Y"}, "terms": {"x": "B", "condition": "Y"}, "predict_on_batch": {"x": "(B, Y)"},
    "impute": {"x": "B", "condition": "Y"}, "decode": {"z": "Z", "condition": "Y"}, "sample": {"condition": "Y[:3]"},
    "train_on_batch": {"x": "B", "y": "Y"}, "test_on_batch": {"x": "B", "y": "Y"},
}  # fmt: skip
CHANGING = ("compile", "fit", "fit_prior", "train_on_batch", "adapt")  # the model, which is then put back

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
