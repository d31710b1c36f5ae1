"""The SavedModel as others read it: C, TensorFlow Serving's messages, saved_model_cli, TFLite, OpenVINO."""

import concurrent.futures
import http.server
import importlib.util
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
import threading
import unittest
import warnings
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.export import warmup
from kvae.models.importance import ImportanceSampler
from kvae.numerics import divergences, noise
from tests.conformance import JOINTS, examples, quick

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CLASSES = 3

NETWORKS = {
    "mlp": lambda **o: kvae.networks.mlp((6, 5, 1), 4, hidden=(16,), **o),
    "conv": lambda **o: kvae.networks.conv((6, 5, 1), 4, filters=(4, 5), dense=12, **o),
    "rows": lambda **o: kvae.networks.mlp((6,), 4, hidden=(16,), **o),
}
MODELS = {  # networks, the options of the networks, the model's
    "mlp": ("mlp", {}, {"likelihood": "bernoulli"}),
    "conv": ("conv", {}, {"likelihood": "continuous_bernoulli"}),
    "full_normal": ("mlp", {}, {"posterior": "full_normal"}),
    "conditional": ("mlp", {"condition": CLASSES}, {"likelihood": "bernoulli", "prior": "conditional_normal"}),
    "told": ("conv", {"mask": True, "condition": CLASSES}, {"likelihood": "bernoulli"}),
    "deterministic": ("mlp", {}, {"posterior": "deterministic", "objective": kvae.objectives.ELBO(beta=0)}),
    "monte_carlo": ("mlp", {}, {"objective": kvae.objectives.ELBO(kl="monte_carlo")}),
}
FAMILIES = {  # the same, of the other families; made when they are used
    "flow": lambda: {"posterior": kvae.posteriors.Flow("iaf", hidden=(8,)), "prior": "flow"},
    "low_rank": lambda: {"posterior": kvae.posteriors.LowRankNormal(2), "prior": kvae.priors.VampPrior(3)},
    "top_down": lambda: {"posterior": "top_down", "prior": "hierarchical", "likelihood": "negative_binomial"},
    "ladder": lambda: {"posterior": "ladder", "prior": "hierarchical", "likelihood": "log_normal"},
    "codes": lambda: {"posterior": kvae.posteriors.FiniteScalar((3, 4)), "prior": "codes"},
    "quantized": lambda: {
        "posterior": kvae.posteriors.VectorQuantized(8, dim=2),
        "prior": kvae.priors.Codes("autoregressive", units=8, layers=1, heads=2),
        "likelihood": kvae.likelihoods.DiscretizedLogistic(16, components=2),
    },
    "joint": lambda: {"likelihood": JOINTS["joint"](), "prior": kvae.priors.MixtureOfNormals(3)},
}


def data(vae, n=40, seed=0) -> dict[str, np.ndarray]:
    """Everything that a batch of n rows may hold."""
    random = np.random.default_rng(seed)
    given = {"x": examples(vae.likelihood, vae.event_shape, n=n, seed=seed)}
    given["y"] = random.integers(0, CLASSES, n)
    given["mask"] = random.random(given["x"].shape) < 0.8
    return given


def trained(name: str, optimizer=None, policy="float32") -> kvae.VAE:
    keras.utils.set_random_seed(0)
    network, options, parts = MODELS.get(name) or ("rows", {}, FAMILIES[name]())
    keras.config.set_dtype_policy(policy)
    try:
        vae = kvae.VAE(*NETWORKS[network](**options), **parts)
    finally:
        keras.config.set_dtype_policy("float32")
    vae.compile(optimizer=optimizer or keras.optimizers.Adam(1e-2), jit_compile=False)
    given = data(vae)
    fed = {"x": given["x"], "condition": given["y"]}
    if "mask" in options:
        fed["mask"] = given["mask"]
    vae.fit(fed, epochs=3, verbose=0)
    return vae


def inputs(signature, vae, n=40, seed=0) -> dict[str, np.ndarray]:
    """What a loaded signature takes, n rows."""
    given = data(vae, n, seed)
    every = {
        "x": given["x"],
        "seed": np.arange(n, dtype=np.int32) * 7919 - 5,
        "z": np.random.default_rng(seed).normal(size=(n, vae.latent_dim)).astype(np.float32),
        "condition": np.eye(CLASSES, dtype=np.float32)[given["y"]],
        "mask": given["mask"].astype(np.float32),
    }
    names = signature.structured_input_signature[1]
    return {name: every[name] for name in names}


def asked(signature, fed) -> dict[str, np.ndarray]:
    found = signature(**{name: tf.constant(value) for name, value in fed.items()})
    return {name: value.numpy() for name, value in found.items()}


MADE: dict = {}


def base() -> pathlib.Path:
    """A folder for what all tests share, until the last of them."""
    return pathlib.Path(tf.compat.v1.test.get_temp_dir()) / f"serving-{os.getpid()}"


def tearDownModule():
    MADE.clear()
    shutil.rmtree(base(), ignore_errors=True)


class ServingTest(tf.test.TestCase, parameterized.TestCase):
    """Models are trained and exported once for all tests."""

    def exported(self, name: str):
        """The model, its path, its signatures as Python loads them, and its manifest."""
        if name not in MADE:
            vae, path = trained(name), base() / name / "1"
            vae.export(path, samples=150, verbose=False)
            manifest = json.loads((path / "assets.extra" / "manifest.json").read_text())
            MADE[name] = vae, path, tf.saved_model.load(str(path)), manifest
        vae, path, loaded, manifest = MADE[name]
        return vae, path, loaded.signatures, manifest


@quick("test_numbers_are_the_models", "mlp")
@quick("test_rows_do_not_see_each_other", "mlp")
@quick("test_bad_rows_are_flagged_and_change_no_other", "mlp")
@quick("test_exported_and_live_agree")
class EndpointsTest(ServingTest):
    @parameterized.named_parameters((name, name) for name in MODELS if name != "deterministic")
    def test_numbers_are_the_models(self, name):
        vae, _, served, _ = self.exported(name)
        given, n = data(vae), 40
        condition = given["y"] if vae.condition_shape else None
        mask = given["mask"] if name == "told" else None
        beside = {"condition": condition, "mask": mask}
        q = vae.encode(given["x"], **beside)
        out = {key: asked(signature, inputs(signature, vae)) for key, signature in served.items()}
        self.assertAllClose(out["encode"]["mean"], q.mean(), rtol=1e-5, atol=1e-6)
        self.assertAllClose(out["encode"]["scale"], q.stddev(), rtol=1e-5, atol=1e-6)
        mean = vae.reconstruct(given["x"], **beside).numpy()
        seen = np.ones_like(mean) if mask is None else mask
        error = (seen * np.square(given["x"] - mean)).sum((1, 2, 3)) / seen.sum((1, 2, 3))
        for key in ("serving_default", "reconstruct"):
            self.assertAllClose(out[key]["mean"], mean, rtol=1e-5, atol=1e-6)
            self.assertAllClose(out[key]["error"], error, rtol=1e-4)
        z = inputs(served["decode"], vae)["z"]
        self.assertAllClose(out["decode"]["mean"], vae.decode(z, condition).mean(), rtol=1e-5, atol=1e-6)
        seeds = inputs(served["score"], vae)["seed"]
        eps = np.stack([noise.normal(int(s), noise.DRAWS, 0, 1, 4)[0] for s in seeds])
        drawn = _prior(vae, condition).bijector.forward(eps)
        self.assertAllClose(out["sample"]["z"], drawn, rtol=1e-5, atol=1e-6)
        self.assertEqual(np.allclose(drawn, eps), name != "conditional")  # whose prior is not N(0, I)
        self.assertAllClose(
            vae.decode(out["sample"]["z"], condition).mean(), out["sample"]["mean"], rtol=1e-5, atol=1e-6
        )

        def log_densities(z):  # [K, B, D]
            p = vae.decode(z, condition).distribution.log_prob(given["x"])
            log_px_z = np.where(seen, p, 0.0).sum((2, 3, 4))
            one_hot = None if condition is None else np.eye(CLASSES, dtype=np.float32)[condition]
            return log_px_z, vae.prior.distribution(None, one_hot).log_prob(z).numpy(), q.log_prob(z).numpy()

        score = out["score"]
        log_px_z, log_pz, log_qz = log_densities(vae.posterior.draw(q, eps[None]))
        kl = (log_qz - log_pz)[0] if name == "monte_carlo" else divergences.kl(q, _prior(vae, condition)).numpy()
        self.assertAllClose(score["reconstruction"], log_px_z[0], rtol=1e-4)
        self.assertAllClose(score["kl"], kl, rtol=1e-4, atol=1e-4)
        self.assertAllClose(score["elbo"], log_px_z[0] - kl, rtol=1e-4, atol=1e-4)
        at_mean = log_densities(q.mean()[None])[0][0] - divergences.kl(q, _prior(vae, condition)).numpy()
        self.assertAllClose(score["score"], at_mean, rtol=1e-4, atol=1e-4)
        self.assertAllClose(score["error"], error, rtol=1e-4)
        eps = np.stack([noise.normal(int(s), noise.IMPORTANCE, 0, 150, 4) for s in seeds], axis=1)
        log_px_z, log_pz, log_qz = (t.astype(np.float64) for t in log_densities(vae.posterior.draw(q, eps)))
        log_w = log_px_z + log_pz - log_qz
        expected = np.logaddexp.reduce(log_w, axis=0) - math.log(150)
        self.assertAllClose(out["log_likelihood"]["log_likelihood"], expected, rtol=1e-4, atol=1e-3)
        w = np.exp(log_w - log_w.max(0))
        ess = w.sum(0) ** 2 / np.square(w).sum(0)
        self.assertAllClose(out["log_likelihood"]["effective_sample_size"], ess, rtol=1e-3)
        for values in out.values():
            self.assertAllEqual(values["valid"], [True] * n)
            for value in values.values():
                self.assertLen(value, n)  # the batch in front

    def test_an_autoencoder_has_no_density(self):
        vae, _, served, manifest = self.exported("deterministic")
        self.assertEqual(set(served), {"serving_default", "encode", "decode", "reconstruct", "sample"})
        self.assertEqual(set(served["encode"].structured_outputs), {"mean", "valid"})
        self.assertIsNone(manifest["log_likelihood_samples"])
        x = data(vae)["x"]
        error = np.square(x - vae.reconstruct(x)).mean((1, 2, 3))
        self.assertAllClose(asked(served["reconstruct"], {"x": x})["error"], error, rtol=1e-4)

    @parameterized.named_parameters((name, name) for name in ("mlp", "told", "conv", "full_normal"))
    def test_rows_do_not_see_each_other(self, name):
        """A thousand rows in one call, in random splits and one by one: the same noise, bit for bit."""
        vae, _, served, _ = self.exported(name)
        cuts = np.sort(np.random.default_rng(1).choice(np.arange(1, 1000), 30, replace=False))
        for key, signature in served.items():
            fed = inputs(signature, vae, n=1000)
            whole = asked(signature, fed)
            few = range(1000) if key in ("encode", "sample") else range(0, 1000, 25)
            splits = {"splits": np.split(np.arange(1000), cuts), "rows": [np.array([i]) for i in few]}
            for parts in splits.values():
                found = [asked(signature, {n: value[rows] for n, value in fed.items()}) for rows in parts]
                rows = np.concatenate(parts)
                for output, value in whole.items():
                    apart = np.concatenate([part[output] for part in found])
                    if key == "sample" and output == "z":
                        self.assertAllEqual(apart, value[rows])
                    self.assertAllClose(apart, value[rows], rtol=1e-5, atol=1e-5)

    @parameterized.named_parameters((name, name) for name in ("mlp", "told", "conditional", "full_normal"))
    def test_bad_rows_are_flagged_and_change_no_other(self, name):
        vae, _, served, _ = self.exported(name)
        for key, signature in served.items():
            fed = inputs(signature, vae)
            before = asked(signature, fed)
            bad, at = {n: value.copy() for n, value in fed.items()}, []
            for row, (wrong, value) in enumerate(
                [("x", math.nan), ("x", math.inf), ("z", math.nan), ("condition", math.nan)]
            ):
                if wrong in bad:
                    bad[wrong][row, ..., -1] = value
                    at.append(row)
            if "x" in bad and vae.likelihood.support.high == 1.0:
                bad["x"][5, 0] = 0.5
                at.append(5)
            if "mask" in bad:
                bad["mask"][at] = 1.0
            after = asked(signature, bad)
            self.assertAllEqual(np.flatnonzero(~after["valid"]), at)
            others = np.setdiff1d(np.arange(40), at)
            for output, value in after.items():
                self.assertAllEqual(value[others], before[output][others])
                self.assertTrue(np.isfinite(value.astype(np.float64)).all(), (key, output))

    def test_odd_masks_are_flagged(self):
        vae, _, served, _ = self.exported("told")
        fed = inputs(served["score"], vae)
        fed["mask"][3, 0], fed["mask"][7, 1] = 0.3, math.nan
        out = asked(served["score"], fed)
        self.assertAllEqual(np.flatnonzero(~out["valid"]), [3, 7])

    @pytest.mark.slow
    def test_draws_in_many_parts(self):
        """What fits into memory at once does not change the answer."""
        vae, _, served, _ = self.exported("conv")
        fed = inputs(served["log_likelihood"], vae)
        whole = asked(served["log_likelihood"], fed)
        with mock.patch.object(kvae.models.importance, "FLOATS_AT_A_TIME", 40 * ImportanceSampler.of(vae).widest * 7):
            path = vae.export(f"{self.create_tempdir().full_path}/1", samples=150, verbose=False)
        parts = asked(tf.saved_model.load(path).signatures["log_likelihood"], fed)  # 7 draws at a time, 150 in all
        for output in whole:
            self.assertAllClose(parts[output], whole[output], rtol=1e-4)

    def test_float64_and_no_rows(self):
        keras.config.set_dtype_policy("float64")
        try:
            vae = kvae.VAE(*NETWORKS["mlp"](mask=True), likelihood="continuous_bernoulli")
        finally:
            keras.config.set_dtype_policy("float32")
        served = tf.saved_model.load(vae.export(f"{self.create_tempdir().full_path}/1", verbose=False)).signatures
        x = np.random.default_rng(0).random((5, 6, 5, 1))
        fed = {"x": x, "mask": np.ones(x.shape, np.float32), "seed": np.arange(5, dtype=np.int32)}
        out = asked(served["score"], fed)
        self.assertEqual(out["score"].dtype, np.float64)
        terms = vae.terms(x)
        q = vae.encode(x)
        at_mean = vae.likelihood.log_prob(vae.decode(q.mean()), x) - terms.kl
        self.assertAllClose(out["score"], at_mean, rtol=1e-10)
        for name, signature in served.items():
            every = fed | {"z": np.zeros((5, 4))}
            none = {key: every[key][:0] for key in signature.structured_input_signature[1]}
            for value in asked(signature, none).values():
                self.assertLen(value, 0, name)

    @pytest.mark.slow
    def test_missing_values_are_not_bad(self):
        vae, _, served, _ = self.exported("told")
        fed = inputs(served["score"], vae)
        holes = fed | {"x": np.where(fed["mask"] > 0, fed["x"], np.nan).astype(np.float32)}
        a, b = asked(served["score"], fed), asked(served["score"], holes)
        self.assertAllEqual(b["valid"], [True] * 40)
        for output in a:
            self.assertAllEqual(a[output], b[output])

    @parameterized.named_parameters((kind, kind) for kind in ("use_ema", "mixed_float16", "mixed_bfloat16", "loaded"))
    def test_exported_and_live_agree(self, kind):
        path = self.create_tempdir().full_path
        optimizer = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9) if kind == "use_ema" else None
        vae = trained("conv", optimizer, kind if kind.startswith("mixed") else "float32")
        vae.save(f"{path}/model.keras")
        if kind == "loaded":
            vae = keras.models.load_model(f"{path}/model.keras")
        served = tf.saved_model.load(vae.export(f"{path}/1", verbose=False)).signatures
        again = tf.saved_model.load(
            keras.models.load_model(f"{path}/model.keras").export(f"{path}/2", verbose=False)
        ).signatures
        x = data(vae)["x"]
        tolerance = {"rtol": 1e-5, "atol": 1e-6}
        if kind.startswith("mixed"):  # the order of sums in a batch of another size, in 8 or 11 bits
            tolerance = {"rtol": 2e-2, "atol": 2e-2}
        self.assertAllClose(asked(served["encode"], {"x": x})["mean"], vae.encode(x).mean(), **tolerance)
        self.assertAllClose(asked(served["reconstruct"], {"x": x})["mean"], vae.reconstruct(x), **tolerance)
        seed = np.arange(40, dtype=np.int32)
        for name in served:
            fed = inputs(served[name], vae)
            for output, value in asked(again[name], fed).items():
                self.assertAllClose(value, asked(served[name], fed)[output], rtol=1e-6, atol=1e-6)
        elbo = asked(served["score"], {"x": x, "seed": seed})
        self.assertEqual(elbo["elbo"].dtype, np.float32)


def _prior(vae, condition):
    one_hot = None if condition is None else np.eye(CLASSES, dtype=np.float32)[condition]
    return vae.prior.distribution(None, one_hot)


class FilesTest(ServingTest):
    @parameterized.parameters("mlp", "told")
    def test_manifest(self, name):
        import hashlib

        _, path, served, manifest = self.exported(name)
        self.assertEqual(set(manifest["signatures"]), set(served))
        self.assertEqual(manifest["event_shape"], [6, 5, 1])
        self.assertEqual(manifest["versions"]["tensorflow"], tf.__version__)
        self.assertEqual(manifest["support"], {"name": "{0, 1}", "low": 0.0, "high": 1.0, "integer": True})
        self.assertEqual(
            (manifest["unit"], manifest["measure"], manifest["log_likelihood_samples"]), ("nats", "mass", 150)
        )
        files = {str(f.relative_to(path)) for f in path.rglob("*") if f.is_file() and "manifest" not in f.name}
        self.assertEqual(set(manifest["sha256"]), files)
        for file, digest in manifest["sha256"].items():
            self.assertEqual(hashlib.sha256((path / file).read_bytes()).hexdigest(), digest)
        for operation in manifest["operations"]:  # each is TensorFlow's own
            self.assertIsNotNone(tf.raw_ops.__dict__.get(operation), operation)
        for key, signature in served.items():
            sides = manifest["signatures"][key]
            for side, specs in (
                ("inputs", signature.structured_input_signature[1]),
                ("outputs", signature.structured_outputs),
            ):
                self.assertEqual(set(sides[side]), set(specs))
                for tensor, spec in specs.items():
                    self.assertEqual(sides[side][tensor]["dtype"], spec.dtype.name)
                    self.assertEqual(sides[side][tensor]["shape"], list(spec.shape))

    def test_results_go_into_the_manifest(self):
        vae = self.exported("mlp")[0]
        results = kvae.evaluate.summary(vae, data(vae)["x"], samples=5)
        path = vae.export(f"{self.create_tempdir().full_path}/1", results=results, verbose=False)
        manifest = json.loads(pathlib.Path(path, "assets.extra", "manifest.json").read_text())
        self.assertEqual(manifest["results"]["elbo"], results["elbo"]._asdict())

    def test_the_table_is_printed(self):
        _, _, _, manifest = self.exported("told")
        table = kvae.export.signature_table(manifest["signatures"])
        line = next(line for line in table.splitlines() if line.startswith("decode"))
        expected = (
            r"decode +condition float32\[B, 3\]  z float32\[B, 4\]  ->  mean float32\[B, 6, 5, 1\]  valid bool\[B\]"
        )
        self.assertRegex(line, expected)

    @pytest.mark.slow  # where optional packages are installed
    def test_warm_up_requests_are_valid(self):
        """Each record is a request that the SavedModel answers, for every signature."""
        proto = _serving_api(self).prediction_log_pb2
        for name in ("mlp", "conditional", "told", "deterministic"):
            _, path, served, _ = self.exported(name)
            seen = []
            for record in tf.data.TFRecordDataset(str(path / "assets.extra" / warmup.FILE)):
                log = proto.PredictionLog.FromString(record.numpy())
                request = log.predict_log.request
                self.assertEqual(request.model_spec.name, name)
                fed = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
                found = asked(served[request.model_spec.signature_name], fed)
                self.assertAllEqual(found["valid"], [True])
                seen.append(request.model_spec.signature_name)
                built = proto.PredictionLog()  # by the package's own classes
                built.predict_log.request.model_spec.name = name
                built.predict_log.request.model_spec.signature_name = request.model_spec.signature_name
                for key, value in fed.items():
                    built.predict_log.request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
                self.assertEqual(log, built)
            self.assertCountEqual(seen, served)

    @pytest.mark.slow  # where optional packages are installed
    def test_long_fields(self):
        """Lengths of one, two and three bytes."""
        proto = _serving_api(self).prediction_log_pb2
        for size in (1, 30, 31, 40, 5000, 1 << 16):
            x = np.arange(size, dtype=np.float32)
            log = proto.PredictionLog.FromString(warmup.prediction_log("m", "s", {"x": x}))
            self.assertAllEqual(tf.make_ndarray(log.predict_log.request.inputs["x"]), x)

    @pytest.mark.slow  # where optional packages are installed
    def test_models_config(self):
        _serving_api(self)
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2

        _, path, _, _ = self.exported("mlp")
        text = (path / "assets.extra" / "models.config").read_text()
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        (only,) = config.model_config_list.config
        self.assertEqual((only.name, only.base_path, only.model_platform), ("mlp", "/models/mlp", "tensorflow"))


def _serving_api(test):
    if importlib.util.find_spec("tensorflow_serving") is None:
        test.skipTest("needs tensorflow-serving-api")
    from tensorflow_serving import apis
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc  # noqa: F401

    return apis


@pytest.mark.slow
class ReadersTest(ServingTest):
    @parameterized.parameters("mlp", "conv", "full_normal", "conditional", "told", *FAMILIES)
    def test_c(self, name):
        """TensorFlow's C API: bit for bit on `encode` and on the noise of `sample`."""
        if shutil.which("gcc") is None:
            self.skipTest("needs gcc")
        vae, path, served, manifest = self.exported(name)
        reading, reader = program("examples/serve/reader.py"), base() / "reader"
        if not reader.exists():
            reading.compile_reader(reader)
        whole, given, expected = {"inputs": {}, "outputs": {}}, {}, {}  # of all signatures in one run
        for key in ("encode", "sample", "score", "decode"):
            fed = inputs(served[key], vae)
            given |= {f"{key}.{name}": value for name, value in fed.items()}
            expected |= {(key, output): value for output, value in asked(served[key], fed).items()}
            for side in whole:
                tensors = manifest["signatures"][key][side]
                whole[side] |= {f"{key}.{name}": tensor for name, tensor in tensors.items()}
        work = pathlib.Path(self.create_tempdir().full_path)
        found = reading.run_reader(reader, path, whole, given, work)
        for (key, output), value in expected.items():
            if key == "encode" or output in ("z", "valid"):
                self.assertAllEqual(found[f"{key}.{output}"], value)
            self.assertAllClose(found[f"{key}.{output}"], value, rtol=1e-5, atol=1e-6)

    def test_saved_model_cli(self):
        vae, path, served, _ = self.exported("conv")
        x = data(vae)["x"]
        work = self.create_tempdir().full_path
        np.save(f"{work}/x.npy", x)
        cli = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
        shown = subprocess.run([*cli, "show", "--dir", path, "--tag_set", "serve"], capture_output=True, text=True)
        for name in served:
            self.assertIn(f'SignatureDef key: "{name}"', shown.stdout)
        command = [*cli, "run", "--dir", path, "--tag_set", "serve", "--signature_def", "encode"]
        done = subprocess.run(
            [*command, "--inputs", f"x={work}/x.npy", "--outdir", work], capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        self.assertAllEqual(np.load(f"{work}/mean.npy"), asked(served["encode"], {"x": x})["mean"])

    def test_grpc_client(self):
        """examples/serve/client.py against a server of TensorFlow Serving's PredictionService."""
        apis = _serving_api(self)
        import grpc

        vae, _, served, _ = self.exported("conditional")

        class Service(apis.prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):
                self.asked = request.model_spec.name, request.model_spec.version.value
                answer = apis.predict_pb2.PredictResponse()
                fed = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
                for key, value in asked(served[request.model_spec.signature_name], fed).items():
                    answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
                return answer

        server, service = grpc.server(concurrent.futures.ThreadPoolExecutor(1)), Service()
        apis.prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            for key, signature in served.items():
                fed = inputs(signature, vae)
                found = program("examples/serve/client.py").run(
                    f"127.0.0.1:{port}", "digits", key, fed, use_grpc=True, version=3
                )
                for output, value in asked(signature, fed).items():
                    self.assertAllEqual(found[output], value)
        finally:
            server.stop(None)
        self.assertEqual(service.asked, ("digits", 3))

    def test_rest_client(self):
        """The same by REST: TensorFlow Serving's columnar form."""
        _, _, served, _ = self.exported("mlp")

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                signature = served[body["signature_name"]]
                specs = signature.structured_input_signature[1]
                status, answer = 200, {}
                if set(body["inputs"]) != set(specs) or not self.path.startswith("/v1/models/digits"):
                    status, answer = 400, {"error": f"inputs of {self.path} are {sorted(specs)}"}
                else:
                    fed = {
                        key: np.array(value, specs[key].dtype.as_numpy_dtype) for key, value in body["inputs"].items()
                    }
                    answer = {"outputs": {key: value.tolist() for key, value in asked(signature, fed).items()}}
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        try:
            client = program("examples/serve/client.py")
            found = client.run(address, "digits", "sample", {})
            expected = asked(served["sample"], {"seed": np.arange(4, dtype=np.int32)})
            for output, value in expected.items():
                self.assertAllClose(found[output], value, rtol=1e-6)
            with self.assertRaisesRegex(RuntimeError, r"refused decode.*inputs of .*\['z'\]"):
                client.run(address, "digits", "decode", {"x": [[0.0]]})
        finally:
            server.shutdown()
            server.server_close()

    @parameterized.parameters("mlp", "conv", "full_normal")
    def test_tflite(self, name):
        """`encode` and `decode` on a phone: TFLite's own kernels."""
        vae, path, served, _ = self.exported(name)
        for key in ("encode", "decode"):
            converter = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=[key])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its successor is another package
                runner = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner(key)
            fed = inputs(served[key], vae)
            found = runner(**fed)
            for output, value in asked(served[key], fed).items():
                self.assertAllClose(found[output], value, rtol=1e-4, atol=1e-5)

    def test_openvino(self):
        if importlib.util.find_spec("openvino") is None:
            self.skipTest("needs openvino")
        program = textwrap.dedent("""
            import sys
            import numpy as np, openvino
            model = openvino.convert_model(sys.argv[1])
            model = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            np.savez(sys.argv[3], *model({"x": np.load(sys.argv[2])}).values())
        """)
        for name in ("mlp", "conv"):  # in a process of its own, which TensorFlow's libraries are not loaded in
            vae, path, served, _ = self.exported(name)
            x, work = data(vae)["x"], self.create_tempdir().full_path
            np.save(f"{work}/x.npy", x)
            command = [
                "timeout",
                "-k",
                "5",
                "200",
                sys.executable,
                "-c",
                program,
                path,
                f"{work}/x.npy",
                f"{work}/out.npz",
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr[-2000:])
            shapes = {value.shape: value for value in np.load(f"{work}/out.npz").values()}
            expected = asked(served["serving_default"], {"x": x})
            self.assertAllClose(shapes[expected["mean"].shape], expected["mean"], rtol=1e-4, atol=1e-5)


def program(path: str):
    """A program of the project as a module."""
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class KilledTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_killed_exports_leave_nothing_broken(self):
        """SIGKILL at three random moments: what stands under a version's name is complete."""
        base = pathlib.Path(self.create_tempdir().full_path)
        complete = program("benchmarks/faults/export_kills.py").killed_exports(base, kills=3)
        self.assertGreaterEqual(complete, 1)


if __name__ == "__main__":
    unittest.main()
