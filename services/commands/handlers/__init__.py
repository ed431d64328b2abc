"""Every command and the function that carries it out: one table.

A handler runs on the writer's thread with the batch's Work, raises a KeyscopeError to refuse, and returns its Result.
"""

from collections.abc import Callable

from services.commands.command import Command, Result
from services.commands.handlers import api_key, link, sales_channel
from services.commands.work import Work

Handler = Callable[[Work, Command], Result]

HANDLERS: dict[str, Handler] = {
    "api_key.create": api_key.create,
    "api_key.update": api_key.update,
    "api_key.upsert": api_key.upsert,
    "api_key.revoke": api_key.revoke,
    "api_key.delete": api_key.delete,
    "api_key.soft_delete": api_key.soft_delete,
    "api_key.restore": api_key.restore,
    "sales_channel.create": sales_channel.create,
    "sales_channel.update": sales_channel.update,
    "sales_channel.upsert": sales_channel.upsert,
    "sales_channel.delete": sales_channel.delete,
    "sales_channel.soft_delete": sales_channel.soft_delete,
    "sales_channel.restore": sales_channel.restore,
    "link.create": link.create,
    "link.dismiss": link.dismiss,
    "link.batch": link.batch,
    "link.delete": link.delete,
    "link.restore": link.restore,
}
