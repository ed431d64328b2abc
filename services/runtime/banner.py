"""What `keyscope up` says when it is ready."""

import shutil
import sys
from pathlib import Path

from keyscope.servers import without_password
from services.runtime.settings import Settings


def banner(settings: Settings) -> str:
    """What listens where, and what to try next, in a few lines that can be pasted into a shell."""
    url = settings.nats_servers[0]
    prefix = settings.prefix
    keyscope = _program()
    if url != "nats://127.0.0.1:4222":
        keyscope = f"KEYSCOPE_NATS_URL={without_password(url)} {keyscope}"
    return f"""
Keyscope is ready.
  NATS      {without_password(",".join(settings.nats_servers))}{"  (its own)" if settings.embedded else ""}
  commands  {prefix}.cmd.<entity>.<verb>, or {prefix}.job.<entity>.<verb> to have them kept until done
  events    {prefix}.evt.>  in the stream KEYSCOPE_EVENTS
  queries   {prefix}.query.graph, {prefix}.query.scope
  HTTP      {f"{settings.http_url}  (its routes: /docs)" if settings.http else "off"}
  data      {settings.data_dir}

Try in another terminal:
  {keyscope} demo
  {keyscope} events --follow --since beginning
  {keyscope} graph '{{"entity": "api_key", "fields": ["title", "sales_channels.name"]}}'
Ctrl-C stops it.
"""


def _program() -> str:
    """How the user can call this program."""
    here = Path(sys.argv[0])
    if here.name == "__main__.py":
        return f"{Path(sys.executable).name} -m keyscope"
    if shutil.which("keyscope") == str(here.absolute()):
        return "keyscope"
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
