"""The few commands of the `nats` command line that the documentation uses, for machines that lack the program.

It takes their arguments (https://github.com/nats-io/natscli) and does the same through nats-py: `request`, `pub`,
`sub`, `consumer add`, `consumer next` and `micro`. Where `nats` itself is installed, the tests use that.
"""

import argparse
import asyncio
import json
import os
import sys
from typing import Any

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from services.bus.wire import flush


async def request(nc: Client, args: argparse.Namespace) -> None:
    reply = await nc.request(args.subject, args.body.encode(), headers=_headers(args), timeout=args.timeout)
    print(reply.data.decode())


async def pub(nc: Client, args: argparse.Namespace) -> None:
    if not args.jetstream:
        await nc.publish(args.subject, args.body.encode(), headers=_headers(args))
        return
    ack = await nc.jetstream().publish(args.subject, args.body.encode(), headers=_headers(args), timeout=args.timeout)
    print(f"Stored in Stream: {ack.stream} Sequence: {ack.seq}")


async def sub(nc: Client, args: argparse.Namespace) -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    if args.all:
        await nc.jetstream().subscribe(args.subject, ordered_consumer=True, cb=queue.put)
    else:
        await nc.subscribe(args.subject, cb=queue.put)
        await flush(nc)
    print(f"Subscribing on {args.subject}", file=sys.stderr, flush=True)
    left = args.count
    while left != 0:
        message = await queue.get()
        print(
            message.data.decode() if args.raw else f"[#] Received on {message.subject!r}\n{message.data.decode()}\n",
            flush=True,
        )
        left -= 1


async def consumer_add(nc: Client, args: argparse.Namespace) -> None:
    config = ConsumerConfig(
        durable_name=args.consumer,
        filter_subject=args.filter,
        deliver_policy=DeliverPolicy(args.deliver),
        ack_policy=AckPolicy(args.ack),
    )
    info = await nc.jetstream().add_consumer(args.stream, config)
    print(f"Information for Consumer {info.stream_name} > {info.name}")


async def consumer_next(nc: Client, args: argparse.Namespace) -> None:
    subscription = await nc.jetstream().pull_subscribe_bind(args.consumer, args.stream)
    for message in await subscription.fetch(args.count, timeout=args.timeout):
        print(message.data.decode())
        await message.ack_sync()


async def micro(nc: Client, args: argparse.Namespace) -> None:
    verb = {"ls": "PING", "list": "PING", "info": "INFO", "stats": "STATS"}[args.verb]
    inbox = nc.new_inbox()
    answers = await nc.subscribe(inbox)
    await nc.publish(f"$SRV.{verb}" + (f".{args.name}" if args.name else ""), reply=inbox)
    try:
        while True:
            answer = json.loads((await answers.next_msg(timeout=0.5)).data)
            print(f"{answer['name']} {answer['version']} {answer['id']}")
    except nats.errors.TimeoutError:
        pass


def _headers(args: argparse.Namespace) -> dict[str, str] | None:
    return dict(header.split(":", 1) for header in args.header) or None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nats")
    parser.add_argument("-s", "--server", default=os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    parser.add_argument("--timeout", type=lambda text: float(text.rstrip("s")), default=5.0)
    commands = parser.add_subparsers(required=True)

    for names, run in ((("request", "req"), request), (("publish", "pub"), pub)):
        command = commands.add_parser(names[0], aliases=names[1:])
        command.add_argument("subject")
        command.add_argument("body", nargs="?", default="")
        command.add_argument("-H", "--header", action="append", default=[])
        command.add_argument("--raw", action="store_true")
        command.add_argument("-J", "--jetstream", action="store_true")
        command.set_defaults(run=run)

    command = commands.add_parser("subscribe", aliases=["sub"])
    command.add_argument("subject")
    command.add_argument("--all", action="store_true")
    command.add_argument("--raw", action="store_true")
    command.add_argument("--count", type=int, default=-1)
    command.set_defaults(run=sub)

    consumer = commands.add_parser("consumer").add_subparsers(required=True)
    command = consumer.add_parser("add")
    command.add_argument("stream")
    command.add_argument("consumer")
    command.add_argument("--pull", action="store_true")
    command.add_argument("--filter")
    command.add_argument("--deliver", default="all")
    command.add_argument("--ack", default="explicit")
    command.add_argument("--defaults", action="store_true")
    command.set_defaults(run=consumer_add)
    command = consumer.add_parser("next")
    command.add_argument("stream")
    command.add_argument("consumer")
    command.add_argument("--count", type=int, default=1)
    command.add_argument("--raw", action="store_true")
    command.set_defaults(run=consumer_next)

    command = commands.add_parser("micro")
    command.add_argument("verb", choices=["ls", "list", "info", "stats"])
    command.add_argument("name", nargs="?")
    command.set_defaults(run=micro)
    return parser


async def _main() -> None:
    args = _parser().parse_args()
    nc = await nats.connect(args.server, allow_reconnect=False)
    try:
        await args.run(nc, args)
    finally:
        await nc.close()


if __name__ == "__main__":
    asyncio.run(_main())
