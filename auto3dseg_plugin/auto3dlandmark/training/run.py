# SPDX-License-Identifier: Apache-2.0
"""Run the training of a bundle: with MONAI's bundle runner, here or on several devices, one at a time.

``models/train.json`` keeps the settings the models beside it were trained with. A training with the same
settings goes on where it stopped; one with others starts afresh, and the earlier models are set aside.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from ..errors import LandmarkError, readable_error
from ..files import read_json, write_json
from ..planning.recipes import top_level

__all__ = ["config_overrides", "prepare_models", "run_on_devices", "train_here", "training_lock"]

# What may differ between two runs of one training: where things lie, and how long it may take.
PLACES = ("bundle_root", "dataset_dir", "datalist", "minutes", "started")
# Auto3DSeg's names for settings of ours.
AUTO3DSEG = {
    "num_epochs": "epochs",
    "num_epochs_per_validation": "val_interval",
    "num_images_per_batch": "batch_size",
    "learning_rate": "optimizer#lr",
}


def config_overrides(parameters: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """
    Training parameters as overrides of train.json.

    Args:
        parameters: head keys of train.json, ids such as ``train#trainer#max_epochs``, or Auto3DSeg's
            ``num_epochs``, ``num_epochs_per_validation``, ``num_images_per_batch``, ``num_warmup_epochs`` and
            ``learning_rate``.
        config: train.json.

    Raises:
        LandmarkError: for a name that is none of these.
    """
    result = {AUTO3DSEG.get(key, key): value for key, value in parameters.items()}
    if "num_warmup_epochs" in result:
        length = result.get("epoch_length", config["epoch_length"])
        result["warmup_steps"] = round(result.pop("num_warmup_epochs") * length)
    unknown = [key for key in result if top_level(key) not in config]
    if unknown:
        raise LandmarkError(
            f"training parameter {unknown[0]!r} is unknown. train.json has: {', '.join(config)}; "
            f"Auto3DSeg's names {', '.join(AUTO3DSEG)} are understood too."
        )
    if "epochs" in result:
        result.setdefault("minutes", None)
    return result


@contextlib.contextmanager
def training_lock(bundle: str | os.PathLike) -> Iterator[None]:
    """
    Only one process trains a bundle at a time; the lock of a process that died is free.

    Raises:
        LandmarkError: when another process trains it now.
    """
    bundle = Path(bundle)
    lock = filelock.FileLock(bundle / ".training.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise LandmarkError(
            f"{bundle}: another process is training this bundle. Wait for it, or stop it first."
        ) from None
    try:
        yield
    finally:
        lock.release()


def prepare_models(bundle: str | os.PathLike, overrides: Mapping[str, Any]) -> Path | None:
    """
    Make ready for a training: models of another training, or of a finished one, are set aside.

    Returns:
        the folder the earlier models are in now, if there were any.
    """
    bundle = Path(bundle)
    models, kept = bundle / "models", bundle / "models" / "train.json"
    settings = {**read_json(bundle / "configs" / "train.json"), **overrides}
    settings = {key: value for key, value in settings.items() if key not in PLACES}
    old = None
    if models.exists() and any(models.iterdir()):
        same = kept.exists() and read_json(kept) == json.loads(json.dumps(settings))
        if not same or (models / "training.json").exists():
            number = next(n for n in range(1, 10_000) if not (bundle / f"models_old_{n}").exists())
            old = models.rename(bundle / f"models_old_{number}")
    write_json(kept, settings)
    return old


def train_here(bundle: str | os.PathLike, **overrides: Any) -> None:
    """
    Run the ``training`` of a bundle in this process, so that stopping this process stops the training.

    Args:
        overrides: config ids and values, as on the command line of ``monai.bundle run``.

    Raises:
        LandmarkError: when the data, the weights or the disk stop it.
    """
    import monai.bundle

    bundle = Path(bundle).resolve()
    config = bundle / "configs" / "train.json"
    if not config.is_file():
        raise LandmarkError(
            f"{bundle}: is not a bundle, it has no configs/train.json. Name a folder made by 'build'."
        )
    for name in ("monai.bundle.workflows", "monai.bundle.config_parser", "monai.bundle.scripts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    settings = {"bundle_root": str(bundle), "started": time.time(), **overrides}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(open(os.devnull, "w")):
            warnings.simplefilter("ignore")
            monai.bundle.run("training", config_file=str(config), logging_file=False, **settings)  # type: ignore
    except RuntimeError as error:
        found = readable_error(error, f"{bundle}: the training stopped")
        raise found from (
            None if isinstance(found, LandmarkError) and "the training stopped" not in str(found) else error
        )


def run_on_devices(
    bundle: str | os.PathLike,
    devices: Sequence[str],
    nodes: int = 1,
    launcher: Sequence[str] = (),
    **overrides: Any,
) -> subprocess.CompletedProcess:
    """
    Run the ``training`` of a bundle on given GPUs, one process for each, and show what they print.

    Args:
        devices: as in ``CUDA_VISIBLE_DEVICES``.
        nodes: how many machines take part.
        launcher: a command that starts Python; left out, this Python, or torchrun for several devices of this machine.
        overrides: as for :func:`train_here`.

    Raises:
        LandmarkError: when the training fails.
    """
    configs = Path(bundle).resolve() / "configs"
    files = [str(configs / "train.json")]
    command = list(launcher) or [sys.executable]
    if len(devices) > 1 or nodes > 1:
        files.append(str(configs / "multi_gpu_train.json"))
        if not launcher:
            command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(devices)}"]
    command += ["-m", "monai.bundle", "run", "training", "--config_file", repr(files)]
    settings = {"bundle_root": str(configs.parent), **overrides}
    for key, value in settings.items():
        command += [f"--{key}", value if isinstance(value, str) else repr(value)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(devices)}
    try:
        return subprocess.run(command, env=environment, check=True)
    except subprocess.CalledProcessError as error:
        raise LandmarkError(
            f"{bundle}: the training on devices {', '.join(devices)} failed with exit status {error.returncode}. "
            "What went wrong is printed above."
        ) from None
