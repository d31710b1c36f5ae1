"""What `fuzz.py` calls: one good call of each public constructor, method and function of kvae."""

import inspect
from collections.abc import Callable
from typing import NamedTuple


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


# The text is evaluated in the namespace of `fuzz_world.World`.
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
