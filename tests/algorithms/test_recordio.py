"""The RecordIO-protobuf codec, by itself and against the SDK's own reader and writer."""

import io
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sagemaker.amazon import common
from scipy import sparse

from loopwright.algorithms import recordio
from loopwright.algorithms.recordio import Record, RecordError, Tensor


def framed(*records: Record) -> bytes:
    return b"".join(recordio.frame(recordio.encode(record)) for record in records)


def same(left: Tensor, right: Tensor) -> bool:
    return (
        left.values.dtype == right.values.dtype
        and np.array_equal(left.values, right.values, equal_nan=True)
        and left.shape == right.shape
        and (left.keys is None) == (right.keys is None)
        and (left.keys is None or bool(np.array_equal(left.keys, right.keys)))
    )


VECTORS = st.one_of(
    arrays.arrays(np.float32, st.integers(1, 9), elements=st.floats(width=32)),
    arrays.arrays(np.float64, st.integers(1, 9)),
    arrays.arrays(np.int32, st.integers(1, 9)),
)


@given(VECTORS, VECTORS, st.booleans())
def test_what_was_written_is_read(features: np.ndarray, label: np.ndarray, thin: bool) -> None:
    keys = np.arange(len(features)) * 300 if thin else None
    shape = (300 * len(features),) if thin else ()
    record = Record({"values": Tensor(features, keys, shape)}, {"values": Tensor(label)})
    (found,) = recordio.read(io.BytesIO(framed(record)))
    assert same(found.features["values"], record.features["values"])
    assert same(found.labels["values"], record.labels["values"])


@pytest.mark.parametrize("kind", ["float32", "float64", "int"])
def test_the_sdk_s_dense_files_are_read(kind: str) -> None:
    rows = (np.random.default_rng(0).normal(size=(20, 7)) * 100).astype(kind)
    labels = np.arange(-10, 10).astype(kind)
    buffer = io.BytesIO()
    common.write_numpy_to_dense_tensor(buffer, rows, labels)
    records = list(recordio.read(io.BytesIO(buffer.getvalue())))
    assert np.array_equal([record.features["values"].values for record in records], rows)
    assert [record.labels["values"].values[0] for record in records] == labels.tolist()
    block = recordio.dense_block(buffer.getvalue())
    if kind == "int":
        assert block is None
    else:
        assert block is not None and block.labels is not None
        assert np.array_equal(block.features, rows)
        assert np.array_equal(block.labels[:, 0], labels)


def test_the_sdk_s_sparse_files_are_read() -> None:
    rows = sparse.random(30, 1000, 0.01, "csr", np.float32, np.random.default_rng(1))
    buffer = io.BytesIO()
    common.write_spmatrix_to_sparse_tensor(buffer, rows, np.arange(30.0))
    assert recordio.dense_block(buffer.getvalue()) is None
    for index, record in enumerate(recordio.read(io.BytesIO(buffer.getvalue()))):
        tensor = record.features["values"]
        dense = np.zeros(1000)
        assert tensor.shape == (1000,) and tensor.keys is not None
        dense[tensor.keys] = tensor.values
        assert np.array_equal(dense, rows[index].toarray()[0])


def test_the_sdk_reads_our_files() -> None:
    record = Record(
        {"values": Tensor(np.array([1.5, -2.0], np.float32), np.array([0, 400]), (500,))},
        {"score": Tensor(np.array([0.25])), "predicted_label": Tensor(np.array([-3], np.int32))},
    )
    (found,) = common.read_records(io.BytesIO(framed(record)))
    assert list(found.features["values"].float32_tensor.values) == [1.5, -2.0]
    assert list(found.features["values"].float32_tensor.keys) == [0, 400]
    assert list(found.features["values"].float32_tensor.shape) == [500]
    assert list(found.label["score"].float64_tensor.values) == [0.25]
    assert list(found.label["predicted_label"].int32_tensor.values) == [-3]


def test_a_block_is_what_its_records_are() -> None:
    """Whatever differs besides the numbers must be read record by record."""
    long, short = Tensor(np.ones(3, np.float32)), Tensor(np.ones(2, np.float32))
    label = Tensor(np.array([2.0], np.float32))
    alike = framed(*(Record({"values": long}, {"values": label}) for _ in range(3)))
    assert recordio.dense_block(alike) is not None
    assert recordio.dense_block(alike + framed(Record({"values": short}))) is None
    renamed = framed(Record({"values": long}), Record({"valuez": long}))
    assert recordio.dense_block(renamed) is None
    mistakable = framed(Record({"values": Tensor(np.array([2.0], np.float32))}, {"values": label}))
    assert recordio.dense_block(mistakable) is None
    assert recordio.dense_block(b"") is None


def test_a_record_cut_at_the_magic_number_is_one() -> None:
    magic = np.array([0xCED7230A], np.uint32).view(np.float32)
    payload = recordio.encode(Record({"values": Tensor(np.concatenate([magic, magic]))}))
    at = payload.index(struct.pack("<I", 0xCED7230A))
    parts = [payload[:at], b"", payload[at + 8 :]]
    framed_parts = b"".join(
        struct.pack("<II", 0xCED7230A, flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
        for flag, part in zip((1, 2, 3), parts, strict=True)
    )
    (found,) = recordio.frames(io.BytesIO(framed_parts))
    assert found == payload


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    record = Record({"values": Tensor(np.arange(50_000, dtype=np.float32))})

    def write() -> None:
        with open(path, "wb", buffering=0) as target:
            content = framed(record, record)
            for start in range(0, len(content), 7000):
                target.write(content[start : start + 7000])

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with open(path, "rb", buffering=0) as stream:
        found = list(recordio.read(stream))  # type: ignore[arg-type]
    writer.join()
    assert [len(each.features["values"].values) for each in found] == [50_000, 50_000]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1,2,3\n4,5,6\n", "a frame begins with"),
        (framed(Record({"values": Tensor(np.ones(3))}))[:-5], "too early"),
        (recordio.frame(b"\x0a\x7f"), "longer than its message"),
        (recordio.frame(b"\xff" * 12), "cut off"),
        (recordio.frame(b"\x0b"), "wire type 3"),
        (recordio.frame(b"\x0a\x08\x12\x06\x4a\x04\x0a\x02ab"), "bytes"),
    ],
)
def test_other_bytes_are_refused_with_what_was_found(content: bytes, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        list(recordio.read(io.BytesIO(content)))


def test_keys_and_values_must_be_as_many() -> None:
    record = Record({"values": Tensor(np.ones(2), np.array([1, 2, 3]), (9,))})
    with pytest.raises(RecordError, match="3 keys, but 2 values"):
        recordio.decode(recordio.encode(record))
