"""URLs as they may be shown."""

import re

# After a scheme, or at the beginning of a URL without one: all up to the last @, but not into the next URL.
_CREDENTIALS = re.compile(r"(^|,)(\s*(?!sqlite:)(?:[a-z][a-z0-9+.-]*://)?)(?:(?!,\s*[a-z]+://).)*@", re.DOTALL)


def without_password(urls: str) -> str:
    """`urls` with `***@` for `user:password@`. A URL that is none loses more rather than less."""
    return _CREDENTIALS.sub(r"\1\2***@", urls)
