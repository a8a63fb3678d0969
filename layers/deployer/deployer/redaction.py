"""Strike credentials out of text that others wrote: log lines, events, answers, error messages.

Every text that reaches a record, a log, an event or a terminal passes `redact`. The rules are those
of detect-secrets (keywords and token formats), which tests/unit/test_redaction.py holds them
against. The package itself is not used here: it finds secrets in source code but does not replace
them, its patterns are not linear in the length of a line, and importing it costs a cold start more
than 100 ms (each of its rules imports `requests`).

Doubt is decided for striking out: an ordinary word may be lost, a credential must not stay. Each
step takes time in proportion to the text: every pattern starts at a boundary and never gives back
what it has matched.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

STRUCK = "***"

_LONGEST_NAME = 128
_PASSES = 8  # what was struck out may bring another to light

# In a name: an assignment to it is one of a credential.
_SECRET_NAME = re.compile(
    r"passw(?:or)?[dt](?!less)|passphrase|passcode|pwd|contrase[ñn]a|secret(?!ar|smanager|ive|ion)"
    r"|token(?!i[sz]|ed\b)|credential|(?<![a-z])creds?(?![a-z])"
    r"|(?:access|account|admin|api|app|auth|authorization|cipher|client|consumer|database|db"
    r"|decryption|deploy|encryption|hmac|instrumentation|jwt|license|master|priv|private|root|secret"
    r"|service|session|shared|signing|ssh|storage|subscription|webhook)[_.\- ]?key(?![a-z])"
    r"|(?:admin|database|db|http|key|mail|mysql|pg|postgres|redis|root|smtp|user)[_.\-]?pass(?![a-z])"
    r"|(?<=[_.\-])p(?:ass|w)(?![a-z])|jsessionid|phpsessid|sessid(?![a-z])|accountkey|^_auth$"
)
# Their whole line is the credential, and words of it may be quoted.
_HEADER = re.compile(r"(?:proxy[_-]?)?authorization$|(?:set[_-]?)?cookie2?$")
# A name for what is said about a credential.
_DESCRIBES = re.compile(
    r"(?:arns?|counts?|dir|enabled|endpoint|expir\w*|files?|format|interval|len|length|lifetime"
    r"|limit|manager|names?|paths?|policy|provider|required|rotation|size|status|timeout|ttl|types?"
    r"|ur[il]s?|usage|version)$"
)
_SEGMENT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-zñ]+|\d+")
# `name = value` in its many forms. Single letters and short words count only before a `=`.
_PAIR = re.compile(
    r"""(?<![\w.\-])
    (?P<name>(?i:access|account|api|auth|client|encryption|license|private|secret|shared|signing)[ ]
    (?i:key)(?!\w)|[\w.\-]++)
    (?P<close>\\*+["'`]?)\]?
    (?P<sep>[ \t]*+(?::=|=>|={1,3}|!==?|:|>|,(?=[ \t]*+\\*+["']))[ \t]*+)""",
    re.VERBOSE,
)
_SHORT = re.compile(r"(?:pass|pw|sig|signature|passkey)$")
# `--password value`, `PASSWORD 'value'`, `IDENTIFIED BY 'value'`, `password value` of .netrc
_SPACED = re.compile(
    r"""(?<![\w.\-])(?:--?(?P<flag>[A-Za-z_][\w.\-]*+)[ \t]++(?!-)
    |(?i:password|passwd|passphrase|identified[ \t]by)[ \t]++(?=\\*+["'])
    |(?i:login)[ \t]++\S++[ \t]++(?i:password)[ \t]++)""",
    re.VERBOSE,
)
# {"name": "DB_PASSWORD", "value": "…"}, as environments of containers are written
_NAMED_VALUE = re.compile(
    r"""(?P<name>[\w.\-]++)\\*+["'],[ \t]*+\\*+["'](?i:value)\\*+["'][ \t]*+:[ \t]*+"""
)
_VALUE_NAMED = re.compile(
    r"""\\*+["'](?i:value)\\*+["'][ \t]*+:[ \t]*+\\*+(?P<q>["'])(?P<value>[^"'\\]++)\\*+["'],[ \t]*+
    \\*+["'](?i:name|key)\\*+["'][ \t]*+:[ \t]*+\\*+["'](?P<name>[\w.\-]++)""",
    re.VERBOSE,
)
_QUOTE = re.compile(r"""[bBrRuU@]?(?P<open>\\*+["'`])""")
_INSIDE = {quote: re.compile(rf"(?:[^{quote}\\]|\\.)*+", re.DOTALL) for quote in ('"', "'", "`")}
# An unquoted value ends at a blank, at the next name, or at a closing tag.
_BARE = re.compile(
    r"""(?:(?![&,;][ \t]*+\\*+["'`]?[A-Za-z_][\w.\-]*+\\*+["'`]?[=:]|</|\\[nrt])\S)++"""
)
_LINE = re.compile(r"[^\r\n]*+")
_IS_NAME = re.compile(r"""\\*+["'][\w.\-]++\\*+["'][ \t]*+[:=]""")
_OBJECTS = re.compile(r"[ \t\r\n]*+\\*+[{\[]")
_CLOSERS = "\"'`)]}>,;\\"
# What stands in a value's place and is none.
_NO_VALUE = re.compile(
    r"\*+|x{3,}|(?:null|none|nil|undefined|true|false|must|is|are|was|has|needs|not|no|cannot|can't"
    r"|the|an?|missing|invalid|required|expected|failed|unable|could|does|did|there|this)[.,;:]?"
    r"|arn:aws[\w-]*:[a-z0-9-]+:.*|\$\{[\w.:-]+\}|\$\([\w. -]+\)|\{\{.*\}\}|<[\w -]+>?|%[sdvr]"
    r"|\[?redacted\]?"
    r"|\w*(?:exception|error|denied)[.,;:]?",
    re.IGNORECASE,
)
_SOURCE_LINE = re.compile(r"\d{1,7}(?::\d{1,7}){0,2}[:,)]{0,2}(?!\S)")  # after `token.go:`
_SCHEME = re.compile(r"(?i)(?<![\w-])(?P<scheme>bearer|basic)[ \t]++(?P<value>[\w.~+/\-]{6,}+=*+)")
_NO_BEARER = re.compile(r"(?i)auth\w*|tokens?|scheme|realm|header|credentials?|challenge")
_CURL_USER = re.compile(
    r"""(?<!\S)((?:-u|--user|--proxy-user)[ \t=]*+["']?[^\s:"']++:)[^\s"'*]++"""
)
_RUN = re.compile(r"""[^\s"'<>`]++""")
_AUTHORITY = re.compile(r"[^/?#]*+")
_HOSTS = re.compile(
    r"[\w.\-*]*(?::\d{1,5})?(?:,[\w.\-]+(?::\d{1,5})?)*|\[[0-9a-fA-F:.%]*\](?::\d{1,5})?"
)
_DRIVER = re.compile(r"@(?:tcp6?|udp|unix|cloudsql)\(")
_OAUTH_CODE = re.compile(
    r"(?<=[?&])((?:code|sig|signature|x-amz-signature|x-amz-credential)=)[^&\s\"'<>*]++", re.I
)
# https://github.com/Yelp/detect-secrets/tree/master/detect_secrets/plugins, and newer ones
_FORMATS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])"
    r"|gh[oprsu]_\w{36,}+|github_pat_\w{22,}+"
    r"|gl(?:agent|cbt|dt|ft|imt|oas|pat|ptt|rt|soat)-[\w-]{20,}+|GR1348941[\w-]{20,}+"
    r"|xox[a-z](?:-[\w]++){2,}+"
    r"|(?:[prs]k|rk)_(?:live|test)_[0-9a-zA-Z]{16,}+|whsec_[\w+/=]{16,}+"
    r"|SG\.[\w-]{16,64}\.[\w-]{16,}+|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,}+"
    r"|[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,}+|\d{8,10}:[\w-]{35}(?![\w-])"
    r"|(?:AC|SK)[a-z0-9]{32}(?![a-z0-9])|[0-9a-z]{32}-us\d{1,2}(?!\w)"
    r"|sq0csp-[\w\\-]{43}|sk-[\w-]{20,}+|AIza[\w-]{35}|ya29\.[\w-]{20,}+|hv[bs]\.[\w-]{20,}+"
    r"|dop_v1_[0-9a-f]{32,}+|AKC[a-zA-Z0-9]{10,}+"
    r")"
)
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}+(?:\.[\w-]*+)+")
_SLACK_HOOK = re.compile(r"(?i)(hooks\.slack\.com/services/)[\w/]++")
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----).*?(?:(?=-----END )|\Z)"
    r"|(PuTTY-User-Key-File-\d:).*+",
    re.DOTALL,
)
# a line of a key whose first line is another event of the log
_KEY_LINE = re.compile(
    r"(?m)^[ \t]*+(?=\S*[a-z])(?=\S*[A-Z])(?=\S*[0-9+/])[A-Za-z0-9+/]{60,}+={0,2}[ \t\r]*+$"
)


def redact(text: str) -> str:
    """Return a text with `***` in place of each credential.

    Passwords in URLs, values of names such as `DB_PASSWORD`, headers that authenticate, private
    keys, and tokens whose format gives them away. ARNs, digests and descriptions stay.
    """
    for _ in range(_PASSES):
        before, text = text, _once(text)
        if text == before:
            break
    return text


def redact_all[T](value: T, *, by_name: bool = True) -> T:
    """Return a JSON value with every text in it redacted.

    Args:
        by_name: also strike out a text by the name that it stands under in an object.
    """
    return _redact_all(value, by_name)  # type: ignore[no-any-return]


def clip(text: str, most: int) -> str:
    """Return a text of at most so many characters: its start and its end."""
    if len(text) <= most:
        return text
    tail = most // 4
    return f"{text[: most - tail - 1]}…{text[len(text) - tail :]}"


def _redact_all(value: Any, by_name: bool) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            name: STRUCK
            if by_name and isinstance(entry, str) and _named_secret(str(name), entry)
            else _redact_all(entry, by_name)
            for name, entry in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redact_all(entry, by_name) for entry in value]
    return value


def _named_secret(name: str, value: str) -> bool:
    return bool(value) and _is_secret(name) and not _NO_VALUE.fullmatch(value)


def _once(text: str) -> str:
    if "PRIVATE KEY" in text or "PuTTY" in text:
        text = _PRIVATE_KEY.sub(lambda match: f"{match[1] or match[2]}{STRUCK}", text)
    if "alue" in text.lower():
        text = _without(text, _named(text))
    text = _without(text, _pairs(text))
    text = _without(text, _spaced(text))
    if "curl" in text:
        text = _CURL_USER.sub(lambda match: f"{match[1]}{STRUCK}", text)
    if "@" in text:
        text = _RUN.sub(lambda match: _url(match[0]), text)
    text = _SCHEME.sub(_scheme, text)
    text = _OAUTH_CODE.sub(rf"\1{STRUCK}", text)
    text = _SLACK_HOOK.sub(rf"\1{STRUCK}", text)
    text = _JWT.sub(STRUCK, text)
    text = _FORMATS.sub(STRUCK, text)
    return _KEY_LINE.sub(STRUCK, text)


def _without(text: str, spans: Iterator[tuple[int, int]]) -> str:
    """The text with each span, in order and apart, struck out."""
    kept, at = [], 0
    for begin, end in spans:
        kept += [text[at:begin], STRUCK]
        at = end
    return "".join([*kept, text[at:]]) if kept else text


def _pairs(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of secret names are."""
    at = 0
    while match := _PAIR.search(text, at):
        at = match.end()
        name, sep = match["name"][-_LONGEST_NAME:], match["sep"].strip()
        closed = bool(match["close"])
        header = sep != "," and _HEADER.match(name.lower()) is not None
        auth = name.lower() == "auth" and (closed or sep == "=")
        if not (header or auth or _is_secret(name, short=closed or sep == "=")):
            continue
        if _elsewhere(text, match, sep):
            continue
        span = _value(text, at, whole_line=header, quoted_only=sep == ",")
        if span and not _in_the_clear(name, text[span[0] : span[1]]):
            yield span
            at = span[1]


def _in_the_clear(name: str, value: str) -> bool:
    """Whether a value tells no secret, whatever its name says."""
    lower = name.lower()
    if lower == "auth":  # of many meanings; Docker and npm keep user and password under it
        return len(value) < 8 or " " in value
    if lower.endswith("tokens"):  # how many, not which
        return value.isdigit()
    return name in ("PWD", "OLDPWD") and value.startswith("/")  # the shell's working directory


def _elsewhere(text: str, match: re.Match[str], sep: str) -> bool:
    """Whether `name:` is no assignment: a part of an ARN, an image, a line of a source file."""
    begin, end = match.start(), match.end()
    if sep == ",":
        return not match["close"] or _IS_NAME.match(text, end) is not None
    if sep == ">":
        return text[max(0, begin - 1) : begin] != "<"
    if sep != ":" or match["close"]:
        return False
    spaced = text[end - 1 : end] in (" ", "\t")
    if re.fullmatch(r".*\d{12}:", text[max(0, begin - 14) : begin], re.DOTALL):
        return True
    if text[max(0, begin - 1) : begin] == "/" and not spaced:
        return True
    before = text[max(0, begin - 11) : begin].lower()
    if before.endswith(("unexpected ", "illegal ")) and match["name"].lower() == "token":
        return True
    return "." in match["name"] and _SOURCE_LINE.match(text, end) is not None


def _spaced(text: str) -> Iterator[tuple[int, int]]:
    """Where values are that a blank separates from their name."""
    at = 0
    while match := _SPACED.search(text, at):
        at = match.end()
        if not match["flag"] or _is_secret(match["flag"]):
            span = _value(text, at)
            if span:
                yield span
                at = span[1]


def _named(text: str) -> Iterator[tuple[int, int]]:
    """Where the values are of objects that hold a name and a value."""
    spans = []
    for match in _NAMED_VALUE.finditer(text):
        span = _value(text, match.end()) if _is_secret(match["name"]) else None
        spans += [span] if span else []
    for match in _VALUE_NAMED.finditer(text):
        if _named_secret(match["name"], match["value"]):
            spans.append(match.span("value"))
    at = 0
    for begin, end in sorted(spans):
        if begin >= at:
            yield begin, end
            at = end


@lru_cache(4096)
def _is_secret(name: str, short: bool = True) -> bool:
    """Whether a name is one for a credential. Short words count only where `short` says so."""
    lower = name.lower()
    if _SHORT.match(lower):
        return short
    if not _SECRET_NAME.search(lower):
        return False
    segments = _SEGMENT.findall(name)
    return len(segments) < 2 or not _DESCRIBES.match(segments[-1].lower())


def _value(
    text: str, at: int, *, whole_line: bool = False, quoted_only: bool = False
) -> tuple[int, int] | None:
    """Where a value is that begins here; None if there is none, or nothing that is secret."""
    if quote := _QUOTE.match(text, at):
        begin, opening = quote.end(), quote["open"]
        end = _closing(text, begin, opening)
    elif quoted_only:
        return None
    elif text.startswith(("[", "(", "{"), at):
        begin, end = _group(text, at)
    elif whole_line:
        begin, end = at, _end_of_header(text, at)
    else:
        bare = _BARE.match(text, at)
        if not bare:
            return None
        if _NO_VALUE.fullmatch(bare[0]):
            return None
        begin = at
        end = begin + len(bare[0].rstrip(_CLOSERS))
    value = text[begin:end].strip()
    if not value or _NO_VALUE.fullmatch(value):
        return None
    return begin, end


def _end_of_header(text: str, at: int) -> int:
    """Where a header's value ends: with its line, or with the quote that holds name and value."""
    line = _LINE.match(text, at)
    end = line.end() if line else at
    begin = max(text.rfind("\n", max(0, at - 200), at) + 1, at - 200, 0)
    for mark in "\"'":
        if text.count(mark, begin, at) % 2:
            closing = text.find(mark, at, end)
            end = closing if closing > at else end
    return end


def _closing(text: str, begin: int, opening: str) -> int:
    """Where a quoted text ends; at the end of all if the quote is never closed."""
    if len(opening) == 1:
        inside = _INSIDE[opening].match(text, begin)
        return inside.end() if inside else begin
    at = text.find(opening, begin)
    while at > begin and text[at - 1] == "\\":
        at = text.find(opening, at + 1)
    return at if at >= 0 else len(text)


def _group(text: str, at: int) -> tuple[int, int]:
    """The inside of a list; nothing of an object, whose names are checked one by one."""
    inside = at + 1
    if text[at] == "{" or _OBJECTS.match(text, inside):
        return at, at
    end = text.find("]" if text[at] == "[" else ")", inside)
    return inside, end if end >= 0 else len(text)


def _scheme(match: re.Match[str]) -> str:
    value = match["value"]
    if match["scheme"].lower() == "bearer":
        secret = not _NO_BEARER.fullmatch(value)
    else:
        try:
            secret = b":" in base64.b64decode(value + "=" * (-len(value) % 4))
        except (binascii.Error, ValueError):
            secret = False
    return match[0].replace(value, STRUCK) if secret else match[0]


def _url(run: str) -> str:
    """A run of characters without blanks, and without the passwords of URLs in it."""
    if driver := _DRIVER.search(run):
        colon = run.find(":")
        if 0 <= colon < driver.start() and run[colon : colon + 3] != "://":
            run = f"{run[: colon + 1]}{STRUCK}{run[driver.start() :]}"
    last, at = run.rfind("@"), 0
    while (at := run.find("://", at)) >= 0 and at < last:
        at += 3
        authority = _AUTHORITY.match(run, at)
        colon = run.find(":", at, authority.end()) if authority else -1
        if authority is None or colon < 0 or _HOSTS.fullmatch(authority[0]):
            continue
        return f"{run[: colon + 1]}{STRUCK}{run[last:]}"
    return run
