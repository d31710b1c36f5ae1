"""The checker of numbers: what is taken comes back as Python's own type, the rest is one sentence."""

import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from kvae.numerics import arguments

NO_NUMBERS = ["3", None, True, np.True_, math.nan, math.inf, -math.inf, 1 + 2j, [1], np.ones(2), b"1", {}]
NO_SEEDS = [-1, 2**32, 2**63, 1.5, None, "3", True, np.random.default_rng(0), np.random.RandomState(0), math.nan]


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), tf.constant(3)])
def test_whole_numbers(value):
    assert arguments.whole("n", value, 3, 3) == 3 and type(arguments.whole("n", value)) is int
    assert arguments.sizes("n", value) == (3,)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 3.0, np.float32(3)])
def test_no_whole_numbers(value):
    with pytest.raises(ValueError, match="n must be a whole number, got"):
        arguments.whole("n", value)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float16(0.5), np.array(0.5), tf.constant(0.5)])
def test_numbers(value):
    assert arguments.number("p", value, 0, below=1) == 0.5 and type(arguments.number("p", value)) is float


@pytest.mark.parametrize("value", [*NO_NUMBERS, -0.1, 1.0, 10**400])
def test_no_numbers(value):
    with pytest.raises(ValueError, match="p must be a finite number, 0 <= p < 1, got"):
        arguments.number("p", value, 0, below=1)


@pytest.mark.parametrize("value", [1e39, -1e300, np.float64(3.5e38)])
def test_no_numbers_of_float32(value):
    """Float32 has 3.40282e38 as its largest, and infinity beyond it."""
    with pytest.raises(ValueError, match=r"p must be finite in float32, at most 3\.40282e\+38 in size, got"):
        arguments.number("p", value)


def test_ends():
    assert arguments.number("p", 0, least=0, most=1) == 0.0 and arguments.number("p", 1, least=0, most=1) == 1.0
    for value in (0.0, 1.0):
        with pytest.raises(ValueError, match="0 < p < 1"):
            arguments.number("p", value, above=0, below=1)
    for value, words in ((2, "n must be at least 3, got 2"), (5, "n must be at most 4, got 5")):
        with pytest.raises(ValueError, match=words):
            arguments.whole("n", value, 3, 4)


@pytest.mark.parametrize("value", [0, 7, 2**32 - 1, np.int64(5), np.uint32(2**32 - 1)])
def test_seeds(value):
    assert arguments.seed(value) == int(value)


@pytest.mark.parametrize("value", NO_SEEDS)
def test_no_seeds(value):
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\*\*32 - 1, got"):
        arguments.seed(value)


def test_seeds_name_the_remedy():
    for value in (None, np.random.default_rng(0)):
        with pytest.raises(ValueError, match=r"integers\(2\*\*32\)"):
            arguments.seed(value)


def test_sizes():
    assert arguments.sizes("n", [np.int64(3), 4]) == (3, 4)
    assert arguments.sizes("n", np.array([3, 4])) == (3, 4) and arguments.sizes("n", ()) == ()
    for value in (None, "34", {3: 4}, np.ones((2, 2), int), [3, 0], [3, "4"], 2.5, np.float32):
        with pytest.raises(ValueError, match="n must be"):
            arguments.sizes("n", value)


def test_flags_choices_and_paths():
    assert arguments.flag("f", np.True_) is True
    assert arguments.choice("c", "auto", (True, False, "auto")) == "auto"
    assert arguments.path("p", "a/b") == arguments.path("p", pathlib.Path("a/b")) == pathlib.Path("a/b")
    for value in (1, "yes", None, 0):
        with pytest.raises(ValueError, match="f must be True or False, got"):
            arguments.flag("f", value)
        with pytest.raises(ValueError, match="c must be True, False or 'auto', got"):
            arguments.choice("c", value, (True, False, "auto"))
    for value in (1, None, "", b"a", "a\0b", ["a"], np.ones(2), "a" * 256, "ü" * 128 + "/b"):
        with pytest.raises(ValueError, match="p must be a path"):
            arguments.path("p", value)


def test_counts_fit_into_int32():
    assert arguments.whole("n", 2**31 - 1) == 2**31 - 1
    for value in (2**31, 2**63, 10**400, np.uint64(2**64 - 1)):
        with pytest.raises(ValueError, match="n must be at most 2147483647, got "):
            arguments.whole("n", value)
    with pytest.raises(ValueError, match="n must be at least 0, got -"):
        arguments.whole("n", -(2**63), 0)
    with pytest.raises(ValueError, match=r"n must be a whole number, got <tf.Tensor"):
        arguments.whole("n", tf.constant(0.5))


def test_names_and_lists():
    assert arguments.label("name", "a") == "a" and arguments.label("name", None) is None
    for value in (1, "a/b", b"a", ["a"], np.ones(2)):
        with pytest.raises(ValueError, match="name must be text without '/', or None, got"):
            arguments.label("name", value)
    for value in (["a", "b"], ("a", "b"), np.array(["a", "b"]), iter("ab")):
        assert arguments.listed("n", value) == ("a", "b")
    for value in ("ab", 1, None, {"a": "b"}, np.ones((2, 2)), np.array(1)):
        with pytest.raises(ValueError, match="n must be a list, got"):
            arguments.listed("n", value)


def test_values_that_cannot_be_shown():
    class Silent:
        def __repr__(self):
            raise RuntimeError

    assert arguments.shown(Silent()) == "a Silent"
