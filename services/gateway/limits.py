"""How often an address may fail to sign in: a bucket of tries for each, which fills again with time."""

import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

MAX_ADDRESSES = 10_000
TRIES_PER_SECOND = 0.5


class FailureLimit:
    """`burst` failures at once, then one each two seconds. The addresses not heard of lately are forgotten first."""

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """How many seconds the address must wait before it may try; 0 when it may."""
        return max(0.0, (1 - self._left(_network(address), time.monotonic())) / TRIES_PER_SECOND)

    def failed(self, address: str) -> None:
        """Take one try away."""
        network, now = _network(address), time.monotonic()
        self._buckets[network] = self._left(network, now) - 1, now
        self._buckets.move_to_end(network)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)

    def _left(self, network: str, now: float) -> float:
        left, then = self._buckets.get(network, (self._burst, now))
        return min(self._burst, left + (now - then) * TRIES_PER_SECOND)


def _network(address: str) -> str:
    """An IPv4 address itself; of IPv6 the /64, since one customer has all of that."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
