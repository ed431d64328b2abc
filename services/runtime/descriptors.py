"""How many files and connections a serving process may have open."""

import resource

ENOUGH = 65_536


def allow_more() -> None:
    """As many as the administrator lets it.

    Processes begin with 1,024, as a rule, for the sake of those that use select(2): fewer than the gateway's
    connections.
    """
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now < ENOUGH:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, ENOUGH), most))
