"""Checks as people see them, and those that several commands make.

A check says what was found and the exact fix; a check without permission is a warning, never a
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


def show(screen: Screen, found: Sequence[Check]) -> None:
    """Show what checks found."""
    for check in found:
        said = f"{_MARKS[check.state]} {check.name}: {printable(check.found)}"
        screen.say(said, _STYLES[check.state])
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
    """A check for a script. `given`: what its commands must repeat."""
    fix = given.lines(check.fix)
    told = {"name": check.name, "state": check.state, "found": check.found, "fix": fix}
    more = {
        "why": check.why,
        "evidence": list(check.evidence),
        "repair": check.repair and check.repair.what,
    }
    return told | {name: value for name, value in more.items() if value}


def failed(found: Sequence[Check]) -> list[Check]:
    """Those that must be put right."""
    return [check for check in found if check.state == FAILED]


def identity(account: Account, stack: str | None = None) -> list[Check]:
    """The Region, and whether the credentials are valid and may be used here.

    Args:
        stack: one that they must allow to look at; None for every stack.
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
        if code_of(error) != "ValidationError":  # there is none, of which another check tells
            what, fix = explained(error, account, caller["Arn"])
            found = f"{caller['Arn']}: {what}"
            return [region, Check("credentials", FAILED, found, tuple(fix))]
    return [region, Check("credentials", OK, f"{caller['Arn']}, account {caller['Account']}")]


def covers(pattern: str, host: str) -> bool:
    """Whether a name of a certificate covers a host; a wildcard stands for one label (RFC 6125)."""
    if pattern.startswith("*.") and not host.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host


def certificate(told: Mapping[str, Any], domain: str, *, wildcard: bool) -> Check:
    """Whether a certificate is valid and covers the domain.

    Args:
        told: by DescribeCertificate.
        wildcard: whether the names below the domain must be covered too.
    """
    names = [str(told["DomainName"]), *told.get("SubjectAlternativeNames", [])]
    if told["Status"] != "ISSUED":
        fix = [
            "Each of these records must be in the domain's zone:",
            "  aws acm describe-certificate --query"
            " 'Certificate.DomainValidationOptions[].ResourceRecord'"
            f" --certificate-arn {told['CertificateArn']}",
        ]
        said = f"the certificate is {told['Status']}, not ISSUED"
        return Check("CertificateArn", FAILED, said, tuple(fix))
    wanted = [domain, *([f"*.{domain}"] if wildcard else [])]
    uncovered = [host for host in wanted if not any(covers(name, host) for name in names)]
    if uncovered:
        return Check(
            "CertificateArn",
            FAILED,
            f"the certificate is for {', '.join(dict.fromkeys(names))}; not for"
            f" {', '.join(uncovered)}",
            (
                "Ask for one that covers it:",
                f"  aws acm request-certificate --validation-method DNS --domain-name {domain}"
                + (f" --subject-alternative-names '*.{domain}'" if wildcard else ""),
            ),
        )
    return Check("CertificateArn", OK, f"ISSUED, for {', '.join(dict.fromkeys(names))}")
