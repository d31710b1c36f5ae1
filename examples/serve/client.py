"""Ask a model behind TensorFlow Serving: by REST with the standard library, by gRPC with tensorflow-serving-api.

    docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD/saved_models/digits:/models/digits" -e MODEL_NAME=digits \
        tensorflow/serving:2.20.0
    python examples/serve/client.py --model digits --signature score --npz digits.npz
    python examples/serve/client.py --model digits --signature sample --grpc

--npz holds the inputs by name, `x` of shape [B, *event_shape] and what else the signature takes; seeds that are missing
are 0, 1, 2, ... Without it `sample` draws four.
"""

import json
import urllib.error
import urllib.request

import numpy as np
from absl import app, flags

FLAGS = flags.FLAGS


def rest(address: str, model: str, signature: str, inputs: dict, version: int | None = None) -> dict[str, np.ndarray]:
    """Predict by REST, in the columnar form: {"inputs": {name: rows}} to {"outputs": {name: rows}}.

    A signature with one output answers with the rows alone; they come under the name "output".

    Raises:
        RuntimeError: with the server's message where it refuses.
    """
    place = f"/v1/models/{model}" + ("" if version is None else f"/versions/{version}")
    body = {"signature_name": signature, "inputs": {name: np.asarray(value).tolist() for name, value in inputs.items()}}
    request = urllib.request.Request(
        f"http://{address}{place}:predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            outputs = json.load(answer)["outputs"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"The server refused {signature}: {error.read().decode()}") from error
    outputs = outputs if isinstance(outputs, dict) else {"output": outputs}
    return {name: np.asarray(value) for name, value in outputs.items()}


def grpc(address: str, model: str, signature: str, inputs: dict, version: int | None = None) -> dict[str, np.ndarray]:
    """Predict by gRPC: exact numbers, and several times as fast as REST for many of them."""
    import grpc as remote
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    options = [("grpc.max_receive_message_length", 1 << 30), ("grpc.max_send_message_length", 1 << 30)]
    with remote.insecure_channel(address, options) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
    return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}


def run(address, model, signature, inputs, use_grpc=False, version=None) -> dict[str, np.ndarray]:
    """Ask once; prints the names and shapes of what came and returns it."""
    if "seed" not in inputs and signature in ("sample", "score", "log_likelihood"):
        rows = len(next(iter(inputs.values()))) if inputs else 4
        inputs = {**inputs, "seed": np.arange(rows, dtype=np.int32)}
    outputs = (grpc if use_grpc else rest)(address, model, signature, inputs, version)
    for name, value in outputs.items():
        print(f"{name} {value.dtype}{list(value.shape)}: {np.array2string(value.ravel()[:4], precision=4)} ...")
    return outputs


def _define_flags():
    flags.DEFINE_string("address", None, "host:port; by default localhost:8501, and localhost:8500 with --grpc")
    flags.DEFINE_string("model", "digits", "the name of the model on the server")
    flags.DEFINE_integer("version", None, "a version; the server's choice by default")
    flags.DEFINE_string("signature", "sample", "which signature")
    flags.DEFINE_string("npz", None, "a file with the inputs")
    flags.DEFINE_bool("grpc", False, "gRPC instead of REST")


def main(argv):
    """Read the flags and run."""
    if len(argv) > 1:
        raise app.UsageError(f"Not a flag: {argv[1]}")
    inputs = dict(np.load(FLAGS.npz)) if FLAGS.npz else {}
    address = FLAGS.address or ("localhost:8500" if FLAGS.grpc else "localhost:8501")
    run(address, FLAGS.model, FLAGS.signature, inputs, FLAGS.grpc, FLAGS.version)


if __name__ == "__main__":
    _define_flags()
    app.run(main)
