"""URLs of servers, which may hold a password: it is not to appear in anybody's complaint."""

import re

_HOST = r"([^@/?#\[\],:]*|\[[\da-f:.]*\])(:\d+)?"
_URL = re.compile(
    rf"\w+://([^@/?#\[\]]*@)?{_HOST}(,{_HOST})*(/[^@?#]*)?(\?([\w.%\[\]-]+=[^@#&]*(&|$))*)?"
)


def check_url(url: str) -> str:
    """Return the URL, if every library reads it alike, and so takes no password for a host.

    Raises:
        ValueError: It is not one; the message does not show it.
    """
    if not (url.isascii() and url.isprintable() and "\\" not in url and _URL.fullmatch(url)):
        raise ValueError("a URL cannot be read: quote its password, / as %2F for example")
    return url
