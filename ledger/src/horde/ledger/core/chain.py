"""Blocks: each durable batch is one, hashed over the one before it and the Merkle root of what it holds. Pure.

The leaves of a block are the canonical texts of its entries, in their order, and then of its remembered refusals, in
theirs. The tree is that of RFC 9162, 2.1.1: leaves and nodes are told apart by a first byte, and a node without a
sibling goes up as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

GENESIS: Final = bytes(32)
"""What stands for the hash of the block before the first."""
NO_LEAVES: Final = sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Block:
    """A durable batch. One that holds only refusals has `last_sequence` = `first_sequence` - 1."""

    number: int
    first_sequence: int
    last_sequence: int
    writer_epoch: int
    at_us: int
    previous_hash: bytes
    merkle_root: bytes
    hash: bytes


class Step(NamedTuple):
    """One step from a leaf towards the root."""

    sibling: bytes
    left: bool
    """The sibling stands left."""


def leaf_hash(body: str) -> bytes:
    """The hash of a canonical text."""
    return sha256(b"\x00" + body.encode("ascii")).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves."""
    if not leaves:
        return NO_LEAVES
    level = list(leaves)
    while len(level) > 1:
        above = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def merkle_path(leaves: Sequence[bytes], place: int) -> list[Step]:
    """The steps from the leaf at `place` to the root."""
    steps: list[Step] = []
    level = list(leaves)
    while len(level) > 1:
        beside = place ^ 1
        if beside < len(level):
            steps.append(Step(level[beside], left=beside < place))
        above = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level, place = above, place // 2
    return steps


def root_of_path(leaf: bytes, steps: Sequence[Step]) -> bytes:
    """Where a path leads."""
    for sibling, left in steps:
        leaf = sha256(b"\x01" + (sibling + leaf if left else leaf + sibling)).digest()
    return leaf


def block_hash(
    number: int, first: int, last: int, epoch: int, at_us: int, previous_hash: bytes, merkle_root: bytes
) -> bytes:
    """The hash of a block, as the contract defines it."""
    header = f"horde-block-1\n{number}\n{first}\n{last}\n{epoch}\n{at_us}\n".encode()
    return sha256(header + previous_hash + merkle_root).digest()


def sealed(
    number: int, first: int, last: int, epoch: int, at_us: int, previous_hash: bytes, leaves: Sequence[bytes]
) -> Block:
    """The block over these leaves."""
    root = merkle_root(leaves)
    digest = block_hash(number, first, last, epoch, at_us, previous_hash, root)
    return Block(number, first, last, epoch, at_us, previous_hash, root, digest)
