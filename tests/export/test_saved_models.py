"""The SavedModel in a process that knows nothing of kvae."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from kvae.data.batch import Batch
from kvae.export import saved_models
from kvae.export.endpoints import endpoints
from kvae.numerics import noise
from tests.conformance import JOINTS, LIKELIHOODS, examples, make_vae

READER = """
    import os, sys
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.path[:] = [p for p in sys.path if p not in ("", os.getcwd())]

    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("kvae", "tensorflow_probability", "tf_keras"):
                raise ImportError("blocked: " + name)

    sys.meta_path.insert(0, Block())
    import numpy as np
    import tensorflow as tf

    served = tf.saved_model.load(sys.argv[1]).signatures
    x = np.load(sys.argv[2])
    seed = np.arange(len(x), dtype=np.int32)
    z = served["encode"](x=tf.constant(x))["mean"]
    out = {}
    for name, inputs in (("serving_default", {"x": x}), ("encode", {"x": x}), ("decode", {"z": z}),
                         ("reconstruct", {"x": x}), ("sample", {"seed": seed}), ("score", {"x": x, "seed": seed}),
                         ("log_likelihood", {"x": x, "seed": seed})):
        for key, value in served[name](**{k: tf.constant(v) for k, v in inputs.items()}).items():
            out[name + "/" + key] = value.numpy()
    np.savez(sys.argv[3], **out)
"""


ENDPOINTS = ("serving_default", "encode", "decode", "reconstruct", "sample", "score", "log_likelihood")


class ExportTest(tf.test.TestCase, parameterized.TestCase):
    @pytest.mark.slow
    def test_reader_without_kvae(self):
        path = self.create_tempdir().full_path
        vae = make_vae("conv_odd", posterior=kvae.posteriors.FullNormal, likelihood=kvae.likelihoods.Bernoulli)
        x = examples(vae.likelihood, vae.event_shape)
        vae.fit(x, verbose=0)
        self.assertEqual(vae.export(f"{path}/7"), f"{path}/7")
        np.save(f"{path}/x.npy", x)
        with open(f"{path}/reader.py", "w") as file:
            file.write(textwrap.dedent(READER))
        command = ["timeout", "-k", "5", "120", sys.executable, f"{path}/reader.py", f"{path}/7", f"{path}/x.npy"]
        done = subprocess.run([*command, f"{path}/out.npz"], capture_output=True, text=True, cwd=path)
        self.assertEqual(done.returncode, 0, done.stderr)
        out = np.load(f"{path}/out.npz")
        q = vae.encode(x)
        self.assertAllClose(out["encode/mean"], q.mean(), rtol=1e-5, atol=1e-6)
        self.assertAllClose(out["encode/scale"], q.stddev(), rtol=1e-5, atol=1e-6)
        covariance = out["encode/scale_tril"] @ out["encode/scale_tril"].transpose(0, 2, 1)
        self.assertAllClose(covariance, q.covariance(), rtol=1e-4, atol=1e-5)
        for name in ("serving_default/mean", "reconstruct/mean", "decode/mean"):
            self.assertAllClose(out[name], vae.reconstruct(x), rtol=1e-5, atol=1e-6)
        eps = np.stack([noise.normal(s, noise.DRAWS, 0, 1, 3)[0] for s in range(len(x))])
        self.assertAllClose(out["sample/z"], eps, rtol=0, atol=1e-6)  # the prior is N(0, I)
        terms = vae._terms(Batch(tf.constant(x)), eps[None])
        self.assertAllClose(out["score/reconstruction"], terms.log_px_z[0], rtol=1e-5)
        self.assertAllClose(out["score/kl"], terms.kl, rtol=1e-5)
        for value in out.values():
            self.assertLen(value, len(x))  # every output has the batch in front

    def test_rows_do_not_see_each_other(self):
        path = self.create_tempdir().full_path
        vae = make_vae()
        served = tf.saved_model.load(vae.export(f"{path}/1")).signatures
        x, seed = examples(vae.likelihood, (6,)), tf.range(16, dtype=tf.int32)
        whole = served["score"](x=x, seed=seed)
        for i in (0, 7, 15):
            alone = served["score"](x=x[i : i + 1], seed=seed[i : i + 1])
            self.assertAllClose(alone["elbo"], whole["elbo"][i : i + 1], rtol=1e-5)
        self.assertAllEqual(served["sample"](seed=[5])["z"], served["sample"](seed=[3, 5])["z"][1:])
        self.assertNotAllEqual(served["sample"](seed=[5])["z"], served["sample"](seed=[6])["z"])

    def test_graph(self):
        """No stateful random op, no device, no forced XLA; inputs and outputs with an open batch."""
        from tensorflow.core.protobuf import saved_model_pb2

        path = make_vae().export(f"{self.create_tempdir().full_path}/1")
        proto = saved_model_pb2.SavedModel()
        with open(f"{path}/saved_model.pb", "rb") as file:
            proto.ParseFromString(file.read())
        graph = proto.meta_graphs[0].graph_def
        ours = [f for f in graph.library.function if "_traced_" not in f.signature.name]  # not TensorFlow's saver
        nodes = [node for f in ours for node in f.node_def]
        self.assertFalse({node.op for node in nodes if "Random" in node.op})  # integer arithmetic on the seeds
        self.assertFalse([node.device for node in nodes if node.device])
        self.assertFalse([f for f in graph.library.function if f.attr["_XlaMustCompile"].b])
        signatures = dict(proto.meta_graphs[0].signature_def)
        signatures.pop("__saved_model_init_op")
        self.assertEqual(set(signatures), {*ENDPOINTS})
        for signature in signatures.values():
            for tensor in [*signature.inputs.values(), *signature.outputs.values()]:
                self.assertEqual(tensor.tensor_shape.dim[0].size, -1)

    @parameterized.parameters("bernoulli", "beta", "log_normal", "normal_fixed", "ordinal", "poisson", *JOINTS)
    def test_warm_up_rows_are_valid(self, name):
        """Whatever the likelihood explains: a missing 0 or 1 is 1/2 for the encoder, and yet no row of data."""
        vae = make_vae(likelihood=(LIKELIHOODS | JOINTS)[name])
        function, specs = endpoints(vae, 1)["encode"]
        row = {key: tf.constant(value) for key, value in saved_models._example(vae, specs).items()}
        self.assertAllEqual(function(**row)["valid"], [True])

    def test_versions(self):
        base = self.create_tempdir().full_path
        self.assertEqual(kvae.export.next_version(f"{base}/new"), f"{base}/new/1")
        for name in ("2", "10", "x3"):
            os.mkdir(f"{base}/{name}")
        self.assertEqual(kvae.export.next_version(base), f"{base}/11")

    def test_nothing_is_left_of_a_failed_export(self):
        base = self.create_tempdir().full_path
        vae = make_vae()
        vae.decode_features = lambda *_: tf.constant("x") / 0
        with self.assertRaises(TypeError):
            vae.export(f"{base}/1")
        self.assertEmpty(os.listdir(base))

    def test_other_formats_are_kerases(self):
        with self.assertRaisesRegex(ValueError, "format must be 'tf_saved_model', 'onnx'"):
            make_vae().export(f"{self.create_tempdir().full_path}/1", format="punched cards")
