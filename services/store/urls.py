"""The URL of an event store in PostgreSQL, looked at before libpq does, which quotes what it does not understand."""

import re

_CREDENTIALS = re.compile("postgres(?:ql)?://(.*)@", re.DOTALL)
_ENCODED = re.compile(r"([^\s/?#@\[\]%]|%[\da-fA-F]{2})*")


def check(url: str) -> None:
    """Raise ValueError, without quoting them, when the user or the password would be taken for something else."""
    found = _CREDENTIALS.match(url)
    if found and not _ENCODED.fullmatch(found[1]):
        raise ValueError(
            "special characters of a user or a password in a URL are percent-encoded: %40 is @, %2F is /, %25 is %"
        )
