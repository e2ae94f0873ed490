"""Settings, read once: STREAMPROC_* variables, then a TOML file, then options, in that order of growing force.

The only module that reads the environment. A wrong value is refused with the name of the setting and where it came
from. `docs/settings.md` lists what stands here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from streamproc.errors import SettingError

PREFIX = "STREAMPROC_"
_OTHER_VARIABLES = (f"{PREFIX}SETTINGS", f"{PREFIX}TEST_BROKER")
DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Cameras, runs and topic prefixes: safe in topic names, file names, URLs and metric labels."""


class Settings(BaseSettings):
    """Everything that can be set. Sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    bootstrap: str = Field(default=DEFAULT_BOOTSTRAP, description="Kafka bootstrap servers, host:port[,host:port]")
    prefix: str = Field(default="streamproc.", description="Prefix of all topic names and of the consumer group")
    partitions: int = Field(default=8, ge=1, le=1024, description="Partitions of each topic when it is created")
    replication: int = Field(default=1, ge=1, le=7, description="Replication factor of topics when created")
    tiles_kept_bytes: int = Field(
        default=8 * 2**30,
        ge=2**27,
        le=2**50,
        description="Tiles that the log keeps, over all partitions, at most an hour's; of one copy, when it is created",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How clients talk to the brokers"
    )
    security_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="SASL mechanism"
    )
    security_username: str | None = Field(default=None, description="SASL user")
    security_password: SecretStr | None = Field(default=None, description="SASL password")
    security_ca_file: Path | None = Field(default=None, description="PEM file of the authorities to trust")
    security_cert_file: Path | None = Field(default=None, description="PEM file of the client's certificate")
    security_key_file: Path | None = Field(default=None, description="PEM file of the client's key")

    max_tile_bytes: int = Field(default=900_000, ge=1_000, le=8_000_000, description="Largest encoded tile published")
    target_tile_bytes: int = Field(default=200_000, ge=1_000, le=900_000, description="Tile size the grid aims at")
    max_frame_pixels: int = Field(
        default=134_217_728,
        ge=1,
        le=2**31 - 1,
        description="Largest frame a source or worker accepts, in pixels",
    )
    jpeg_quality: int = Field(default=90, ge=1, le=100, description="JPEG quality of tiles")
    producer_queue_bytes: int = Field(
        default=64 * 2**20,
        ge=2**20,
        le=2**31 - 1,
        description="Records waiting to be sent and, in a producer, pixels read ahead; per process",
    )
    delivery_timeout_s: float = Field(
        default=60, ge=1, le=3600, description="Time a record may take to be acknowledged"
    )

    worker_threads: int = Field(default=1, ge=1, le=256, description="Threads that run operators in one worker")
    decode_timeout_s: float = Field(
        default=10, ge=0.1, le=300, description="Longest time to decode one tile; then it is a dead letter"
    )
    references_bytes: int = Field(
        default=64 * 2**20,
        ge=2**20,
        le=2**31 - 1,
        description="Tiles, and as much again of results, that a worker holds for tiles that refer to them",
    )
    batch_tiles: int = Field(default=32, ge=1, le=1024, description="Most tiles of one executor hop")
    window_batches: int = Field(default=4, ge=1, le=64, description="Batches in flight in one worker")
    buffer_bytes: int = Field(
        default=32 * 2**20, ge=2**20, le=2**31 - 1, description="Fetched records waiting for an agent"
    )
    session_timeout_s: float = Field(default=8, ge=6, le=300, description="Kafka session timeout of a worker")
    commit_interval_s: float = Field(default=1, ge=0.1, le=60, description="Time between offset commits")
    stall_timeout_s: float = Field(
        default=60,
        ge=5,
        le=3600,
        description="Longest time a worker may make no progress while records wait; then it ends",
    )
    instance_id: str | None = Field(
        default=None,
        description="Name of this worker in its group, kept over restarts (static membership); not passed on to the"
        " workers of demo, rerun and bench",
    )
    shutdown_s: float = Field(default=10, ge=1, le=300, description="Longest graceful stop of a worker")

    frame_deadline_s: float = Field(default=30, gt=0, le=3600, description="Longest wait for the tiles of a frame")
    min_coverage: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of a frame's tiles below which it ends expired instead of partial",
    )
    max_open_frames: int = Field(default=16_384, ge=1, le=100_000, description="Unfinished frames of one partition")
    max_open_bytes: int = Field(
        default=192 * 2**20,
        ge=2**20,
        le=2**31 - 1,
        description="Features held for unfinished frames in one worker; others are read again when their frame is done",
    )
    preview_per_s: float = Field(default=5, ge=0, le=5, description="Preview and edge pictures a second per camera")

    sink_url: SecretStr | None = Field(
        default=None, description="Target of streamproc sink and query when none is given as argument"
    )
    sink_password: SecretStr | None = Field(default=None, description="Password for the target of a sink")
    sink_secret: SecretStr | None = Field(default=None, description="Key that webhooks are signed with")

    metrics_port: int = Field(default=0, ge=0, le=65535, description="Port of the Prometheus exporter; 0 is off")
    metrics_host: str = Field(default="127.0.0.1", description="Address of the Prometheus exporter")

    log_json: bool = Field(default=False, description="Log lines as JSON objects, as --log-json")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = Field(
        default=None, description="Lowest level of log lines shown, as --log-level"
    )

    view_host: str = Field(default="127.0.0.1", description="Address that the live viewer listens on")
    view_port: int = Field(default=8080, ge=0, le=65535, description="Port of the live viewer; 0 is a free one")
    view_token_file: Path | None = Field(
        default=None, description="File of the token that the live viewer asks for; needed beyond loopback"
    )

    traces: Literal["off", "otlp", "console"] = Field(
        default="off", description="Where spans go: nowhere, to an OTLP/HTTP collector, or to stderr"
    )
    traces_endpoint: str = Field(
        default="http://127.0.0.1:4318", description="Base URL of the OTLP/HTTP collector; /v1/traces is added"
    )
    traces_sample: float = Field(
        default=0.01, ge=0, le=1, description="Share of frames that are traced; the producer decides, by the frame"
    )

    @field_validator("traces_endpoint")
    @classmethod
    def _collector_is_a_plain_url(cls, value: str) -> str:
        import urllib.parse

        try:
            parts = urllib.parse.urlsplit(value)
            is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # would show what was given
            is_plain = False
        if not is_plain or any(sign in value for sign in "@?#"):
            raise ValueError("use http://HOST:PORT, no user, '?' or '#'; a token goes into OTEL_EXPORTER_OTLP_HEADERS")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("prefix")
    @classmethod
    def _prefix_is_a_topic_name(cls, value: str) -> str:
        import re

        if value and not re.match(NAME_PATTERN, value):
            raise ValueError("use letters, digits, '.', '_' and '-', at most 100")
        return value

    @field_validator("bootstrap")
    @classmethod
    def _bootstrap_is_a_list_of_addresses(cls, value: str) -> str:
        for address in value.split(","):
            host, colon, port = address.strip().rpartition(":")
            if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
                raise ValueError(f"{address!r} is not host:port")
        return value

    @field_validator("instance_id")
    @classmethod
    def _instance_is_a_name(cls, value: str | None) -> str | None:
        import re

        if value is not None and not re.fullmatch(NAME_PATTERN, value):
            raise ValueError("use letters, digits, '.', '_' and '-', at most 100, a letter or digit first")
        return value

    @model_validator(mode="after")
    def _security_is_whole(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (self.security_username and self.security_password):
            raise ValueError("security_protocol with SASL needs security_username and security_password")
        if bool(self.security_cert_file) != bool(self.security_key_file):
            raise ValueError("security_cert_file and security_key_file belong together")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options and the TOML file come in as init values, over the environment; no .env file is read."""
        return init_settings, env_settings if isinstance(env_settings, EnvSettingsSource) else init_settings


def load_settings(*, file: Path | None = None, **options: Any) -> Settings:
    """Read all settings once.

    Args:
        file: A TOML file of settings; overrides the environment. `STREAMPROC_SETTINGS` names one when this is None.
        **options: From the command line; None means not given. Override both.

    Raises:
        SettingError: An unknown name or a refused value, with the name and where it came from.
    """
    file = file or (Path(named) if (named := os.environ.get(f"{PREFIX}SETTINGS")) else None)
    from_file = _read_toml(file) if file else {}
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**{**from_file, **given})
    except ValidationError as error:
        raise SettingError(_explain(error, given=given, from_file=from_file, file=file)) from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingError(f"settings file {file} does not exist") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"settings file {file} cannot be read: {error}") from None


def _explain(error: ValidationError, *, given: dict[str, Any], from_file: dict[str, Any], file: Path | None) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    if name in given:
        origin = f"option --{name.replace('_', '-')}"
    elif name in from_file:
        origin = f"{name} in {file}"
    else:
        origin = f"{PREFIX}{name.upper()}" if first["loc"] else "settings"
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(Settings.model_fields))
        return f"{origin}: there is no such setting; the settings are {known}"
    secret = "password" in name or name.startswith(("sink_", "traces_endpoint"))
    shown = "" if secret or not first["loc"] else f", got {first['input']!r}"
    return f"{origin}: {first['msg'].removeprefix('Value error, ')}{shown}"


def value_of(variable: str) -> str | None:
    """One variable of the environment that is not a setting (test switches, the user's Java); None if unset."""
    return os.environ.get(variable)


def our_variables() -> list[str]:
    """Names of all variables of the environment that look like ours, settings or not."""
    return sorted(name for name in os.environ if name.startswith(PREFIX))


def known_variables() -> list[str]:
    """Names of all variables that are read, by this module or the tests."""
    return sorted([*(f"{PREFIX}{name.upper()}" for name in Settings.model_fields), *_OTHER_VARIABLES])


def child_environment(changes: Mapping[str, str] | None = None, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """The environment for a child process: ours, `without` some variables, with `changes`."""
    return {**{name: value for name, value in os.environ.items() if name not in without}, **(changes or {})}
