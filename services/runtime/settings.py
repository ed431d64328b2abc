"""Every setting, from the environment (`KEYSCOPE_…`) or from a `.env` file in the working folder."""

import ipaddress
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from keyscope.servers import without_password
from services.runtime.failures import Exit, Failure, cannot_read
from services.store.urls import check


def _number(text: object) -> object:
    return int(text) if isinstance(text, str) and text.isdecimal() else text


Replicas = Annotated[Literal[1, 3, 5], BeforeValidator(_number)]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]


class Settings(BaseSettings):
    """How Keyscope runs. The description of each field is what `keyscope config` prints."""

    model_config = SettingsConfigDict(
        env_prefix="KEYSCOPE_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    nats_url: str = Field(
        default="",
        description="The NATS to use, e.g. nats://nats-1:4222,nats://nats-2:4222. "
        "Empty: `keyscope up` starts one of its own, and `keyscope run` looks for that one",
    )
    nats_host: str = Field(default="127.0.0.1", description="Where the embedded NATS listens: a loopback address")
    nats_port: int = Field(default=4222, ge=0, le=65535, description="Its port; 0 takes a free one")
    nats_user: str | None = Field(default=None, description="The user to connect to NATS as")
    nats_password: SecretStr | None = Field(default=None, description="That user's password")
    nats_token: SecretStr | None = Field(default=None, description="A token to connect to NATS with")
    nats_credentials: Path | None = Field(
        default=None, description="A credentials file (.creds: a JWT and its seed) to connect to NATS with"
    )
    nats_nkey: Path | None = Field(default=None, description="A file with the seed of the nkey to connect to NATS with")
    nats_tls_ca: Path | None = Field(
        default=None, description="The certificates (PEM) to trust for NATS, instead of the system's"
    )
    nats_tls_cert: Path | None = Field(default=None, description="The certificate to show to NATS")
    nats_tls_key: Path | None = Field(default=None, description="That certificate's key")
    nats_inbox: Prefix = Field(
        default="_INBOX", description="The first part of the subjects that replies come to, if permissions demand one"
    )
    insecure: bool = Field(
        default=False, description="Connect without credentials to a NATS that is not on this machine"
    )
    prefix: Prefix = Field(default="keyscope", description="The first part of every subject")
    replicas: Replicas = Field(default=1, description="How many nodes of a NATS cluster keep each stream")
    data_dir: Path = Field(
        default=Path("data"), description="The folder for everything that is kept; made for this user alone"
    )
    event_store: str = Field(
        default="",
        description="The event store, e.g. sqlite:///var/lib/keyscope/events.db. Empty: events.db in the data folder",
    )
    read_model: Path | None = Field(
        default=None, description="The read model's SQLite file. Empty: graph.db in the data folder"
    )
    self_check_seconds: float = Field(
        default=30.0, ge=0, description="How often the read model compares one key with its events; 0 is never"
    )
    source: str = Field(default="/keyscope", min_length=1, description="The CloudEvents source of every event")
    drain_seconds: int = Field(
        default=10, ge=1, le=600, description="How long what has begun may take to end on a stop"
    )
    http: bool = Field(default=True, description="Whether `keyscope up` serves HTTP")
    http_host: str = Field(default="127.0.0.1", description="Where HTTP is served")
    http_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Its port; 0 takes a free one. Empty: 9000, or a free one where that is taken",
    )
    http_fd: int | None = Field(
        default=None, ge=3, description="A listening socket to inherit instead, as systemd passes one (3)"
    )
    http_admin_origins: str = Field(
        default="", description="Origins whose pages may use /admin and /events, separated by commas; `*` is any"
    )
    http_store_origins: str = Field(default="", description="Origins whose pages may use /store")
    http_jwt_secret: SecretStr | None = Field(
        default=None, description="Believe JSON Web Tokens signed with this shared secret (HS256 and longer)"
    )
    http_jwt_jwks_url: str = Field(default="", description="Believe those signed with a key of the set at this URL")
    http_jwt_issuer: str | None = Field(default=None, description="The `iss` that they must have")
    http_jwt_audience: str | None = Field(default=None, description="The `aud` that they must have")
    http_jwt_actor_claim: str = Field(
        default="sub", min_length=1, description="The claim that is the actor; `actor_id` in tokens of Medusa's"
    )
    http_jwt_claims: dict[str, Any] = Field(
        default={}, description='Claims that they must have, as JSON; {"actor_type": "user"} for Medusa\'s admins'
    )
    http_failed_sign_ins: int = Field(
        default=30, ge=1, description="How many sign-ins of one address may fail at once; it gains one every 2 seconds"
    )
    http_trusted_proxies: str = Field(
        default="127.0.0.1", description="Whose X-Forwarded-For is believed: addresses, networks, or `*`"
    )
    metrics_host: str = Field(default="127.0.0.1", description="Where /metrics, /healthz and /readyz are served")
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Their port; empty: they are not served. The processes of `keyscope up` take this one and the next",
    )
    tracing: bool = Field(
        default=False,
        description="Whether what a client has sampled is traced (OpenTelemetry, configured by OTEL_…); "
        "needs keyscope[tracing]",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="console for people, json for machines"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least to be logged"
    )

    @field_validator("nats_host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                "the embedded NATS has no locks on its doors, so it listens on loopback only; "
                "for other machines run a NATS with credentials and name it in KEYSCOPE_NATS_URL"
            )
        return host

    @field_validator("event_store")
    @classmethod
    def _known_store(cls, url: str) -> str:
        if url and not url.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ValueError(
                "an event store is named as sqlite:///PATH (an absolute path has four slashes) "
                "or as postgresql://USER@HOST/DATABASE"
            )
        check(url)
        if "password=" in urlsplit(url).query:
            raise ValueError("the password belongs before the host, postgresql://USER:PASSWORD@HOST/DATABASE")
        return url

    @model_validator(mode="after")
    def _locked(self) -> Self:
        """Whoever reaches a NATS without credentials can make keys; on loopback that is whoever is on this machine."""
        proven = self.nats_user, self.nats_token, self.nats_credentials, self.nats_nkey, self.nats_tls_cert
        open_doors = [url for url in self.nats_servers if not (_parts(url).username or _is_loopback(url))]
        if open_doors and not any(proven) and not self.insecure:
            raise ValueError(
                f"{open_doors[0]} is not on this machine, and there are no credentials for it: name them in "
                "KEYSCOPE_NATS_CREDENTIALS, KEYSCOPE_NATS_NKEY, KEYSCOPE_NATS_USER or KEYSCOPE_NATS_TOKEN, "
                "or set KEYSCOPE_INSECURE=1 where nobody else can reach it"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FromFiles(settings_cls), dotenv_settings, file_secret_settings

    @property
    def embedded(self) -> bool:
        """Whether `keyscope up` starts a NATS of its own."""
        return not self.nats_url

    @property
    def nats_servers(self) -> list[str]:
        """The URLs to connect to."""
        host = f"[{self.nats_host}]" if ":" in self.nats_host else self.nats_host
        return (
            [url.strip() for url in self.nats_url.split(",")] if self.nats_url else [f"nats://{host}:{self.nats_port}"]
        )

    @property
    def event_store_url(self) -> str:
        """The event store, with the default filled in."""
        return self.event_store or f"sqlite:///{self.data_dir / 'events.db'}"

    @property
    def read_model_path(self) -> Path:
        """The read model's file, with the default filled in."""
        return self.read_model or self.data_dir / "graph.db"

    @property
    def folders(self) -> list[Path]:
        """Those that are written to; not all of them by every service."""
        store = self.event_store_url
        file = Path(store.removeprefix("sqlite:///")) if store.startswith("sqlite:") else self.data_dir / "events.db"
        return sorted({self.data_dir, self.read_model_path.parent, file.parent})

    @property
    def http_url(self) -> str:
        """Where HTTP is served, once its port is known."""
        host = f"[{self.http_host}]" if ":" in self.http_host else self.http_host
        return f"http://{host}:{self.http_port}"

    def hidden(self) -> set[str]:
        """What must not be shown anywhere: passwords, tokens and shared secrets, as they are and as URLs have them."""
        secret = {self.nats_password, self.nats_token, self.http_jwt_secret}
        found = {each.get_secret_value() for each in secret if each is not None}
        for url in (*self.nats_servers, self.event_store, self.http_jwt_jwks_url):
            user, colon, password = url.rpartition("@")[0].rpartition("//")[2].partition(":")
            found |= {password, unquote(password)} if colon else {user} if url in self.nats_servers else set()
        return found - {""}

    def lines(self) -> list[str]:
        """All settings as an environment file, with what each is for. Secrets are masked."""
        lines = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            shown = _SHOWN.get(type(value), str)(value)
            lines += [f"# {field.description}", f"KEYSCOPE_{name.upper()}={shown}"]
        return lines


class _FromFiles(PydanticBaseSettingsSource):
    """Secrets from files: KEYSCOPE_NATS_PASSWORD_FILE names the one with the value of KEYSCOPE_NATS_PASSWORD."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field  # what it is called tells everything
        path = os.environ.get(f"KEYSCOPE_{field_name.upper()}_FILE") if field_name in SECRETS else None
        try:
            return Path(path).read_text().strip() if path else None, field_name, False
        except OSError as error:
            raise cannot_read(path, error) from error

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in Settings.model_fields.items()}
        return {name: value for name, value in values.items() if value}


SECRETS = ("event_store", "nats_password", "nats_token", "nats_url", "http_jwt_secret")
"""The settings that may stand in a file of their own, whose path is in KEYSCOPE_…_FILE."""


def load(**overrides: Any) -> Settings:
    """The settings, with those of `overrides` that are not None put above the environment. Raises Failure."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise Failure(Exit.CONFIG, "; ".join(_problem(problem) for problem in error.errors())) from None


def _parts(url: str) -> SplitResult:
    """Of the URL of a NATS, with or without its scheme. Raises ValueError, which quotes nothing of it."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        _ = parts.port  # raises ValueError for what is no number
        if "@" not in f"{parts.path}{parts.query}{parts.fragment}":
            return parts
    except ValueError:
        pass
    raise ValueError(
        "that is no URL, or list of URLs; a password with special characters goes into KEYSCOPE_NATS_PASSWORD"
    )


def _is_loopback(url: str) -> bool:
    host = _parts(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _problem(problem: Any) -> str:
    name = "_".join(str(part) for part in problem["loc"]).upper() or "NATS_URL"
    return f"KEYSCOPE_{name}: {problem['msg'].removeprefix('Value error, ')}"


_SHOWN: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "",
    str: without_password,
    dict: json.dumps,
}
"""How a value is printed, where it is not as Python prints it."""
