"""The services' measures as Prometheus reads them."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from services.bus.measures import ALL, Counter, Gauge, Histogram


class _Measures(Collector):
    def collect(self) -> Iterator[Metric]:
        for measure in ALL:
            if isinstance(measure, Counter):
                yield _counter(measure)
            elif isinstance(measure, Histogram):
                yield _histogram(measure)
            elif measure.read is not None:
                yield _gauge(measure)


def exposition() -> bytes:
    """All measures of this process, and what the process itself uses, in Prometheus' text format."""
    return generate_latest(_REGISTRY)


def _counter(measure: Counter) -> Metric:
    family = CounterMetricFamily(measure.name, measure.help, labels=measure.labels)
    for labels, value in list(measure.values.items()):
        family.add_metric(labels, value)
    return family


def _gauge(measure: Gauge) -> Metric:
    assert measure.read is not None
    return GaugeMetricFamily(measure.name, measure.help, value=measure.read())


def _histogram(measure: Histogram) -> Metric:
    family = HistogramMetricFamily(measure.name, measure.help, labels=measure.labels)
    bounds = [*(f"{bound:g}" for bound in measure.bounds), "+Inf"]
    for labels, counts in list(measure.counts.items()):
        buckets = list(zip(bounds, map(float, accumulate(counts)), strict=True))
        family.add_metric(labels, buckets=buckets, sum_value=measure.sums[labels])
    return family


_REGISTRY = CollectorRegistry()
_REGISTRY.register(_Measures())
for _collector in (ProcessCollector, PlatformCollector, GCCollector):
    _collector(registry=_REGISTRY)
