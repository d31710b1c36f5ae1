"""The entropy coder: lengths against entropies that are computed here, and that putting back undoes taking off."""

import numpy as np
import pytest
from scipy import stats

from kvae.compress.stack import Stack

P = np.array([0.5, 0.25, 0.2, 0.0499, 0.0001])


def pushed(symbols, table):
    stack = Stack()
    stack.push_table(symbols, np.broadcast_to(table, (len(symbols), len(table))))
    return stack


def test_the_length_is_the_entropy():
    symbols = np.random.default_rng(0).choice(5, size=50_000, p=P)
    information = -np.log2(P[symbols])
    stack = pushed(symbols, P)
    assert abs(stack.bits - information.sum()) < 40 + 1e-4 * information.sum()
    error = 4.0 * information.std() * np.sqrt(len(symbols)) + 40
    assert abs(stack.bits - len(symbols) * stats.entropy(P, base=2)) < error
    np.testing.assert_array_equal(stack.pop_table(np.broadcast_to(P, (50_000, 5))), symbols)
    assert stack.empty


def test_the_wrong_code_costs_the_divergence():
    symbols = np.random.default_rng(1).choice(5, size=50_000, p=P)
    q = np.full(5, 0.2)
    more = pushed(symbols, q).bits - pushed(symbols, P).bits
    each = np.log2(P[symbols] / q[symbols])
    assert abs(more - len(symbols) * stats.entropy(P, q, base=2)) < 4.0 * each.std() * np.sqrt(len(symbols)) + 80


def test_normal_symbols_have_the_length_of_their_masses():
    random = np.random.default_rng(2)
    mean, scale = random.normal(0.0, 300.0, 3000), np.exp(random.normal(2.0, 1.5, 3000))
    symbols = np.rint(random.normal(mean, scale)).clip(-2048, 2048).astype(int)
    stack = Stack()
    stack.push_normal(symbols, mean, scale, 2048)
    mass = stats.norm.cdf((symbols + 0.5 - mean) / scale) - stats.norm.cdf((symbols - 0.5 - mean) / scale)
    expected = -np.log2(np.maximum(mass, 2.0**-24)).sum()
    assert abs(stack.bits - expected) < 40 + 2e-3 * len(symbols)
    np.testing.assert_array_equal(stack.pop_normal(mean, scale, 2048), symbols)


@pytest.mark.parametrize("words", [0, 1, 2000])
def test_what_is_taken_off_and_put_back_leaves_the_same_bits(words):
    random = np.random.default_rng(3)
    start = random.integers(1, 2**32, words, dtype=np.uint32)
    mean, scale = random.normal(0.0, 1000.0, 500), np.exp(random.normal(0.0, 3.0, 500))
    stack = Stack(start)
    symbols = stack.pop_normal(mean, scale, 2048)
    stack.push_normal(symbols, mean, scale, 2048)
    np.testing.assert_array_equal(stack.words, start)


def test_symbols_off_random_bits_have_the_distribution():
    random = np.random.default_rng(4)
    stack = Stack(random.integers(1, 2**32, 20_000, dtype=np.uint32))
    symbols = stack.pop_normal(np.full(20_000, 3.7), np.full(20_000, 50.0), 2048)
    cell = stats.norm.cdf((symbols + random.random(20_000) - 0.5 - 3.7) / 50.0)
    assert stats.kstest(cell, "uniform").pvalue > 1e-3
    used = 20_000 * 32 - stack.bits
    assert abs(used / 20_000 - (np.log2(50.0) + 0.5 * np.log2(2 * np.pi * np.e))) < 0.03
