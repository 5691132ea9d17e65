"""Hashes and ids as the contract defines them, computed here in another way."""

from __future__ import annotations

import json
import uuid
from hashlib import sha256

import pytest

from horde.ledger.core.chain import block_hash, leaf_hash, merkle_path, merkle_root, root_of_path
from horde.ledger.core.identifiers import derived, id_bytes, id_text
from horde.testkit.ledger import PureLedger, awarded, gift, held, opened, settled


def tree(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, as it is written there: split at the largest power of two below the length."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\x01" + tree(leaves[:half]) + tree(leaves[half:])).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 33, 256])
def test_the_tree_is_that_of_the_rfc_and_every_leaf_has_its_path(count: int) -> None:
    leaves = [leaf_hash(f"entry {number}") for number in range(count)]
    assert leaves[0] == sha256(b"\x00entry 0").digest()
    assert merkle_root(leaves) == tree(leaves)
    for place, leaf in enumerate(leaves):
        assert root_of_path(leaf, merkle_path(leaves, place)) == tree(leaves)


def test_a_block_hashes_what_the_contract_says() -> None:
    before, root = bytes(range(32)), bytes(range(32, 64))
    said = b"horde-block-1\n7\n10\n12\n3\n1795313036947160\n" + before + root
    assert block_hash(7, 10, 12, 3, 1795313036947160, before, root) == sha256(said).digest()


def test_blocks_follow_each_other() -> None:
    ledger = PureLedger()
    ledger.apply(opened("ann"))
    ledger.apply(awarded("ann", 5_000))
    ledger.apply(held("much", "ann", count=99))
    first, second, third = ledger.store._blocks
    assert second.previous_hash == first.hash
    assert third.previous_hash == second.hash
    assert (third.first_sequence, third.last_sequence) == (3, 2)
    changed = block_hash(2, 2, 2, second.writer_epoch, second.at_us, bytes(32), second.merkle_root)
    assert changed != second.hash


def test_ids_are_those_of_rfc_9562() -> None:
    for _ in range(20):
        namespace = uuid.uuid4()
        assert derived(str(namespace), "höld") == str(uuid.uuid5(namespace, "höld"))
        assert id_text(id_bytes(str(namespace))) == str(namespace)


def test_texts_are_canonical() -> None:
    ledger = PureLedger()
    ledger.apply(awarded("ann", 100_000), gift("ann", "bob", 5_000, note='q"\\\n ü €'), held("g", "ann"))
    ledger.apply(settled("g", "bob"), held("much", "ann", count=99))
    texts = [row.body for row in ledger.store._events] + [row.body for row, _ in ledger.store._refusals]
    assert len(texts) == 5
    for text in texts:
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
