"""Cache invalidations in CloudFront."""

from typing import TYPE_CHECKING

from deployer.aws import client
from deployer.errors import AwsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_cloudfront import CloudFrontClient


def _cloudfront() -> "CloudFrontClient":
    return client("cloudfront")  # type: ignore[no-any-return]


def invalidate(distribution: str, path: str, reference: str) -> bool:
    """Invalidate a path, and return whether that is complete. Repeat the call to poll.

    https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html

    Args:
        reference: names the invalidation; a repeated call with the same path creates no second one.
    """
    try:
        response = _cloudfront().create_invalidation(
            DistributionId=distribution,
            InvalidationBatch={
                "Paths": {"Quantity": 1, "Items": [path]},
                "CallerReference": reference,
            },
        )
    except _cloudfront().exceptions.TooManyInvalidationsInProgress as error:
        raise AwsUnavailable(f"CreateInvalidation: {error}") from error
    return response["Invalidation"]["Status"] == "Completed"
