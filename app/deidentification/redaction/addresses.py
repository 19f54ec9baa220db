"""Addresses of people and machines: e-mail, URLs, IP; found by their form.

- E-mail: a local part of up to 64 characters, `@`, and a domain of at least two labels that ends in letters. What stands before
  `=`, `?`, `/`, `|`, `&` inside the local part is left: that is how addresses stand in URLs and in code.
- URL: from `http://`, `https://`, `ftp://`, … or `www.` to the next white space, angle bracket or double quotation mark, without
  the marks that end a sentence, and without a bracket that it did not open.
- IP: four octets that are no part of a longer dotted number; IPv6 as `ipaddress` reads it, of 6 characters or more.
"""

import ipaddress
import re

from app.deidentification.redaction.spans import Span

URL_HINT, EMAIL_HINT = r"(?i)://|www\.", "@"
IP_HINT = r"[0-9](?:\.[0-9]{1,3}){3}|:[0-9A-Fa-f]{0,4}:"
_LOCAL = re.compile(r"[\w.!#$%&'*+\-/=?^`{|}~]{1,64}")  # matched backwards, from the @ on
_DOMAIN = re.compile(r"(?:[\w\-]{1,63}\.){1,8}(?:xn--[a-z0-9\-]{2,59}|[^\W\d_]{2,63})(?!\w)", re.IGNORECASE)
_LOCAL_AT_MOST = 64
_BEFORE_LOCAL = re.compile(r"^.*[=?/|&`*{}~](?=[\w.+%\-'])|^['.\-]+", re.DOTALL)
_URL = re.compile(r"(?<!\w)(?:(?:https?|ftps?|sftp|wss?|file|ldaps?)://[^\s<>\"\0]{1,}|www\.[^\s<>\"\0]{2,})", re.IGNORECASE)
_ENDS_A_SENTENCE = ".,;:!?'\u2019\u201d\u00bb*_"
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_IPV4 = re.compile(r"(?<![\w.])(?<![0-9]\.)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.[0-9])")
_IPV6 = re.compile(
    r"(?<![\w:])(?=[0-9A-Fa-f:.]{6,45})[0-9A-Fa-f:]{2,39}:(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{1,4}(?!\.[0-9])|)(?![\w:])"
)


def emails(text: str, _country: str | None) -> list[Span]:
    """Return the spans of e-mail addresses."""
    spans: list[Span] = []
    free, at = 0, text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = domain and _LOCAL.match(text[max(free, at - _LOCAL_AT_MOST) : at][::-1])
        if domain and local:
            start = at - local.end()
            before = _BEFORE_LOCAL.match(text[start:at])
            free = domain.end()
            spans.append((start + (before.end() if before else 0), free))
        at = text.find("@", max(at + 1, free))
    return spans


def urls(text: str, _country: str | None) -> list[Span]:
    """Return the spans of URLs."""
    return [(match.start(), match.start() + _url_length(match[0])) for match in _URL.finditer(text)]


def ips(text: str, _country: str | None) -> list[Span]:
    """Return the spans of IPv4 and IPv6 addresses."""
    candidates = [*_IPV6.finditer(text), *_IPV4.finditer(text)] if ":" in text else _IPV4.finditer(text)
    found = sorted(match.span() for match in candidates if normal_ip(match[0]) is not None)
    apart, free = [], 0
    for start, end in found:
        if start >= free:
            apart.append((start, end))
            free = end
    return apart


def normal_ip(text: str) -> str | None:
    """Return an address in the form of RFC 5952, or None where it is none."""
    try:
        return ipaddress.ip_address(text).compressed
    except ValueError:
        return None


def normal_url(text: str) -> str:
    """Return a URL with scheme and host in lower case (RFC 3986 §6.2.2.1); the rest says what it says."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    host = re.match(r"[^/?#]*", rest)
    end = host.end() if host else 0
    return f"{scheme.lower()}{separator}{rest[:end].lower()}{rest[end:]}"


def _url_length(text: str) -> int:
    """Return how many characters belong to a URL: the marks behind it do not."""
    end = len(text)
    opened = {mark: text.count(mark) - text.count(closing) for closing, mark in _BRACKETS.items()}
    while end:
        last = text[end - 1]
        if last in _BRACKETS and opened[_BRACKETS[last]] < 0:
            opened[_BRACKETS[last]] += 1
        elif last not in _ENDS_A_SENTENCE:
            break
        end -= 1
    return end
