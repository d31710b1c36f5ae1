"""Damaged files and hostile input: what was put in or a clear error, and never another x."""

import importlib.util
import os
import pathlib
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.compress import files
from kvae.compress.latents import NormalLatents
from tests.conformance import LIKELIHOODS, make_vae

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "faults" / "compression.py"
spec = importlib.util.spec_from_file_location("compression_faults", PROGRAM)
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)


@pytest.mark.parametrize("calls", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_damaged_files_are_refused(calls):
    found = program.damaged(calls, seed=0)
    assert found["wrong"] == found["other error"] == 0, found
    assert found["refused"] > 0.8 * calls and sum(found.values()) == calls


@pytest.mark.parametrize("calls", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_hostile_input_round_trips_or_is_refused(calls):
    found = program.hostile(calls, seed=0)
    assert found["wrong"] == found["other error"] == 0, found
    assert min(found["refused"], found["right"]) > 0.2 * calls and sum(found.values()) == calls


def test_the_program_tells_a_wrong_byte():
    with mock.patch.object(kvae.compress, "decode", lambda vae, content: np.zeros((70, 6), np.uint8)):
        assert program.damaged(5, seed=0)["wrong"] == 5


def model():
    vae = make_vae(likelihood=LIKELIHOODS["bernoulli"], compiled=False)
    return vae, np.random.default_rng(0).integers(0, 2, (200, 6)).astype(np.uint8)


def test_other_numbers_are_an_error():
    """Networks that differ by little, as another processor's do."""
    vae, x = model()
    content = kvae.compress.encode(vae, x)
    right = NormalLatents.posterior

    def rounded(self, x, condition):
        mean, scale = right(self, x, condition)
        return mean * (1.0 + 1e-4), scale

    setting = mock.patch.dict(os.environ, TF_ENABLE_ONEDNN_OPTS="0", ONEDNN_MAX_CPU_ISA="AVX2")
    told = r"made with .*PU; here are .*PU, TF_ENABLE_ONEDNN_OPTS=0, ONEDNN_MAX_CPU_ISA=AVX2\. Decode with the same"
    with setting, mock.patch.object(NormalLatents, "posterior", rounded), pytest.raises(ValueError, match=told):
        kvae.compress.decode(vae, content)
    np.testing.assert_array_equal(kvae.compress.decode(vae, content), x)


def test_encoding_finds_out_that_numbers_do_not_repeat():
    vae, x = model()
    right, random = NormalLatents.features, np.random.default_rng(0)

    def noisy(self, symbols, condition):
        found = right(self, symbols, condition)
        return found + tf.constant(1e-2 * random.normal(size=found.shape), found.dtype)

    with mock.patch.object(NormalLatents, "features", noisy), pytest.raises(ArithmeticError, match="not decode to the"):
        kvae.compress.encode(vae, x)


def test_blocks_cannot_change_places():
    vae, x = model()
    with mock.patch.object(files, "BLOCK", 100):
        content, other = (kvae.compress.encode(vae, one) for one in (x, x[::-1]))
    header, begin = files.header_of(content)
    first, _ = files.blocks_of(content, header, begin)
    middle = begin + 29 + 4 * len(first[0].words)
    swapped = content[:begin] + content[middle:] + content[begin:middle]
    mixed = other[: len(other) - (len(content) - middle)] + content[middle:]
    np.testing.assert_array_equal(kvae.compress.decode(vae, content), x)
    for damaged in (swapped, mixed):
        with pytest.raises(ValueError, match=r"block from example .* is damaged"):
            kvae.compress.decode(vae, damaged)
