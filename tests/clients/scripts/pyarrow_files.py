"""pyarrow's own S3 filesystem, which is the AWS SDK for C++."""

import boto3
import pyarrow as pa
import told
from pyarrow import dataset, fs, parquet

told.client("pyarrow (S3FileSystem)", pa.__version__)
BUCKET = "pyarrow-bucket"
boto3.client("s3").create_bucket(Bucket=BUCKET)
TABLE = pa.table({"year": [2024, 2024, 2025], "value": [1.5, 2.5, 3.5]})

with told.check("addresses, FileSystem.from_uri and read_table alike, with the variables alone"):
    s3, _ = fs.FileSystem.from_uri(f"s3://{BUCKET}")
    parquet.write_table(TABLE, f"s3://{BUCKET}/by-address.parquet")
    assert parquet.read_table(f"s3://{BUCKET}/by-address.parquet").equals(TABLE)
    with s3.open_output_stream(
        f"{BUCKET}/first.txt", metadata={"Content-Type": "text/plain"}
    ) as out:
        out.write(b"Hello")
    assert s3.open_input_file(f"{BUCKET}/first.txt").read() == b"Hello"
    assert s3.open_input_stream(f"{BUCKET}/first.txt").metadata()["Content-Type"] == b"text/plain"

s3 = fs.S3FileSystem(access_key=told.KEY, secret_key=told.SECRET, region="us-east-1",
                     # The class itself, unlike from_uri, does not read AWS_ENDPOINT_URL.
                     endpoint_override=told.URL.partition("//")[2], scheme="http",
                     allow_bucket_creation=True, allow_bucket_deletion=True)  # fmt: skip

with told.check("Parquet: write a table, read columns, read by a filter"):
    parquet.write_table(TABLE, f"{BUCKET}/table.parquet", filesystem=s3)
    assert parquet.read_table(f"{BUCKET}/table.parquet", filesystem=s3).equals(TABLE)
    found = parquet.read_table(f"{BUCKET}/table.parquet", filesystem=s3, columns=["value"],
                               filters=[("year", "=", 2025)])  # fmt: skip
    assert found.to_pydict() == {"value": [3.5]}

with told.check("a partitioned dataset: write, discover, scan"):
    dataset.write_dataset(TABLE, f"{BUCKET}/parts", filesystem=s3, format="parquet",
                          partitioning=["year"], partitioning_flavor="hive")  # fmt: skip
    found = dataset.dataset(f"{BUCKET}/parts", filesystem=s3, partitioning="hive")
    assert len(found.files) == 2
    assert found.to_table(filter=dataset.field("year") == 2024)["value"].to_pylist() == [1.5, 2.5]

with told.check("more than one part, and a read in the middle"):
    body = bytes(range(256)) * 4096 * 24
    with s3.open_output_stream(f"{BUCKET}/big.bin") as out:
        out.write(body)
    assert s3.get_file_info(f"{BUCKET}/big.bin").size == len(body)
    with s3.open_input_file(f"{BUCKET}/big.bin") as file:
        assert file.read_at(999, 11_000_001) == body[11_000_001:11_001_000]

with told.check("folders, listing, copy, move, delete; names with blanks, plus signs, umlauts"):
    s3.create_dir(f"{BUCKET}/folder/inner")
    for name in ("a b", "c+d", "é"):
        with s3.open_output_stream(f"{BUCKET}/odd/{name}") as out:
            out.write(name.encode())
        s3.copy_file(f"{BUCKET}/odd/{name}", f"{BUCKET}/copied/{name}")
        assert s3.open_input_file(f"{BUCKET}/copied/{name}").read() == name.encode()
    s3.move(f"{BUCKET}/copied/c+d", f"{BUCKET}/moved/c+d")
    listed = s3.get_file_info(fs.FileSelector(BUCKET, recursive=True))
    assert {info.path for info in listed} >= {f"{BUCKET}/odd/a b", f"{BUCKET}/moved/c+d"}
    s3.delete_dir(f"{BUCKET}/odd")
    s3.delete_file(f"{BUCKET}/moved/c+d")
    assert s3.get_file_info(f"{BUCKET}/odd/é").type == fs.FileType.NotFound
    with told.refused(FileNotFoundError):
        s3.open_input_file(f"{BUCKET}/nothing")

with told.check("make and remove a bucket"):
    s3.create_dir("pyarrow-made")
    s3.delete_dir("pyarrow-made")
told.end()
