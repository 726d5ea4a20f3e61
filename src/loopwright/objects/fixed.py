"""What AWS answers about a plain bucket: no versions, no policy, no rules, one owner.

The operations that would change any of it are refused by name, save those that ask for what is
the case already.
"""

from collections.abc import Callable
from typing import Any, Final

from loopwright.objects.call import Call, owner
from loopwright.objects.reads import check_version
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Response

ALL_BLOCKED: Final = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
OWNERSHIP: Final = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
RESULTS: Final[dict[str, dict[str, Any]]] = {
    "GetBucketVersioning": {},
    "GetBucketLogging": {},
    "GetBucketAccelerateConfiguration": {},
    "GetBucketNotificationConfiguration": {},
    "GetBucketRequestPayment": {"Payer": "BucketOwner"},
    "GetPublicAccessBlock": {"PublicAccessBlockConfiguration": ALL_BLOCKED},
    "GetBucketOwnershipControls": {"OwnershipControls": OWNERSHIP},
    "ListBucketAnalyticsConfigurations": {"IsTruncated": False},
    "ListBucketIntelligentTieringConfigurations": {"IsTruncated": False},
    "ListBucketInventoryConfigurations": {"IsTruncated": False},
    "ListBucketMetricsConfigurations": {"IsTruncated": False},
}
ABSENT: Final = {
    "GetBucketPolicy": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "GetBucketPolicyStatus": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "GetBucketLifecycleConfiguration": (
        "NoSuchLifecycleConfiguration",
        "The lifecycle configuration does not exist",
    ),
    "GetBucketEncryption": (
        "ServerSideEncryptionConfigurationNotFoundError",
        "The server side encryption configuration was not found",
    ),
    "GetBucketReplication": (
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    "GetBucketWebsite": (
        "NoSuchWebsiteConfiguration",
        "The specified bucket does not have a website configuration",
    ),
    "GetObjectLockConfiguration": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
    "GetBucketAnalyticsConfiguration": ("NoSuchConfiguration", "The configuration does not exist."),
    "GetBucketIntelligentTieringConfiguration": (
        "NoSuchConfiguration",
        "The configuration does not exist.",
    ),
    "GetBucketInventoryConfiguration": ("NoSuchConfiguration", "The configuration does not exist."),
    "GetBucketMetricsConfiguration": ("NoSuchConfiguration", "The configuration does not exist."),
}
# Deleting what a bucket cannot have is a success, as on AWS.
DELETIONS: Final = (
    "DeleteBucketPolicy",
    "DeleteBucketLifecycle",
    "DeleteBucketEncryption",
    "DeleteBucketReplication",
    "DeleteBucketWebsite",
)


def _result(call: Call) -> Response:
    call.objects.buckets.get(call.bucket)
    return call.reply(RESULTS[call.route.operation])


def _absent(call: Call) -> Response:
    call.objects.buckets.get(call.bucket)
    code, message = ABSENT[call.route.operation]
    raise ApiError(code, message, 404, BucketName=call.bucket)


def _deletion(call: Call) -> Response:
    call.objects.buckets.get(call.bucket)
    return Response(204)


def _require_subject(call: Call) -> None:
    """Refuse an ACL of what does not exist."""
    if call.key:
        check_version(call)
        call.objects.find(call.bucket, call.key)
    else:
        call.objects.buckets.get(call.bucket)


def _acl(call: Call) -> Response:
    _require_subject(call)
    me = owner(call.objects.account)
    grant = {"Grantee": {"Type": "CanonicalUser", **me}, "Permission": "FULL_CONTROL"}
    return call.reply({"Owner": me, "Grants": [grant]})


def _put_acl(call: Call) -> Response:
    """A private ACL is the case already; other canned ones were refused with their header."""
    _require_subject(call)
    if "x-amz-acl" not in call.headers:
        raise ApiError("AccessControlListNotSupported", "The bucket does not allow ACLs", 400)
    return Response(200)


def _no_lock(call: Call) -> Response:
    call.objects.find(call.bucket, call.key)
    raise ApiError("InvalidRequest", "Bucket is missing Object Lock Configuration", 400)


def _only(member: str, wanted: dict[str, Any]) -> Callable[[Call], Response]:
    """An operation that sets what is set already, and refuses all else."""

    def answer(call: Call) -> Response:
        call.objects.buckets.get(call.bucket)
        if call.params.get(member) != wanted:
            raise ApiError(
                "NotImplemented",
                f"{call.route.operation} is not implemented but for {wanted}.",
                501,
            )
        return Response(200)

    return answer


OPERATIONS: Final[dict[str, Callable[[Call], Response]]] = {
    **dict.fromkeys(RESULTS, _result),
    **dict.fromkeys(ABSENT, _absent),
    **dict.fromkeys(DELETIONS, _deletion),
    "GetBucketAcl": _acl,
    "GetObjectAcl": _acl,
    "PutBucketAcl": _put_acl,
    "PutObjectAcl": _put_acl,
    "GetObjectRetention": _no_lock,
    "GetObjectLegalHold": _no_lock,
    "PutPublicAccessBlock": _only("PublicAccessBlockConfiguration", ALL_BLOCKED),
    "PutBucketOwnershipControls": _only("OwnershipControls", OWNERSHIP),
    "PutBucketRequestPayment": _only("RequestPaymentConfiguration", {"Payer": "BucketOwner"}),
}
