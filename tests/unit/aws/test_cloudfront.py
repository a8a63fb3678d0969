"""Invalidations, as CloudFront takes them."""

import pytest

from deployer.aws import cloudfront
from deployer.errors import AwsUnavailable
from tests.unit.conftest import Script, refusal
from tests.unit.samples import NOW

BATCH = {"Paths": {"Quantity": 1, "Items": ["/404.html"]}, "CallerReference": "release-1"}


@pytest.mark.parametrize(("status", "done"), [("InProgress", False), ("Completed", True)])
def test_an_invalidation_is_named_by_its_release(script: Script, status: str, done: bool) -> None:
    result = {"Id": "I1", "Status": status, "CreateTime": NOW, "InvalidationBatch": BATCH}
    script("cloudfront", "CreateInvalidation", {"Invalidation": result})
    assert cloudfront.invalidate("E1", "/404.html", "release-1") is done
    (request,) = script.requests("CreateInvalidation")
    assert request == {"DistributionId": "E1", "InvalidationBatch": BATCH}


def test_too_many_invalidations_at_once_are_tried_again(script: Script) -> None:
    script("cloudfront", "CreateInvalidation", refusal("TooManyInvalidationsInProgress"))
    with pytest.raises(AwsUnavailable, match="CreateInvalidation"):
        cloudfront.invalidate("E1", "/404.html", "release-1")
