"""A release that is steady bakes before it is live, and its alarms must be quiet until then."""

import pytest

from demo.stage import Stage


@pytest.mark.walk
def test_an_alarm_while_a_release_bakes_brings_the_one_before_back(live: Stage) -> None:
    cloudwatch, alarm = live.aws.client("cloudwatch"), f"{live.service}-errors"
    cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace="test",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    live.specify(alarms=[alarm], bake=2)
    baked = live.deployed("1.1.0")
    assert baked.status == "SUCCEEDED", (baked.error, baked.cause)
    assert "Bake" in baked.path

    live.specify(bake=300)  # longer than it can take to raise the alarm
    arn = live.started_by(live.release("1.2.0"))
    for now in live.follow(arn):
        if "Bake" in now.path:
            cloudwatch.set_alarm_state(
                AlarmName=alarm, StateValue="ALARM", StateReason="too many errors"
            )
            break
    done = live.ended(arn)
    assert (done.status, done.error) == ("FAILED", "AlarmRaised")
    record = live.records()[-1]
    assert record["outcome"] == "FAILED_ROLLED_BACK"
    assert "too many errors" in record["reason"]
