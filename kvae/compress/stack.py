"""The stack of bits: asymmetric numeral systems (Duda 2013, arXiv 1311.2540), by the package constriction."""

import numpy as np

from kvae._environment import install


class Stack:
    """Symbols go onto it and come off it in the opposite order; a symbol of probability p takes -log2 p bits.

    Symbols come off random bits, too, and then have the model's distribution. Put back, they give the same bits. That
    holds for an empty stack as well, off which the lowest symbols come.

    Probabilities are rounded to multiples of 2^-24, and each is at least that.

    Args:
        words: what `words` gave, uint32; by default the stack is empty.
    """

    def __init__(self, words: np.ndarray | None = None):
        constriction = check_installed()
        self.models = constriction.stream.model
        coder = constriction.stream.stack.AnsCoder
        self._coder = coder() if words is None else coder(np.ascontiguousarray(words, np.uint32))

    @property
    def words(self) -> np.ndarray:
        """All bits, uint32."""
        return self._coder.get_compressed()

    @property
    def bits(self) -> int:
        """How many bits there are."""
        return self._coder.num_valid_bits()

    @property
    def empty(self) -> bool:
        """Whether all that was put on it has come off."""
        return self._coder.is_empty()

    def push_normal(self, symbols, mean, scale, most: int) -> None:
        """Whole numbers `[n]` from -most to most, of normal distributions that are rounded to them."""
        model = self.models.QuantizedGaussian(-most, most)
        self._coder.encode_reverse(_int32(symbols), model, *_float64(mean, scale))

    def pop_normal(self, mean, scale, most: int) -> np.ndarray:
        """The symbols of `push_normal`, int32 `[n]`."""
        return self._coder.decode(self.models.QuantizedGaussian(-most, most), *_float64(mean, scale))

    def push_table(self, symbols, table) -> None:
        """Whole numbers `[n]` from 0 on, of probabilities `[n, K]` in proportion to the table's rows."""
        self._coder.encode_reverse(_int32(symbols), self.models.Categorical(perfect=False), _rows(table))

    def pop_table(self, table) -> np.ndarray:
        """The symbols of `push_table`, int32 `[n]`."""
        return self._coder.decode(self.models.Categorical(perfect=False), _rows(table))

    def push_uniform(self, symbols, sizes) -> None:
        """Whole numbers `[n]` from 0 to size - 1, all of them equally likely; sizes `[n]` from 2 to 2^16."""
        self._coder.encode_reverse(_int32(symbols), self.models.Uniform(), _int32(sizes))

    def pop_uniform(self, sizes) -> np.ndarray:
        """The symbols of `push_uniform`, int32 `[n]`."""
        return self._coder.decode(self.models.Uniform(), _int32(sizes))


def check_installed():
    """The package constriction.

    Raises:
        ImportError: where it is missing.
    """
    try:
        import constriction
    except ImportError as error:
        raise ImportError(f"kvae.compress needs the package constriction: {install('compress')}") from error
    return constriction


def _int32(values) -> np.ndarray:
    return np.ascontiguousarray(values, np.int32)


def _float64(*values) -> list[np.ndarray]:
    return [np.ascontiguousarray(one, np.float64) for one in values]


def _rows(table) -> np.ndarray:
    """The table, float32, with all rows finite and not empty: the package would fail at others."""
    table = np.ascontiguousarray(table, np.float32)
    total = table.sum(axis=-1)
    if not (np.isfinite(total) & (total > 0.0)).all():
        raise FloatingPointError(
            "The model gives probabilities of x or of codes that are not finite, so that nothing can be coded with "
            "them. Its weights may have overflowed: kvae.evaluate.diagnose(vae, x)."
        )
    return table
