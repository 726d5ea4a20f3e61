"""smart_open: streams of s3:// addresses by boto3."""

import importlib.metadata

import boto3
import told
from smart_open import open as smart
from smart_open import s3 as smart_s3

told.client("smart_open", importlib.metadata.version("smart_open"))
BUCKET = "smart-bucket"
boto3.client("s3").create_bucket(Bucket=BUCKET)

with told.check("write and read text, also compressed by the name's ending"):
    for name in ("a.txt", "a.txt.gz", "a.txt.bz2"):
        with smart(f"s3://{BUCKET}/{name}", "w") as file:
            file.write("first\nsecond\n")
        with smart(f"s3://{BUCKET}/{name}") as file:
            assert file.readlines() == ["first\n", "second\n"]

with told.check("several parts, a seek, a client of one's own, no multipart upload"):
    body = bytes(range(256)) * 4096 * 12
    client = boto3.client("s3", endpoint_url=told.URL)
    settings = {"client": client, "min_part_size": 5 * 2**20}
    with smart(f"s3://{BUCKET}/big.bin", "wb", transport_params=settings) as file:
        file.write(body)
    with smart(f"s3://{BUCKET}/big.bin", "rb") as file:
        file.seek(9_000_001)
        assert file.read(999) == body[9_000_001:9_001_000]
    with smart(
        f"s3://{BUCKET}/one.bin", "wb", transport_params={"multipart_upload": False}
    ) as file:
        file.write(b"one")
    with smart(f"s3://{BUCKET}/one.bin", "rb") as file:
        assert file.read() == b"one"

with told.check("an upload that raises leaves nothing"):
    with told.refused(ZeroDivisionError), smart(f"s3://{BUCKET}/broken", "wb") as file:
        file.write(b"x" * 100)
        raise ZeroDivisionError
    left = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    assert not left, left
    with told.refused(OSError, "NoSuchKey"):
        smart(f"s3://{BUCKET}/broken", "rb").read()

with told.check("iter_bucket reads many objects at once"):
    for number in range(20):
        with smart(f"s3://{BUCKET}/many/{number}", "wb") as file:
            file.write(str(number).encode())
    found = sorted(int(body) for _, body in smart_s3.iter_bucket(BUCKET, prefix="many/", workers=4))
    assert found == list(range(20))
told.end()
