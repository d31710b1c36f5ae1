"""Requests that TensorFlow Serving runs when it loads a version, so that the first user does not wait.

The file holds `tensorflow.serving.PredictionLog` messages. Only four small messages of tensorflow-serving-api are
needed; they are written here field by field, which a test compares with the package's own.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

FILE = "tf_serving_warmup_requests"  # in assets.extra of a SavedModel; the name is TensorFlow Serving's


def write(path: str, model: str, requests: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write a record for each signature: its name to its inputs."""
    with tf.io.TFRecordWriter(path) as writer:
        for signature, inputs in requests.items():
            writer.write(prediction_log(model, signature, inputs))


def prediction_log(model: str, signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    """A `PredictionLog` of one `PredictRequest`, serialised."""
    spec = _field(1, model.encode()) + _field(3, signature.encode())  # ModelSpec: name, signature_name
    request = _field(1, spec)  # PredictRequest: model_spec, and a map of names to TensorProto
    for name, array in inputs.items():
        tensor = tf.make_tensor_proto(array).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))  # PredictionLog.predict_log, PredictLog.request


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of the protocol buffer format."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])
