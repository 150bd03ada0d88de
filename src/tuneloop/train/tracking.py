"""Trackers, all through one setting: offline unless asked otherwise, and never a secret in them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from tuneloop.config.train import TrackingConfig
from tuneloop.errors import TrainingError

# What each needs to be there, and how to get it.
_MODULES = {
    "wandb": ("wandb", "pip install 'tuneloop[train]'"),
    "tensorboard": ("tensorboard", "pip install 'tuneloop[tracking]'"),
    "mlflow": ("mlflow", "pip install mlflow-skinny sqlalchemy alembic"),
    "trackio": ("trackio", "pip install trackio"),
}


def check_trackers(config: TrackingConfig) -> None:
    """Refuse trackers that are not installed, all of them at once, importing none.

    Raises:
        TrainingError: naming what to install.
    """
    missing = [name for name in config.report_to if not _installed(_MODULES[name][0])]
    if missing:
        raise TrainingError(
            f"not installed: {', '.join(missing)}",
            where="train.tracking.report_to",
            hint=" and ".join(_MODULES[name][1] for name in missing) + ", or leave it out",
        )


@contextlib.contextmanager
def tracked(config: TrackingConfig, work: Path) -> Iterator[list[str]]:
    """Give the trackers as TRL takes them, their environment set for as long as the block lasts.

    Args:
        config: Which trackers, and whether they may send anything.
        work: Where they write where the config names no folder.
    """
    before = {name: os.environ.get(name) for name in _settings(config, work)}
    for name, value in _settings(config, work).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    try:
        yield list(config.report_to)
    finally:
        if "wandb" in config.report_to:
            import wandb

            wandb.finish()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _settings(config: TrackingConfig, work: Path) -> dict[str, str | None]:
    """Return environment variables of the trackers; None: taken out."""
    folder = Path(config.folder or work).resolve()
    offline = config.mode == "offline"
    settings: dict[str, str | None] = {}
    if config.report_to:
        folder.mkdir(parents=True, exist_ok=True)
    if "wandb" in config.report_to:
        settings |= {
            "WANDB_MODE": config.mode,
            "WANDB_DIR": str(folder),
            "WANDB_PROJECT": config.project,
            "WANDB_SILENT": "true",
            "WANDB_DISABLE_CODE": "true",
            "WANDB_DISABLE_GIT": "true",
            "WANDB_LOG_MODEL": "false",
        }
    if "tensorboard" in config.report_to:
        settings["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard" / config.project)
    if "mlflow" in config.report_to:
        settings["MLFLOW_EXPERIMENT_NAME"] = config.project
        settings["MLFLOW_EXPERIMENT_ID"] = None  # MLflow sets it, and would come before the name
        settings["HF_MLFLOW_LOG_ARTIFACTS"] = "false"
        if offline:
            settings["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    if "trackio" in config.report_to:
        settings["TRACKIO_DIR"] = str(folder / "trackio")
        if offline:
            settings["TRACKIO_SPACE_ID"] = settings["TRACKIO_SERVER_URL"] = None
    return settings


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
