"""s3fs, and pandas over it: files of S3 by fsspec."""

import boto3
import pandas as pd
import s3fs
import told

told.client("s3fs (with pandas and fsspec)", s3fs.__version__)
BUCKET = "s3fs-bucket"
boto3.client("s3").create_bucket(Bucket=BUCKET)
fs = s3fs.S3FileSystem()

with told.check("write, read, list, information, append, a range"):
    with fs.open(f"{BUCKET}/notes/first.txt", "wb") as file:
        file.write(b"Hello, ")
    with fs.open(f"{BUCKET}/notes/first.txt", "ab") as file:
        file.write(b"world")
    assert fs.cat(f"{BUCKET}/notes/first.txt") == b"Hello, world"
    assert fs.ls(f"{BUCKET}/notes") == [f"{BUCKET}/notes/first.txt"]
    assert fs.info(f"{BUCKET}/notes/first.txt")["size"] == 12
    assert fs.cat_file(f"{BUCKET}/notes/first.txt", start=7, end=12) == b"world"

with told.check("more than one part, seeking in the middle"):
    body = bytes(range(256)) * 4096 * 12
    with fs.open(f"{BUCKET}/big.bin", "wb", block_size=5 * 2**20) as file:
        file.write(body)
    with fs.open(f"{BUCKET}/big.bin", "rb", block_size=2**20) as file:
        file.seek(7_000_001)
        assert file.read(999) == body[7_000_001:7_001_000]
    assert fs.checksum(f"{BUCKET}/big.bin")

with told.check(
    "copy, move, glob, find, walk, remove a folder; names with blanks, plus signs, umlauts"
):
    names = ["a b.csv", "c+d.csv", "é=1/f&g.csv", "100%.csv"]
    for name in names:
        fs.pipe(f"{BUCKET}/odd/{name}", name.encode())
    assert sorted(fs.find(f"{BUCKET}/odd")) == sorted(f"{BUCKET}/odd/{name}" for name in names)
    assert len(fs.glob(f"{BUCKET}/odd/*.csv")) == 3
    for name in names:
        fs.copy(f"{BUCKET}/odd/{name}", f"{BUCKET}/copied/{name}")
        assert fs.cat(f"{BUCKET}/copied/{name}") == name.encode()
    fs.mv(f"{BUCKET}/copied/c+d.csv", f"{BUCKET}/moved/c+d.csv")
    assert not fs.exists(f"{BUCKET}/copied/c+d.csv") and fs.exists(f"{BUCKET}/moved/c+d.csv")
    assert [folder for folder, _, _ in fs.walk(f"{BUCKET}/odd")]
    fs.rm(f"{BUCKET}/odd", recursive=True)
    fs.invalidate_cache()
    assert not fs.exists(f"{BUCKET}/odd")

with told.check("metadata, tags, touch, a presigned address, FileNotFoundError"):
    path = f"{BUCKET}/notes/tagged.txt"
    with fs.open(path, "wb", ContentType="text/plain", Metadata={"owner": "ana"}) as file:
        file.write(b"x")
    assert fs.metadata(path)["owner"] == "ana"
    fs.setxattr(path, owner="ben")
    assert fs.getxattr(path, "owner") == "ben"
    fs.put_tags(path, {"team": "data"})
    assert fs.get_tags(path) == {"team": "data"}
    fs.touch(f"{BUCKET}/notes/empty")
    assert fs.size(f"{BUCKET}/notes/empty") == 0
    assert fs.sign(path).startswith(told.URL)
    with told.refused(FileNotFoundError):
        fs.open(f"{BUCKET}/nothing").read()
    with told.refused(FileNotFoundError):
        fs.ls("no-such-bucket-anywhere/x")

with told.check("pandas reads and writes s3:// addresses, CSV and Parquet"):
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    for kind in ("csv", "parquet"):
        address = f"s3://{BUCKET}/frames/rows.{kind}"
        getattr(frame, f"to_{kind}")(address, index=False)
        pd.testing.assert_frame_equal(getattr(pd, f"read_{kind}")(address), frame)

with told.check("make and remove a bucket"):
    fs.mkdir("s3fs-made")
    assert fs.exists("s3fs-made")
    fs.rmdir("s3fs-made")
told.end()
