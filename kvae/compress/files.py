"""From arrays to bytes, and back."""

import numpy as np

from kvae.compress.blocks import Blocks
from kvae.compress.container import Header, Writer, blocks_of, check_of, digest, header_of
from kvae.compress.elements import MOST
from kvae.compress.fingerprint import made_with, model_hash, renew_where_changed
from kvae.compress.latents import BATCH
from kvae.compress.stack import check_installed
from kvae.data import conditions, inputs
from kvae.data.arrays import as_array, is_pipeline
from kvae.data.column_supports import ColumnSupports
from kvae.data.splits import Split
from kvae.evaluate.progress import progress
from kvae.models.resolve import check_model
from kvae.numerics.arguments import shown

BLOCK = 16_384  # examples of a block, at most
_ELEMENTS = 1 << 24  # and elements, but for one batch


def encode(vae, x, condition=None, verbose: bool | str = "auto") -> bytes:
    """x as bytes, from which `decode` with the same model gives x back, exactly.

    The mean length is the negative ELBO, by bits-back coding with asymmetric numeral systems, and about 200 bytes for
    the file. Each block of at most 16,384 examples is decoded again and compared. docs/compression.md has the method
    and the format.

    Args:
        vae: a model whose likelihood is a mass, with a posterior `DiagonalNormal` and a prior `StandardNormal` or
            `ConditionalNormal`, or with codes and the prior `Codes`.
        x: what `fit` takes, without missing values: `[N, *event_shape]`. Counts are at most 2^24. Examples of one kind
            belong into one call: the file has a length of its own.
        condition: of a conditional model. It is not kept: `decode` needs the same.
        verbose: whether to show a progress bar; "auto" in a terminal.

    Raises:
        ValueError: for a model that is not supported, or an x that the likelihood does not explain.
        ImportError: without the package constriction, which the extra `compress` installs.
        ArithmeticError: where decoding gives other numbers, since the networks do not repeat theirs on this machine.
    """
    coder = _coder(vae)
    batch = inputs.examples(x, vae.likelihood, vae.condition_shape, condition)
    if not len(batch.x):
        raise ValueError("The data are empty: kvae.compress codes one example or more. Give x with some.")
    if batch.mask is not None and not np.all(batch.mask):
        raise ValueError("x has missing values, which kvae.compress does not code. Fill them in first: vae.impute(x).")
    values = np.asarray(batch.x).reshape(len(batch.x), -1)
    if values.max() > MOST and not np.isfinite(vae.likelihood.support.high):
        raise ValueError(
            f"kvae.compress codes counts up to 2^24 = {MOST}, and the largest is {values.max():g}: beyond, float32 "
            "numbers are more than one apart. Give x in another unit."
        )
    dtype = _dtype(x, values)
    given = _prepared(batch.condition, vae)
    header = Header(model_hash(vae), dtype, list(vae.event_shape), len(values), _condition_hash(given), made_with())
    writer, size = Writer(header), max(BATCH, min(BLOCK, _ELEMENTS // values.shape[1]))
    with progress(batch.x, verbose) as bar:
        for first in range(0, len(values), size):
            part = values[first : first + size].astype(np.int64) - coder.elements.low
            beside = None if given is None else given[first : first + size]
            block = coder.encode(part, beside)
            again = coder.decode(block, len(part), beside, bar.update)
            if again is None or not np.array_equal(part, again):
                raise ArithmeticError(
                    "What was encoded does not decode to the same x, since the networks do not give the same numbers "
                    "twice here. On a GPU, call tf.config.experimental.enable_op_determinism() first, or use the CPU."
                )
            writer.add(block, len(part), check_of(part))
    return writer.content


def decode(vae, data, condition=None, verbose: bool | str = "auto") -> np.ndarray:
    """The x of `encode`, of its shape and dtype; float32 where x was a pipeline or a sparse matrix.

    It is x, or there is an error: all checksums are compared before x is returned. Networks give the same numbers on
    the same kind of processor with the same versions of TensorFlow, Keras and kvae and the same variables of oneDNN.
    Where they give others, decoding fails.

    Args:
        vae: the model that encoded; one that was saved and loaded is the same.
        data: the bytes.
        condition: that of `encode`.
        verbose: as for `encode`.

    Raises:
        ValueError: for data that are damaged, or were made by another model, with another condition, or with networks
            that give other numbers.
        ImportError: as for `encode`.
    """
    coder = _coder(vae)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ValueError(f"data must be the bytes that kvae.compress.encode gave, got {shown(data)}.")
    content = bytes(data)
    header, begin = header_of(content)
    if header.model != model_hash(vae):
        raise ValueError(
            f"Another model encoded these data: its hash is {header.model}, and this one's {model_hash(vae)}. Give the "
            "model with the weights that it had then."
        )
    given = _prepared(conditions.checked(condition, vae.condition_shape, header.examples), vae)
    if header.condition != _condition_hash(given):
        raise ValueError("The data were encoded with another condition. Give the same, in the same order.")
    blocks = list(blocks_of(content, header, begin))
    x = np.empty((sum(count for _, count, _ in blocks), *header.shape), header.dtype)
    first = 0
    with progress(x, verbose) as bar:
        for block, count, check in blocks:
            beside = None if given is None else given[first : first + count]
            found = coder.decode(block, count, beside, bar.update)
            if found is None or check_of(found) != check:
                raise ValueError(
                    "The data are whole, but the networks give other numbers here than where they were encoded, so "
                    f"that they cannot be decoded. They were made with {header.made}; here are {made_with()}. Decode "
                    "with the same versions and variables on the same kind of processor."
                )
            x[first : first + count] = (found + coder.elements.low).reshape(-1, *header.shape)
            first += count
    return x


def _coder(vae) -> Blocks:
    """The model's.

    Raises:
        TypeError: for what is no model.
        ImportError: without the package constriction.
        ValueError: for one that cannot be coded with.
    """
    check_model(vae)
    check_installed()
    likelihood = vae.likelihood
    if isinstance(likelihood.support, ColumnSupports):
        raise ValueError(
            f"kvae.compress codes elements of one kind, and {type(likelihood).__name__} has columns of several. Train "
            "a model for each kind of column."
        )
    if likelihood.measure != "mass" or not likelihood.support.integer or not np.isfinite(likelihood.support.low):
        raise ValueError(
            f"kvae.compress codes integers by a likelihood with a mass, and {type(likelihood).__name__} has none: a "
            "density gives no length of a code. Images of 8 bits fit kvae.likelihoods.BetaBinomial(255) or "
            "DiscretizedLogistic(256), binary data Bernoulli, counts Poisson or NegativeBinomial."
        )
    renew_where_changed(vae)
    return Blocks.of(vae)


def _prepared(condition, vae) -> np.ndarray | None:
    found = conditions.prepared(condition, vae.condition_shape)
    return None if found is None else np.asarray(found)


def _condition_hash(condition) -> str | None:
    return None if condition is None else digest(str(condition.shape).encode(), condition.tobytes()).hex()


def _dtype(x, values: np.ndarray) -> str:
    """NumPy's name of the dtype that x came in; float32 where that was a pipeline, or was scaled or binarised.

    Raises:
        ValueError: where `values`, which the model gets, are not those of x: float64 numbers that are not whole.
    """
    if isinstance(x, (tuple, dict)):
        x = x["x"] if isinstance(x, dict) else x[0]
    if isinstance(x, Split):
        x = np.zeros(0, np.float32) if x.dynamic or x.scale != 1.0 else x.array
    if is_pipeline(x):
        return "<f4"
    found = x if isinstance(x, np.ndarray) and x.dtype.kind in "biuf" else np.asarray(as_array(x).values)
    if found.dtype.kind == "f" and found.size and not np.array_equal(found.reshape(values.shape), values):
        raise ValueError("x holds numbers that are whole only after rounding to float32. Round them: numpy.rint(x).")
    return found.dtype.str if found.dtype.kind in "biuf" else "<f4"
