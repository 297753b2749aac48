"""Encoded examples: rows in the order of their lengths, and outputs put back in order."""

from __future__ import annotations

import numpy as np

from lowland.tasks.examples import Encoded


def test_the_longest_rows_come_first_and_outputs_go_back_to_their_places() -> None:
    rows = {"input_ids": [[1], [2, 2, 2], [3, 3], [4, 4, 4]]}
    encoded = Encoded(rows, np.arange(4))
    assert encoded.by_length.tolist() == [1, 3, 2, 0]
    outputs = {"logits": np.array([[rows["input_ids"][row][0]] for row in encoded.by_length], np.float32)}
    restored = encoded.in_order(outputs)["logits"]
    assert restored.tolist() == [[1.0], [2.0], [3.0], [4.0]]
    assert restored.dtype == np.float64


def test_rows_without_tokens_keep_their_order() -> None:
    assert Encoded({"pixel_values": [0, 1, 2]}, np.arange(3)).by_length.tolist() == [0, 1, 2]
