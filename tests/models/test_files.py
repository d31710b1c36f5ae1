"""Paths, folders and formats of `save` and `export`: what cannot be written is said before anything is."""

import json
import os

import numpy as np
import pytest

import kvae
from tests.conformance import make_vae


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, but for a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    yield tmp_path
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_save(folder):
    vae = make_vae()
    for path, kind, message in (
        ("file/m.keras", OSError, "Nothing can be written to the folder file: File exists"),
        ("m" * 300 + ".keras", ValueError, "filepath must be a path"),
    ):
        with pytest.raises(kind, match=message):
            vae.save(path)
    for options, message in (
        ({"overwrite": "no"}, "overwrite must be True or False, got 'no'"),
        ({"zipped": 0}, "zipped must be True or False, got 0"),
        ({"zipped": False}, "A .keras file is zipped"),
    ):
        with pytest.raises(ValueError, match=message):
            vae.save("m.keras", **options)


def test_export(folder):
    vae = make_vae()
    for value in ("onx", None, 3, np.ones(2), {}):
        with pytest.raises(ValueError, match=r"format must be 'tf_saved_model', 'onnx', .* got"):
            vae.export("1", format=value)
    for value in (None, 3, b"1", "", "a\0b"):
        for call in (vae.export, lambda path: kvae.export.saved_model(vae, path)):
            with pytest.raises(ValueError, match="path must be a path"):
                call(value)
        with pytest.raises(ValueError, match="base must be a path"):
            kvae.export.next_version(value)
    with pytest.raises(OSError, match="Nothing can be written to the folder file: File exists"):
        vae.export("file/1")
    for options, message in (
        ({"results": [1]}, "results must be names to kvae.evaluate.Estimate, got"),
        ({"results": {"elbo": "high"}}, "results must be names to kvae.evaluate.Estimate, got"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"verbose": "yes"}, "verbose must be True or False"),
    ):
        with pytest.raises(ValueError, match=message):
            vae.export("1", **options)
    for model in (None, 3, make_vae, kvae.VAE):
        with pytest.raises(TypeError, match=r"A kvae.VAE is needed, got"):
            kvae.export.saved_model(model, "1")


def test_signature_table():
    side = {"x": {"dtype": "float32", "shape": [None, 4], "name": "x:0"}}
    table = kvae.export.signature_table(json.loads(json.dumps({"encode": {"inputs": side, "outputs": side}})))
    assert table == "encode  x float32[B, 4]  ->  x float32[B, 4]"
    for value in (None, 3, "encode", [], {}, {"encode": 3}, {"encode": {"inputs": side}}, np.ones(2)):
        with pytest.raises(ValueError, match=r"signatures must be those of a manifest.json, got"):
            kvae.export.signature_table(value)
