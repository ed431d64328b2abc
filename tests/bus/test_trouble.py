"""What the log says of trouble, and how often."""

from collections.abc import Callable

import nats
import pytest
from nats.errors import Error as NatsError

from services.bus.trouble import Seldom, said
from tests.support.nats import Nats


def test_the_same_again_is_not_said_at_once() -> None:
    seldom, always = Seldom(60), Seldom(0)
    assert [seldom(text) for text in ("refused", "refused", "cut off", "refused")] == [True, False, True, True]
    assert [always(text) for text in ("refused", "refused")] == [True, True]


async def test_a_jetstream_that_is_not_there(make_nats: Callable[..., Nats]) -> None:
    client = await nats.connect(make_nats(jetstream=False).url)
    with pytest.raises(NatsError) as refused:
        await client.jetstream().stream_info("KEYSCOPE_EVENTS")
    await client.close()
    assert said(refused.value) == "JetStream does not answer: is it enabled on this NATS, and for this account?"


def test_an_error_without_words_is_called_by_its_name() -> None:
    assert said(TimeoutError()) == "TimeoutError"
    assert said(ValueError(" no \n")) == "no"
