"""Checks of the URLs of servers. No message may show a URL, because it may contain a password."""

import re

_HOST = r"([^@/?#\[\],:]*|\[[\da-f:.]*\])(:\d+)?"
_URL = re.compile(
    rf"\w+://([^@/?#\[\]]*@)?{_HOST}(,{_HOST})*(/[^@?#]*)?(\?([\w.%\[\]-]+=[^@#&]*(&|$))*)?"
)


UNREADABLE = (
    "the URL is not valid: it must begin with SCHEME://, "
    "and its password must be percent-encoded (for example, / as %2F)"
)

NATS_SCHEMES = ("nats", "tls", "ws", "wss")


def check_url(url: str) -> str:
    """Return the URL if it has only one meaning, so no library can mistake a password for a host.

    Raises:
        ValueError: The URL can have two meanings; the message does not show the URL.
    """
    if not (url.isascii() and url.isprintable() and "\\" not in url and _URL.fullmatch(url)):
        raise ValueError(UNREADABLE)
    return url


def check_nats_url(url: str) -> str:
    """Return the URL if it is the URL of a NATS server.

    Raises:
        ValueError: The URL is not valid or has another scheme; the message shows only the scheme.
    """
    scheme = check_url(url).partition("://")[0]
    if scheme not in NATS_SCHEMES:
        schemes = ", ".join(f"{each}://" for each in NATS_SCHEMES)
        raise ValueError(f"a URL of NATS must begin with one of {schemes}, not with {scheme}://")
    return url
