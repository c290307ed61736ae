# SPDX-License-Identifier: Apache-2.0
"""Run the training of a bundle: with MONAI's bundle runner, here or on several devices, one at a time.

``models/settings.json`` keeps the settings the models beside it were trained with. A training with the same
settings goes on where it stopped; one with others starts afresh, and the earlier models are set aside.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from ..bundles.agreement import refuse_disagreement
from ..bundles.folder import MACHINE_KEYS, BundleFolder
from ..errors import LandmarkError, readable_error
from ..files import files_digest, read_json, write_json
from ..planning.recipes import top_level

__all__ = [
    "config_overrides",
    "prepare_models",
    "run_on_devices",
    "train_bundle",
    "train_here",
    "training_lock",
    "training_settings",
]

# How long a training may take, what is done with its points, and where prepared images lie do not make it
# another one.
SAME_TRAINING = ("minutes", "started", "progress_part", "posterior", "store")
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
def training_lock(bundle: str | os.PathLike, patience: float = 0) -> Iterator[None]:
    """
    Only one process trains a bundle at a time; the lock of a process that died is free.

    Args:
        patience: seconds to wait for another process.

    Raises:
        LandmarkError: when another process trains it now.
    """
    bundle = Path(bundle)
    lock = filelock.FileLock(bundle / ".training.lock")
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout:
        raise LandmarkError(
            f"{bundle}: another process is training this bundle. Wait for it, or stop it first."
        ) from None
    try:
        yield
    finally:
        lock.release()


def train_bundle(
    bundle: str | os.PathLike,
    parameters: Mapping[str, Any] | None = None,
    devices: Sequence[str] = (),
    nodes: int = 1,
    launcher: Sequence[str] = (),
    say: Callable[[str], None] = print,
    patience: float = 0,
) -> None:
    """
    Train a bundle; an interrupted training with the same settings goes on, any other starts anew.

    Args:
        bundle: its folder.
        parameters: as for :func:`config_overrides`.
        devices: GPUs, as in ``CUDA_VISIBLE_DEVICES``. Several, or another one than this process sees, get
            processes of their own; otherwise the training runs in this process.
        nodes: how many machines take part.
        launcher: a command that starts Python on all of them.
        say: told where earlier models are put.
        patience: seconds to wait for another process that trains it.

    Raises:
        LandmarkError: when the folder is no bundle, a parameter is unknown, the bundle is being trained
            already, or the training fails.
    """
    folder = BundleFolder(Path(bundle).resolve())
    config = folder.read_config("train")
    refuse_disagreement(config, folder.config_path("train"))
    overrides = config_overrides(parameters or {}, config)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    for coarse in folder.coarse_stages():
        if not is_trained(coarse, parameters or {}):
            part = _coarse_parameters(parameters or {}, coarse)
            train_bundle(coarse.path, part, devices, nodes, launcher, say, patience)
    with training_lock(folder.path, patience):
        old = prepare_models(folder, overrides)
        if old is not None:
            say(f"{folder.path.name}: the earlier models are now in {old.name}")
        if launcher or len(devices) > 1 or (devices and devices[0] != visible[0]):
            run_on_devices(folder.path, devices, nodes, launcher, **overrides)
        else:
            train_here(folder.path, **overrides)


def is_trained(folder: BundleFolder, parameters: Mapping[str, Any] | None = None) -> bool:
    """
    Whether a bundle's training has ended, with these parameters; or it came with its weights.

    Args:
        parameters: as for :func:`config_overrides`.
    """
    models, config = folder.models, folder.read_config("train")
    if not models.weights.is_file():
        return False
    if not models.settings.is_file():
        return True
    wanted = training_settings({**config, **config_overrides(parameters or {}, config)})
    return models.outcome.is_file() and read_json(models.settings) == json.loads(json.dumps(wanted))


def _coarse_parameters(parameters: Mapping[str, Any], coarse: BundleFolder) -> dict[str, Any]:
    """The same for the first of two stages, with its part of the minutes."""
    begin, end = coarse.read_config("train")["progress_part"]
    minutes = parameters.get("minutes")
    return {**parameters, **({} if minutes is None else {"minutes": minutes * (end - begin)})}


def prepare_models(folder: BundleFolder, overrides: Mapping[str, Any]) -> Path | None:
    """
    Make ready for a training: models of another training, or of a finished one, are set aside.

    Returns:
        the folder the earlier models are in now, if there were any.
    """
    settings = training_settings({**folder.read_config("train"), **overrides})
    for coarse in folder.coarse_stages():  # another pose is another training
        settings["coarse_stage"] = files_digest([coarse.models.weights])
    models, old = folder.models, None
    if models.path.exists() and any(models.path.iterdir()):
        same = models.settings.exists() and read_json(models.settings) == json.loads(json.dumps(settings))
        if not same or models.outcome.exists():
            number = next(n for n in range(1, 10_000) if not (folder.path / f"models_old_{n}").exists())
            old = models.path.rename(folder.path / f"models_old_{number}")
    write_json(models.settings, settings)
    return old


def training_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """
    Those values of a train.json that make it another training: not where things lie, nor how long it may
    take.
    """
    kept = {key: value for key, value in config.items() if key not in (*MACHINE_KEYS, *SAME_TRAINING)}
    if not kept.get("flip_pairs"):  # nothing is flipped, as before there were flips
        patch = kept.get("random_patch")
        kept.pop("flip_pairs", None)
        if isinstance(patch, Mapping):
            kept["random_patch"] = {key: value for key, value in patch.items() if not key.startswith("flip_")}
    return kept


def train_here(bundle: str | os.PathLike, **overrides: Any) -> None:
    """
    Run the ``training`` of a bundle in this process, so that stopping this process stops the training.

    Args:
        overrides: config ids and values, as on the command line of ``monai.bundle run``.

    Raises:
        LandmarkError: when the data, the weights or the disk stop it.
        KeyboardInterrupt: when a signal stopped it; a checkpoint is there.
    """
    import monai.bundle

    from .prepared import fill_store

    folder = BundleFolder(Path(bundle).resolve())
    config = folder.require("train")
    for name in ("monai.bundle.workflows", "monai.bundle.config_parser", "monai.bundle.scripts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    settings: dict[str, Any] = {"bundle_root": str(folder.path), **overrides}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            fill_store(config, settings)
            settings.setdefault("started", time.time())
            # run() does not say so, but the workflow behind it takes False: leave the logging as it is.
            monai.bundle.run(
                "training",
                config_file=str(config),
                logging_file=False,  # type: ignore[arg-type]
                **settings,
            )
    except RuntimeError as error:
        stopped = f"{bundle}: the training stopped"
        found = readable_error(error, stopped)
        raise found from (error if stopped in str(found) else None)
    finally:  # a training that failed has left its own
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
        gc.collect()  # else its data workers and its memory wait for the next training
    if not folder.models.outcome.is_file() and folder.models.checkpoint.is_file():
        raise KeyboardInterrupt(f"{bundle}: stopped before its end")


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
        launcher: a command that starts Python; left out, this Python, or torchrun for several devices of this
            machine.
        overrides: as for :func:`train_here`.

    Raises:
        LandmarkError: when the training fails.
    """
    folder = BundleFolder(Path(bundle).resolve())
    files = [str(folder.require("train"))]
    command = list(launcher) or [sys.executable]
    if len(devices) > 1 or nodes > 1:
        files.append(str(folder.config_path("multi_gpu_train")))
        if not launcher:
            command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(devices)}"]
    command += ["-m", "monai.bundle", "run", "training", "--config_file", repr(files)]
    settings = {"bundle_root": str(folder.path), **overrides}
    for key, value in settings.items():
        command += [f"--{key}", value if isinstance(value, str) else repr(value)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(devices)}
    try:
        return subprocess.run(command, env=environment, check=True)
    except subprocess.CalledProcessError as error:
        raise LandmarkError(
            f"{bundle}: the training on devices {', '.join(devices)} failed with exit status "
            f"{error.returncode}. "
            "What went wrong is printed above."
        ) from None
