"""Show checks, and run those that several commands share.

A check reports its result and the exact fix; a check without permission is a warning, never a
failure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cli.aws import AWS_ERRORS, Account, code_of, explained
from cli.nextstep import Given
from cli.screen import Screen, printable
from deployer.check import FAILED, OK, WARNING, Check

_MARKS = {OK: "✓", WARNING: "!", FAILED: "✗"}
_STYLES = {OK: None, WARNING: "yellow", FAILED: "red"}


def show(screen: Screen, checks: Sequence[Check]) -> None:
    """Show the results of checks."""
    for check in checks:
        text = f"{_MARKS[check.state]} {check.name}: {printable(check.finding)}"
        screen.say(text, _STYLES[check.state])
        if check.why:
            screen.say(f"    {check.why}")
        for line in check.evidence:
            screen.say(f"    | {printable(line)}", "dim")
        for line in check.fix:
            if line.startswith("  "):
                screen.command(f"    {line.strip()}")
            else:
                screen.say(f"    {line}")


def document(check: Check, given: Given) -> dict[str, Any]:
    """Return a check as a document for scripts.

    Args:
        given: the options that its commands must repeat.
    """
    fix = given.lines(check.fix)
    fields = {"name": check.name, "state": check.state, "finding": check.finding, "fix": fix}
    optional = {
        "why": check.why,
        "evidence": list(check.evidence),
        "repair": check.repair and check.repair.what,
    }
    return fields | {name: value for name, value in optional.items() if value}


def failed(checks: Sequence[Check]) -> list[Check]:
    """Return the failed checks."""
    return [check for check in checks if check.state == FAILED]


def identity(account: Account, stack: str | None = None) -> list[Check]:
    """Check the Region, and that the credentials are valid and have permission.

    Args:
        stack: the stack that they must be allowed to describe; None for all stacks.
    """
    region = Check("region", OK, account.region)
    try:
        caller = account.client("sts").get_caller_identity()
    except AWS_ERRORS as error:
        what, fix = explained(error, account)
        return [region, Check("credentials", FAILED, what, tuple(fix))]
    try:
        account.client("cloudformation").describe_stacks(**({"StackName": stack} if stack else {}))
    except AWS_ERRORS as error:
        if code_of(error) != "ValidationError":  # no such stack, which another check reports
            what, fix = explained(error, account, caller["Arn"])
            problem = f"{caller['Arn']}: {what}"
            return [region, Check("credentials", FAILED, problem, tuple(fix))]
    return [region, Check("credentials", OK, f"{caller['Arn']}, account {caller['Account']}")]


def covers(pattern: str, host: str) -> bool:
    """Return whether a certificate's name covers a host; a wildcard is one label (RFC 6125)."""
    if pattern.startswith("*.") and not host.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host


def certificate(description: Mapping[str, Any], domain: str, *, wildcard: bool) -> Check:
    """Check that a certificate is valid and covers the domain.

    Args:
        description: from DescribeCertificate.
        wildcard: whether the names below the domain must be covered too.
    """
    names = [str(description["DomainName"]), *description.get("SubjectAlternativeNames", [])]
    if description["Status"] != "ISSUED":
        fix = [
            "Each of these records must be in the domain's zone:",
            "  aws acm describe-certificate --query"
            " 'Certificate.DomainValidationOptions[].ResourceRecord'"
            f" --certificate-arn {description['CertificateArn']}",
        ]
        problem = f"the certificate is {description['Status']}, not ISSUED"
        return Check("CertificateArn", FAILED, problem, tuple(fix))
    hosts = [domain, *([f"*.{domain}"] if wildcard else [])]
    uncovered = [host for host in hosts if not any(covers(name, host) for name in names)]
    if uncovered:
        return Check(
            "CertificateArn",
            FAILED,
            f"the certificate is for {', '.join(dict.fromkeys(names))}; not for"
            f" {', '.join(uncovered)}",
            (
                "Request one that covers it:",
                f"  aws acm request-certificate --validation-method DNS --domain-name {domain}"
                + (f" --subject-alternative-names '*.{domain}'" if wildcard else ""),
            ),
        )
    return Check("CertificateArn", OK, f"ISSUED, for {', '.join(dict.fromkeys(names))}")
