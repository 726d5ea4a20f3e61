"""awswrangler (AWS SDK for pandas): its S3 part."""

import awswrangler as wr
import boto3
import pandas as pd
import told

told.client("awswrangler (S3)", wr.__version__)
BUCKET = "wrangler-bucket"
boto3.client("s3").create_bucket(Bucket=BUCKET)
FRAME = pd.DataFrame({"id": [1, 2, 3], "year": [2024, 2024, 2025], "value": ["x", "y", "z"]})

with told.check("CSV, JSON and Parquet: write and read"):
    wr.s3.to_csv(FRAME, f"s3://{BUCKET}/a.csv", index=False)
    pd.testing.assert_frame_equal(wr.s3.read_csv(f"s3://{BUCKET}/a.csv"), FRAME)
    wr.s3.to_json(FRAME, f"s3://{BUCKET}/a.json", orient="records", lines=True)
    found = wr.s3.read_json(f"s3://{BUCKET}/a.json", orient="records", lines=True)
    pd.testing.assert_frame_equal(found, FRAME)
    wr.s3.to_parquet(FRAME, f"s3://{BUCKET}/a.parquet")
    found = wr.s3.read_parquet(f"s3://{BUCKET}/a.parquet")
    assert found["id"].tolist() == [1, 2, 3]

with told.check("a Parquet dataset: partitions, append, overwrite, a filter on partitions"):
    path = f"s3://{BUCKET}/dataset/"
    wr.s3.to_parquet(FRAME, path, dataset=True, partition_cols=["year"])
    wr.s3.to_parquet(FRAME, path, dataset=True, partition_cols=["year"], mode="append")
    assert len(wr.s3.read_parquet(path, dataset=True)) == 6
    found = wr.s3.read_parquet(
        path, dataset=True, partition_filter=lambda part: part["year"] == "2025"
    )
    assert found["value"].tolist() == ["z", "z"]
    wr.s3.to_parquet(FRAME, path, dataset=True, mode="overwrite")
    assert len(wr.s3.read_parquet(path, dataset=True)) == 3
    types, _ = wr.s3.read_parquet_metadata(path, dataset=True)
    assert types["id"] == "bigint"

with told.check("reading in chunks, uploading and downloading files, waiting for objects"):
    chunks = list(wr.s3.read_csv(f"s3://{BUCKET}/a.csv", chunksize=2))
    assert [len(chunk) for chunk in chunks] == [2, 1]
    with open("local.bin", "wb") as file:
        file.write(bytes(9 * 2**20))
    wr.s3.upload("local.bin", f"s3://{BUCKET}/local.bin")
    wr.s3.wait_objects_exist([f"s3://{BUCKET}/local.bin"], delay=1, max_attempts=2)
    wr.s3.download(f"s3://{BUCKET}/local.bin", "back.bin")
    assert wr.s3.size_objects([f"s3://{BUCKET}/local.bin"])[f"s3://{BUCKET}/local.bin"] == 9 * 2**20

with told.check("list, describe, copy, delete; object and folder look-ups"):
    assert f"s3://{BUCKET}/a.csv" in wr.s3.list_objects(f"s3://{BUCKET}/")
    assert f"s3://{BUCKET}/dataset/" in wr.s3.list_directories(f"s3://{BUCKET}/")
    assert wr.s3.list_objects(f"s3://{BUCKET}/*.json") == [f"s3://{BUCKET}/a.json"]
    found = wr.s3.describe_objects([f"s3://{BUCKET}/a.csv"])
    assert found[f"s3://{BUCKET}/a.csv"]["ContentLength"] > 0
    wr.s3.copy_objects([f"s3://{BUCKET}/a.csv"], f"s3://{BUCKET}/", f"s3://{BUCKET}/copied/")
    assert wr.s3.does_object_exist(f"s3://{BUCKET}/copied/a.csv")
    wr.s3.merge_datasets(f"s3://{BUCKET}/copied/", f"s3://{BUCKET}/merged/")
    wr.s3.delete_objects(f"s3://{BUCKET}/copied/")
    assert not wr.s3.list_objects(f"s3://{BUCKET}/copied/")
    assert wr.s3.get_bucket_region(BUCKET) == "us-east-1"
    assert BUCKET in wr.s3.list_buckets()
told.end()
