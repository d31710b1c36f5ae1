"""The manifest of a SavedModel: what other languages need to know, and what was measured."""

import hashlib
import math
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kvae._environment import VERSION
from kvae.numerics.arguments import shown


def manifest(vae, model: Path, samples: int, results: dict) -> dict:
    """Of the SavedModel in the folder `model`: versions, shapes, tensor names, operations, results, hashes."""
    content = (model / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    functions = graph.graph_def.library.function
    operations = {node.op for nodes in (graph.graph_def.node, *(f.node_def for f in functions)) for node in nodes}
    own = {f.signature.name for f in functions}
    files = sorted(file for file in model.rglob("*") if file.is_file())
    signatures = {}
    for name, signature in sorted(graph.signature_def.items()):
        if name != "__saved_model_init_op":
            signatures[name] = {side: _tensors(getattr(signature, side)) for side in ("inputs", "outputs")}
    support = vae.likelihood.support
    return {
        "versions": {"kvae": VERSION, "tensorflow": tf.__version__, "keras": keras.__version__},
        "model": {
            part: type(getattr(vae, part)).__name__ for part in ("posterior", "likelihood", "prior", "objective")
        },
        "event_shape": list(vae.event_shape),
        "latent_dim": vae.latent_dim,
        "condition_shape": None if vae.condition_shape is None else list(vae.condition_shape),
        "support": {"name": support.name, "low": _number(support.low), "high": _number(support.high)}
        | {"integer": support.integer},
        "schema": vae.likelihood.schema,
        "unit": "nats",
        "measure": vae.likelihood.measure,
        "log_likelihood_samples": samples if vae.posterior.has_density else None,
        "signatures": signatures,
        "operations": sorted(operations - own),
        "results": {
            name: {key: _number(value) if isinstance(value, float) else value for key, value in e._asdict().items()}
            for name, e in results.items()
        },
        "sha256": {str(file.relative_to(model)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }


def _number(value: float | np.ndarray) -> float | list | None:
    """A number, or those of an array, as JSON has them: None where it is not finite."""
    if isinstance(value, np.ndarray):
        return [_number(one) for one in value.tolist()]
    return value if math.isfinite(value) else None


def _tensors(side) -> dict:
    """Key to the name in the graph, dtype and shape (None for the batch), as other languages feed and fetch them."""
    return {
        key: {
            "tensor": tensor.name,
            "dtype": tf.as_dtype(tensor.dtype).name,
            "shape": [None if axis.size < 0 else axis.size for axis in tensor.tensor_shape.dim],
        }
        for key, tensor in sorted(side.items())
    }


def signature_table(signatures: dict) -> str:
    """The signatures of a manifest as text, one a line.

    Raises:
        ValueError: for what is no dict of a manifest's `signatures`.
    """
    sides = list(signatures.values()) if isinstance(signatures, dict) else []
    if not sides or not all(isinstance(side, dict) and {"inputs", "outputs"} <= set(side) for side in sides):
        raise ValueError(f"signatures must be those of a manifest.json, got {shown(signatures)}.")

    def listed(tensors):
        shapes = {
            key: ", ".join("B" if n is None else str(n) for n in tensor["shape"]) for key, tensor in tensors.items()
        }
        return "  ".join(f"{key} {tensors[key]['dtype']}[{shape}]" for key, shape in shapes.items())

    width = max(len(name) for name in signatures)
    return "\n".join(
        f"{name:{width}}  {listed(sides['inputs'])}  ->  {listed(sides['outputs'])}"
        for name, sides in signatures.items()
    )
