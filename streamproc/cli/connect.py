"""Settings of a command: options over file over environment, and the local broker when none is named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from pydantic import SecretStr

from streamproc.errors import PipelineError
from streamproc.logs import apply_logging, hide
from streamproc.settings import Settings, load_settings

if TYPE_CHECKING:
    from streamproc.operators.pipeline import Pipeline

SettingsFile: TypeAlias = Annotated[
    Path | None, typer.Option("--settings", help="TOML file of settings; overrides STREAMPROC_* variables.")
]
Bootstrap: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Kafka bootstrap servers; default: STREAMPROC_BOOTSTRAP, else the local broker."),
]
MetricsPort: TypeAlias = Annotated[int | None, typer.Option(help="Port of the Prometheus exporter; 0 is off.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def settings_for(file: Path | None = None, **options: Any) -> Settings:
    """Read settings; without a named broker, take the one `streamproc broker start` runs, if it runs.

    Raises:
        SettingError: A refused value.
    """
    from streamproc.broker import find_bootstrap

    settings = load_settings(file=file, **options)
    if settings.log_level is not None or settings.log_json:
        apply_logging(level=settings.log_level, as_json=settings.log_json)
    hide(*(str(secret.get_secret_value()) for secret in _secrets(settings)))
    if "bootstrap" not in settings.model_fields_set and (found := find_bootstrap()) is not None:
        return settings.model_copy(update={"bootstrap": found})
    return settings


def _secrets(settings: Settings) -> list[SecretStr]:
    values = [getattr(settings, name) for name in Settings.model_fields]
    return [value for value in values if isinstance(value, SecretStr)]


def pipeline_for(file: Path | None, *, runs_here: bool = False) -> Pipeline:
    """The pipeline of a file; without one, the built-in pipeline.

    Args:
        file: TOML.
        runs_here: Its steps will run in this process or its children: the models they name must be usable.

    Raises:
        PipelineError: The file is refused.
    """
    from streamproc.operators.pipeline_file import default_pipeline, load

    pipeline = default_pipeline() if file is None else load(file)
    if runs_here:
        try:
            pipeline.check()
        except PipelineError as error:
            raise PipelineError(f"{file or 'built-in pipeline'}: {error}") from None
    return pipeline
