"""Libraries that talk too much, kept quiet while ours speak."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

_LOGGERS = ("bitsandbytes", "trl", "accelerate", "peft", "datasets", "torch.distributed")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence progress bars, advice and warnings of the model libraries inside the block.

    Errors still come through. What they print goes to stderr: stdout belongs to results.
    """
    with (
        contextlib.redirect_stdout(sys.stderr),
        warnings.catch_warnings(),
        _errors_only(),
        _no_bars(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    from transformers.utils import logging as hf_logging

    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    verbosity = hf_logging.get_verbosity()
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    import datasets
    from transformers.utils import logging as hf_logging

    bars, dataset_bars = hf_logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    hf_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if bars:
            hf_logging.enable_progress_bar()
        if not dataset_bars:
            datasets.enable_progress_bars()
