"""A check of URLs, so that no error message of a driver shows the password in a URL."""

import re

HOST = r"([^@/?#\[\],:]*|\[[\da-f:.]*\])(:\d+)?"
URL = re.compile(
    rf"\w+://([^@/?#\[\]]*@)?{HOST}(,{HOST})*(/[^@?#]*)?(\?([\w.%\[\]-]+=[^@#&]*(&|$))*)?"
)


def check(url: str) -> None:
    """Raise ValueError if a driver could misread a URL, and then show its password in an error."""
    if not (url.isascii() and url.isprintable() and "\\" not in url and URL.fullmatch(url)):
        raise ValueError(
            "the URL is not valid: it must begin with SCHEME://, "
            "and its password must be percent-encoded (for example, / as %2F)"
        )
