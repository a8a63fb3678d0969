"""Making CloudFront forget what it keeps of a path."""

from typing import Any

from deployer.aws import client
from deployer.errors import AwsUnavailable


def _cloudfront() -> Any:
    return client("cloudfront")


def invalidate(distribution: str, path: str, reference: str) -> bool:
    """Invalidate a path; whether that is done. The same call again tells how far it is.

    https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html

    Args:
        reference: names the invalidation: a second call with it and the same path makes no second.
    """
    batch = {"Paths": {"Quantity": 1, "Items": [path]}, "CallerReference": reference}
    try:
        answer = _cloudfront().create_invalidation(
            DistributionId=distribution, InvalidationBatch=batch
        )
    except _cloudfront().exceptions.TooManyInvalidationsInProgress as error:
        raise AwsUnavailable(f"CreateInvalidation: {error}") from error
    return bool(answer["Invalidation"]["Status"] == "Completed")
