"""Medusa's messages, where what they say decides."""

import re

DEFINITION = re.compile(
    r"^Module to type (\w+) and (\w+) by keys \w+ and \w+ was not found\.|^Only two modules can be linked"
)
"""A link whose modules or names it does not know; or knows in the other order alone."""
NO_PROPERTY = re.compile(r"^Trying to (query|order) by not existing property \w+\.(\S+)$")
MUST_PASS = re.compile(r"^You must pass a non-undefined value to the property (\w+) of entity \w+\.$")
LOST = re.compile(r"^(?:SalesChannel|ApiKey) id not found: (.+)$")
