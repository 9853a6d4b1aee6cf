"""URLs of servers, which may hold a password: it is not to appear in anybody's complaint."""

import re

_HOST = r"([^@/?#\[\],:]*|\[[\da-f:.]*\])(:\d+)?"
_URL = re.compile(
    rf"\w+://([^@/?#\[\]]*@)?{_HOST}(,{_HOST})*(/[^@?#]*)?(\?([\w.%\[\]-]+=[^@#&]*(&|$))*)?"
)


UNREADABLE = (
    "a URL cannot be read: quote its password, / as %2F for example; a URL begins with SCHEME://"
)

NATS_SCHEMES = ("nats", "tls", "ws", "wss")


def check_url(url: str) -> str:
    """Return the URL, if every library reads it alike, and so takes no password for a host.

    Raises:
        ValueError: It is not one; the message does not show it.
    """
    if not (url.isascii() and url.isprintable() and "\\" not in url and _URL.fullmatch(url)):
        raise ValueError(UNREADABLE)
    return url


def check_nats_url(url: str) -> str:
    """Return the URL, if it is one of a NATS server.

    Raises:
        ValueError: It is not; the message shows its scheme alone.
    """
    scheme = check_url(url).partition("://")[0]
    if scheme not in NATS_SCHEMES:
        schemes = ", ".join(f"{each}://" for each in NATS_SCHEMES)
        raise ValueError(f"a URL of NATS begins with one of {schemes}, and not with {scheme}://")
    return url
