"""The file around the bits: what it holds, for which model, and checksums.

    magic, 8 bytes | format, 1 | length of the header, 2 | header, JSON | checksum of all this, 8
    for each block: examples, 4 | start, 4 | way, 1 | words, 4 | checksum of x, 8 | checksum, 8 | the words, 4 each

Numbers are unsigned, the lowest byte first. A block's checksum is over the checksum before it, which is first the
header's, its own head and its words. So blocks cannot be lost, exchanged or taken from other files. Checksums are
BLAKE2b.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kvae.compress.blocks import Block

MAGIC, FORMAT = b"\x93kvae\r\n\x1a", 1
_CHECK = 8  # bytes of a checksum
_HEAD = struct.Struct("<IIBI8s")
_AGAIN = "Take a copy that is whole, or encode again."


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        model: the hash of the model's weights and configuration.
        dtype: NumPy's name of x's dtype.
        shape: of one example.
        examples: how many.
        condition: the hash of the conditions, or None.
        made: the versions and the processor that it was made with.
    """

    model: str
    dtype: str
    shape: list[int]
    examples: int
    condition: str | None
    made: str


def digest(*parts: bytes, size: int = _CHECK) -> bytes:
    """BLAKE2b."""
    found = hashlib.blake2b(digest_size=size)
    for part in parts:
        found.update(part)
    return found.digest()


def check_of(x: np.ndarray) -> bytes:
    """The checksum of integers."""
    return digest(np.ascontiguousarray(x, "<i8").tobytes())


class Writer:
    """Makes a file, block by block."""

    def __init__(self, header: Header):
        text = json.dumps(list(header), separators=(",", ":")).encode()
        self._parts = [MAGIC, struct.pack("<BH", FORMAT, len(text)), text]
        self._check = digest(*self._parts)
        self._parts.append(self._check)

    def add(self, block: Block, count: int, check: bytes) -> None:
        """A block of so many examples, with the checksum of their x."""
        words = np.ascontiguousarray(block.words, "<u4").tobytes()
        head = _HEAD.pack(count, block.start, block.way, len(block.words), check)
        self._check = digest(self._check, head, words)
        self._parts += [head, self._check, words]

    @property
    def content(self) -> bytes:
        """The file."""
        return b"".join(self._parts)


def header_of(content: bytes) -> tuple[Header, int]:
    """The header of a file, and where its blocks begin.

    Raises:
        ValueError: for what is no such file, and for one that is damaged.
    """
    start = len(MAGIC)
    if content[:start] != MAGIC:
        raise ValueError(
            f"This is not what kvae.compress.encode made: it begins with {content[:start]!r}. Give its bytes as they "
            "are; if the file went through a transfer as text, transfer it as binary."
        )
    if len(content) > start and content[start] != FORMAT:
        raise ValueError(
            f"The data have the format {content[start]}, and this kvae reads {FORMAT}. They are damaged, or of another "
            f"version of kvae. {_AGAIN}"
        )
    begin = start + 3
    end = begin + int.from_bytes(content[start + 1 : begin], "little")
    if len(content) < end + _CHECK or digest(content[:end]) != content[end : end + _CHECK]:
        raise ValueError(f"The header is damaged or cut off, so that nothing can be decoded. {_AGAIN}")
    return Header(*json.loads(content[begin:end])), end + _CHECK


def blocks_of(content: bytes, header: Header, begin: int) -> Iterator[tuple[Block, int, bytes]]:
    """The blocks of a file, each with its number of examples and the checksum of their x: all are checked first.

    Raises:
        ValueError: where one is damaged or cut off, or something follows the last.
    """
    found, first, check = [], 0, content[begin - _CHECK : begin]
    while first < header.examples:
        words = begin + _HEAD.size + _CHECK
        head = content[begin : begin + _HEAD.size]
        whole = len(content) >= words
        count, start, way, size, of_x = _HEAD.unpack(head) if whole else (0, 0, 0, 0, b"")
        end = words + 4 * size
        check = digest(check, head, content[words:end])
        if not whole or content[begin + _HEAD.size : words] != check:
            raise ValueError(
                f"The block from example {first} on is damaged or cut off, so that nothing is decoded. {_AGAIN}"
            )
        found.append((Block(start, way, np.frombuffer(content[words:end], "<u4")), count, of_x))
        first, begin = first + count, end
    if len(content) != begin:
        raise ValueError(f"{len(content) - begin} bytes follow the last block: the data are not as they were. {_AGAIN}")
    yield from found
