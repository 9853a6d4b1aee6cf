"""URLs with a password in them, which is not to appear in anybody's complaint."""

import re

HOST = r"([^@/?#\[\],:]*|\[[\da-f:.]*\])(:\d+)?"
URL = re.compile(
    rf"\w+://([^@/?#\[\]]*@)?{HOST}(,{HOST})*(/[^@?#]*)?(\?([\w.%\[\]-]+=[^@#&]*(&|$))*)?"
)


def check(url: str) -> None:
    """Refuse a URL that others would misread, and quote its password when they refuse it."""
    if not (url.isascii() and url.isprintable() and "\\" not in url and URL.fullmatch(url)):
        raise ValueError(
            "the URL is not valid: it must begin with SCHEME://, "
            "and its password must be percent-encoded, / as %2F for example"
        )
