"""Making CloudFront forget what it keeps of a path."""

from typing import TYPE_CHECKING

from deployer.aws import client
from deployer.errors import AwsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_cloudfront import CloudFrontClient


def _cloudfront() -> "CloudFrontClient":
    return client("cloudfront")  # type: ignore[no-any-return]


def invalidate(distribution: str, path: str, reference: str) -> bool:
    """Invalidate a path; whether that is done. The same call again tells how far it is.

    https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html

    Args:
        reference: names the invalidation: a second call with it and the same path makes no second.
    """
    try:
        answer = _cloudfront().create_invalidation(
            DistributionId=distribution,
            InvalidationBatch={
                "Paths": {"Quantity": 1, "Items": [path]},
                "CallerReference": reference,
            },
        )
    except _cloudfront().exceptions.TooManyInvalidationsInProgress as error:
        raise AwsUnavailable(f"CreateInvalidation: {error}") from error
    return answer["Invalidation"]["Status"] == "Completed"
