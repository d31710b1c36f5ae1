"""Which model made a file, and with what."""

import importlib.metadata
import json
import os
import platform

import keras
import numpy as np
import tensorflow as tf

from kvae._environment import VERSION
from kvae.compress.container import digest

_PARTS = ("encoder", "decoder", "posterior", "likelihood", "prior")
_ASIDE = ("trainable", "frozen")
_SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA")  # of the environment: sums get another order


def model_hash(vae) -> str:
    """Of the weights and the configuration of all that codes: the same after save and load, and in other processes.

    Names, which Keras numbers within a process, do not count, nor do the objective, the optimizer and what is frozen.
    """
    content = [vae.methods.get("compress configuration", lambda: _configuration(vae))]
    for weight in (weight for name in _PARTS for weight in getattr(vae, name).weights):
        array = np.asarray(weight)
        content += [f"{array.dtype} {array.shape}".encode(), np.ascontiguousarray(array).tobytes()]
    return digest(*content, size=16).hex()


def renew_where_changed(vae) -> None:
    """Forget what was compiled where the configuration is another now, as after `layer.activation = ...`."""
    if vae.methods.get("compress configuration", lambda: _configuration(vae)) != _configuration(vae):
        vae.renew()


def _configuration(vae) -> bytes:
    """Of all parts."""
    parts = [getattr(vae, name) for name in _PARTS]
    layers = [layer for part in parts for layer in part._flatten_layers()]
    names = {layer.name: f"layer {number}" for number, layer in reversed(list(enumerate(layers)))}
    configs = [_renamed(keras.saving.serialize_keras_object(part), names) for part in parts]
    return json.dumps(configs, sort_keys=True, default=str).encode()


def _renamed(config, names: dict[str, str]):
    """With the layers' names replaced, and without what says how they are trained."""
    if isinstance(config, dict):
        return {key: _renamed(value, names) for key, value in config.items() if key not in _ASIDE}
    if isinstance(config, (list, tuple)):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def made_with() -> str:
    """The versions of what computes, the processor with its widest instructions, and what oneDNN was told."""
    constriction = importlib.metadata.version("constriction")
    devices = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    instructions = np.show_config(mode="dicts")["SIMD Extensions"]
    widest = (instructions["found"] or instructions["baseline"])[-1]
    told = "".join(f", {name}={os.environ[name]}" for name in _SETTINGS if name in os.environ)
    return (
        f"kvae {VERSION}, TensorFlow {tf.__version__}, Keras {keras.__version__}, constriction {constriction}, "
        f"{platform.machine()} {widest} {devices}{told}"
    )
