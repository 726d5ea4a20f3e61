import io
import json

import numpy as np
import pytest
from scipy import sparse

from loopwright.runtime.server import codecs
from loopwright.runtime.server import sparse as sparse_codecs
from loopwright.runtime.server.exchange import RequestRefused

NAN = float("nan")


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b"1,2\n3,4", [[1, 2], [3, 4]]),
        (b"1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
        (b"1.5e-3,-2", [[0.0015, -2]]),
        (b" 1 , 2 ", [[1, 2]]),
        (b".5,+1,01", [[0.5, 1, 1]]),
        (b"1,,3", [[1, NAN, 3]]),
        (b"nan,NaN,inf", [[NAN, NAN, float("inf")]]),
        (b'"1","2"', [[1, 2]]),
        (b"1,2\n\n3,4\n", [[1, 2], [3, 4]]),
        (b"7", [[7]]),
    ],
)
def test_csv_is_always_a_table(body, rows):
    np.testing.assert_array_equal(codecs.decode(body, codecs.CSV), np.array(rows, dtype=float))


def test_text_columns_stay_text_beside_numbers():
    table = codecs.decode(b'1,red\n2,"a, b"', codecs.CSV)
    assert table.tolist() == [[1.0, "red"], [2.0, "a, b"]]


@pytest.mark.parametrize("body", [b"1],[2", b"true,null", b"[1]", b'{"a":1}', b'"1"'])
def test_csv_cannot_smuggle_json_into_the_quick_way(body):
    assert codecs.plain_rows(body, codecs.CSV) is None


@pytest.mark.parametrize(
    "body",
    [b"[]", b"[1,2]", b"[[]]", b'{"a":[[1]]}', b"3", b'"x"', b"{", b"[{}]", b'["text"]'],
)
def test_only_plain_tables_take_the_quick_way(body):
    assert codecs.plain_rows(body, codecs.JSON) is None


@pytest.mark.parametrize(
    "rows", [[[1, "2"]], [[1], [2, 3]], [[[1]]], [[None]], [[True]], [[10**30]], [[1, [2]]]]
)
def test_rows_that_are_no_numbers_are_no_table(rows):
    assert codecs.table(rows) is None


def test_integers_and_floats_of_different_requests_join():
    table = codecs.table([[1, 2], [1.5, 2]])
    assert table.dtype == np.float64
    assert table.tolist() == [[1.0, 2.0], [1.5, 2.0]]


def test_json_of_pythons_clients():
    body = json.dumps([[NAN, None, 1.0]]).encode()
    np.testing.assert_array_equal(codecs.decode(body, codecs.JSON), [[NAN, NAN, 1.0]])
    assert codecs.decode(b'[[1, "red"]]', codecs.JSON).tolist() == [[1, "red"]]


def test_numpy_files_but_no_pickles():
    buffer = io.BytesIO()
    np.save(buffer, np.eye(2))
    np.testing.assert_array_equal(codecs.decode(buffer.getvalue(), codecs.NPY), np.eye(2))
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(RequestRefused, match="not valid application/x-npy"):
        codecs.decode(buffer.getvalue(), codecs.NPY)


def test_npz_is_a_sparse_matrix():
    buffer = io.BytesIO()
    sparse.save_npz(buffer, sparse.csr_matrix(np.eye(2)))
    np.testing.assert_array_equal(codecs.decode(buffer.getvalue(), codecs.NPZ).toarray(), np.eye(2))


def test_libsvm_indices_are_columns_as_they_stand():
    matrix = sparse_codecs.from_libsvm(b"1 0:1.5 2:2\n0 1:3\n", 4)
    assert matrix.toarray().tolist() == [[1.5, 0, 2, 0], [0, 3, 0, 0]]
    with pytest.raises(ValueError, match="outside the 2 features"):
        sparse_codecs.from_libsvm(b"1 2:1", 2)


@pytest.mark.parametrize(
    ("prediction", "media", "body"),
    [
        (np.array([1, 2]), codecs.JSON, b"[1,2]"),
        (np.array(["a"], dtype=object), codecs.JSON, b'["a"]'),
        ([[0.5, 1]], codecs.CSV, b"0.5,1\n"),
        (np.array([[1.0], [2.0]]), codecs.CSV, b"1.0\n2.0\n"),
        (np.float32(0.5), codecs.CSV, b"0.5\n"),
        (np.array([[1, 2], [3, 4]]), codecs.JSON_LINES, b"[1,2]\n[3,4]\n"),
    ],
)
def test_predictions_out(prediction, media, body):
    assert codecs.encode(prediction, media) == body


def test_npy_out_round_trips():
    body = codecs.encode([1.5, 2.5], codecs.NPY)
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), [1.5, 2.5])
