"""Operations on buckets: making, finding, deleting, tagging, and their cross-origin rules."""

import re
from typing import Any, Final
from xml.sax.saxutils import escape

from loopwright.objects.buckets import FIRST_REGION
from loopwright.objects.call import DECLARATION, SPACE, Call, moment, owner
from loopwright.objects.cors import check_rules
from loopwright.objects.names import BUCKET_TAGS_MAX, invalid_argument, read_tags
from loopwright.objects.writes import tag_set
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Response

BUCKETS_PAGE: Final = 10_000
REGION_PATTERN: Final = re.compile(r"EU|[a-z][a-z0-9-]{2,62}")


def create_bucket(call: Call) -> Response:
    wanted = call.params.get("CreateBucketConfiguration", {})
    for name in ("Location", "Bucket"):
        if name in wanted:
            raise ApiError(
                "NotImplemented", f"Directory buckets ({name}) are not implemented.", 501
            )
    pairs = ((tag["Key"], tag["Value"]) for tag in wanted.get("Tags", []))
    tags = read_tags(pairs, BUCKET_TAGS_MAX)
    region = wanted.get("LocationConstraint") or None
    if region is not None and not REGION_PATTERN.fullmatch(region):
        raise ApiError(
            "InvalidLocationConstraint",
            f"The location constraint {region!r} is not valid: it must be a region's name.",
            400,
            LocationConstraint=region,
        )
    call.objects.buckets.create(call.bucket, region)
    if tags:
        call.objects.buckets.change(call.bucket, tags=tags)
    return Response(200, {"Location": f"/{call.bucket}"})


def head_bucket(call: Call) -> Response:
    bucket = call.objects.buckets.get(call.bucket)
    headers = {"x-amz-bucket-region": bucket.region, "x-amz-access-point-alias": "false"}
    return Response(200, headers | {"Content-Type": "application/xml"})


def delete_bucket(call: Call) -> Response:
    call.objects.buckets.delete(call.bucket)
    return Response(204)


def list_buckets(call: Call) -> Response:
    prefix, region = call.params.get("Prefix", ""), call.params.get("BucketRegion")
    limit = int(call.params.get("MaxBuckets", BUCKETS_PAGE))
    if not 1 <= limit <= BUCKETS_PAGE:
        raise invalid_argument("max-buckets", limit, f"max-buckets must be 1 to {BUCKETS_PAGE}.")
    token = call.params.get("ContinuationToken", "")
    found = [
        bucket
        for bucket in call.objects.buckets.all()
        if bucket.name.startswith(prefix)
        and bucket.name > token
        and region in (None, bucket.region)
    ]
    shown = [
        {"Name": b.name, "CreationDate": moment(b.created), "BucketRegion": b.region}
        for b in found[:limit]
    ]
    result: dict[str, Any] = {"Owner": owner(call.objects.account), "Buckets": shown}
    if prefix:
        result["Prefix"] = prefix
    if len(found) > limit:
        result["ContinuationToken"] = found[limit - 1].name
    return call.reply(result)


def get_bucket_location(call: Call) -> Response:
    """The document is the region itself, empty for us-east-1; the model cannot say that."""
    region = call.objects.buckets.get(call.bucket).region
    text = "" if region == FIRST_REGION else escape(region)
    body = DECLARATION + b"<LocationConstraint " + SPACE + b">"
    body += text.encode() + b"</LocationConstraint>"
    return Response(200, {"Content-Type": "application/xml"}, body)


def get_bucket_tagging(call: Call) -> Response:
    tags = call.objects.buckets.get(call.bucket).tags
    if not tags:
        raise ApiError("NoSuchTagSet", "The TagSet does not exist", 404, BucketName=call.bucket)
    return call.reply({"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]})


def put_bucket_tagging(call: Call) -> Response:
    pairs = ((tag["Key"], tag["Value"]) for tag in tag_set(call))
    call.objects.buckets.change(call.bucket, tags=read_tags(pairs, BUCKET_TAGS_MAX))
    return Response(204)


def delete_bucket_tagging(call: Call) -> Response:
    call.objects.buckets.change(call.bucket, tags={})
    return Response(204)


def get_bucket_cors(call: Call) -> Response:
    rules = call.objects.buckets.get(call.bucket).cors
    if not rules:
        raise ApiError(
            "NoSuchCORSConfiguration",
            "The CORS configuration does not exist",
            404,
            BucketName=call.bucket,
        )
    return call.reply({"CORSRules": rules})


def put_bucket_cors(call: Call) -> Response:
    rules = check_rules(call.params.get("CORSConfiguration", {}).get("CORSRules", []))
    call.objects.buckets.change(call.bucket, cors=rules)
    return Response(200)


def delete_bucket_cors(call: Call) -> Response:
    call.objects.buckets.change(call.bucket, cors=[])
    return Response(204)


OPERATIONS: Final = {
    "CreateBucket": create_bucket,
    "HeadBucket": head_bucket,
    "DeleteBucket": delete_bucket,
    "ListBuckets": list_buckets,
    "GetBucketLocation": get_bucket_location,
    "GetBucketTagging": get_bucket_tagging,
    "PutBucketTagging": put_bucket_tagging,
    "DeleteBucketTagging": delete_bucket_tagging,
    "GetBucketCors": get_bucket_cors,
    "PutBucketCors": put_bucket_cors,
    "DeleteBucketCors": delete_bucket_cors,
}
