"""`keyscope up`: everything on one machine, under one supervisor."""

import gc
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from services.runtime.broker import NatsServer
from services.runtime.failures import Exit
from services.runtime.listening import listen
from services.runtime.locks import hold
from services.runtime.notify import notify
from services.runtime.programs import Command, Services
from services.runtime.settings import Settings
from services.runtime.supervisor import Supervisor

CORE = {"commands": ("commands",), "reads": ("relay", "query")}
"""Which services share a process: the relay waits most of its time, so it rides along with the reads."""
GATEWAY = {"http": ("gateway",)}
"""Stopped before the others, so that requests that have begun find them still there."""


def up(settings: Settings, *, ready: Callable[[Settings], None], command: Sequence[str] = ()) -> int:
    """Run everything until SIGTERM or Ctrl-C, or until `command`, if there is one, has ended: the exit code.

    `ready` is called with the settings as they turned out (a port of 0 is a real one now) when all of it serves.
    Raises Failure. Whatever happens, no process is left behind.
    """
    with ExitStack() as stack:
        lock = hold(settings.data_dir / "lock", f"the data folder {settings.data_dir}")
        stack.callback(os.close, lock)
        if settings.http:
            listener = stack.enter_context(listen(settings))
            port = listener.getsockname()[1]
            settings = settings.model_copy(update={"http_fd": listener.fileno(), "http_port": port})
        supervisor = stack.enter_context(Supervisor(settings.drain_seconds))
        server = _nats_server(settings, lock) if settings.embedded else None
        if server:
            supervisor.start(server)
        # Half a second of imports, while nats-server starts; the forked services share the memory of it.
        from services.runtime import host  # noqa: F401

        if not supervisor.wait_ready():
            return Exit.DONE
        if server:
            settings = settings.model_copy(update={"nats_port": server.port})
        gc.collect()
        gc.freeze()
        life = os.pipe()
        number = 0
        for stage in (CORE, GATEWAY) if settings.http else (CORE,):
            programs = []
            for name, services in stage.items():
                programs.append(Services(name, services, _with_port(settings, number), life))
                number += 1
            supervisor.start(*programs)
        if not supervisor.wait_ready():
            return Exit.DONE
        notify("READY=1")
        stack.callback(notify, "STOPPING=1")
        ready(settings)
        if command:
            supervisor.start(Command(command, settings))
        return supervisor.watch()


def _with_port(settings: Settings, number: int) -> Settings:
    """Each process has its metrics on a port of its own."""
    port = settings.metrics_port
    return settings.model_copy(update={"metrics_port": port + number}) if port else settings


def _nats_server(settings: Settings, lock: int) -> NatsServer:
    return NatsServer(host=settings.nats_host, port=settings.nats_port, data=settings.data_dir, keep_open=[lock])
