"""Polars: lazy scans and writes of s3:// addresses, by its own object store client in Rust."""

import boto3
import polars as pl
import told

told.client("Polars", pl.__version__)
BUCKET = "polars-bucket"
s3 = boto3.client("s3")
s3.create_bucket(Bucket=BUCKET)
FRAME = pl.DataFrame({"year": [2024, 2024, 2025], "value": [1.5, 2.5, 3.5]})
OPTIONS = {
    "aws_access_key_id": told.KEY,
    "aws_secret_access_key": told.SECRET,
    "aws_region": "us-east-1",
    "aws_endpoint_url": told.URL,
    "aws_allow_http": "true",
}

with told.check("the environment's variables alone (and aws_allow_http)"):
    plain = {"aws_allow_http": "true"}
    FRAME.write_parquet(f"s3://{BUCKET}/env.parquet", storage_options=plain)
    assert pl.read_parquet(f"s3://{BUCKET}/env.parquet", storage_options=plain).equals(FRAME)

with told.check("write_parquet, scan_parquet, read_parquet with storage_options"):
    address = f"s3://{BUCKET}/one.parquet"
    FRAME.write_parquet(address, storage_options=OPTIONS)
    assert pl.read_parquet(address, storage_options=OPTIONS).equals(FRAME)
    found = pl.scan_parquet(address, storage_options=OPTIONS).filter(pl.col("year") == 2025)
    assert found.select("value").collect().to_series().to_list() == [3.5]

with told.check("sink_parquet, and a scan over many files by a pattern"):
    for year in (2024, 2025):
        part = FRAME.lazy().filter(pl.col("year") == year)
        part.sink_parquet(f"s3://{BUCKET}/parts/year={year}/0.parquet", storage_options=OPTIONS)
    found = pl.scan_parquet(f"s3://{BUCKET}/parts/**/*.parquet", storage_options=OPTIONS)
    assert found.select(pl.col("value").sum()).collect().item() == 7.5

with told.check("CSV and NDJSON"):
    FRAME.write_csv(f"s3://{BUCKET}/a.csv", storage_options=OPTIONS)
    assert pl.read_csv(f"s3://{BUCKET}/a.csv", storage_options=OPTIONS).equals(FRAME)
    assert pl.scan_csv(f"s3://{BUCKET}/a.csv", storage_options=OPTIONS).collect().equals(FRAME)
    FRAME.lazy().sink_ndjson(f"s3://{BUCKET}/a.ndjson", storage_options=OPTIONS)
    assert (
        pl.scan_ndjson(f"s3://{BUCKET}/a.ndjson", storage_options=OPTIONS).collect().equals(FRAME)
    )

with told.check("more than one part"):
    big = pl.select(pl.int_range(4_000_000).alias("n").shuffle(seed=1))
    big.lazy().sink_parquet(f"s3://{BUCKET}/big.parquet", compression="uncompressed",
                            storage_options=OPTIONS)  # fmt: skip
    assert s3.head_object(Bucket=BUCKET, Key="big.parquet")["ContentLength"] > 16_000_000
    found = pl.scan_parquet(f"s3://{BUCKET}/big.parquet", storage_options=OPTIONS)
    assert found.select(pl.col("n").max()).collect().item() == 3_999_999

with told.check("what is not there is FileNotFoundError or says so"):
    with told.refused(Exception, "nothing.parquet"):
        pl.read_parquet(f"s3://{BUCKET}/nothing.parquet", storage_options=OPTIONS)
told.end()
