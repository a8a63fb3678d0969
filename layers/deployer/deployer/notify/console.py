"""What an execution's ARN says: its page in the AWS console, and the deployer. Imports nothing."""

# https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html
_DOMAINS = {"cn-": "amazonaws.cn", "us-gov-": "amazonaws-us-gov.com"}


def execution(arn: str) -> str:
    """Return the URL of an execution's page."""
    region = arn.split(":")[3]
    ends = (end for start, end in _DOMAINS.items() if region.startswith(start))
    domain = next(ends, "aws.amazon.com")
    host = f"{region}.console" if domain == "aws.amazon.com" else "console"
    return f"https://{host}.{domain}/states/home?region={region}#/v2/executions/details/{arn}"


def stack(arn: str) -> str:
    """Return the deployer's stack, after which its state machines are named `<stack>-Deploy`."""
    return arn.split(":")[6].rpartition("-")[0] or "deployer"
