# SPDX-License-Identifier: Apache-2.0
"""The app that MONAI Label loads: ``python -m monailabel.main start_server --app THIS_FOLDER --studies
STUDIES``.

Its settings are ``--conf NAME VALUE``: ``bundles``, one folder or a JSON list of them (left out, those in
``model/``); ``minutes`` of a retraining; ``case_seconds``, the most that one image may take; ``score``,
false to predict nothing in advance; ``landmarks``, which landmark files are meant; ``templates``, true to
begin without a bundle, by registration of the cases that are annotated, whose images are of a ``modality``;
``cluster``, the address of a Ray cluster where networks learn and score, with ``gpus`` for each task.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.utils.async_tasks.task import AsyncTask
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from auto3dlandmark.cluster.cluster_place import cluster_place
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.formats.markups import markups_bytes
from auto3dlandmark.review.choice import STRATEGIES
from auto3dlandmark.review.retraining import learnt_from, retraining_status, worth_training
from auto3dlandmark.review.store import ORIGINAL, ReviewStore
from auto3dlandmark.review.submission import ReviewError
from auto3dlandmark.review.versions import ReviewedCases, ServedModel
from auto3dlandmark.workflow.place import Place
from monailabel_landmarks.lib.data_routes import SENT
from monailabel_landmarks.lib.datastore import LandmarkDatastore
from monailabel_landmarks.lib.infer import SPHERES, LandmarkBatchTask, LandmarkInferTask
from monailabel_landmarks.lib.predictor import SECONDS_PER_CASE, Predictors
from monailabel_landmarks.lib.server import create_app, end_in_time
from monailabel_landmarks.lib.strategy import ChoiceStrategy, UncertaintyScoring
from monailabel_landmarks.lib.task_routes import start_training
from monailabel_landmarks.lib.train import LandmarkTrainTask

logger = logging.getLogger(__name__)

MODEL = "landmarks"
SCORING = "uncertainty"


class LandmarksApp(MONAILabelApp):
    """
    Landmarks of one model, in the images of one studies folder.

    Args:
        app_dir: this folder, or one with a ``main.py`` that imports this class.
        studies: the folder of images; labels and everything that is kept go there too.
        conf: see above; all values are text.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        trust, landmarks = _is_true(conf, "trust"), (conf or {}).get("landmarks")
        templates = None
        if _is_true(conf, "templates"):
            templates = ReviewedCases(Path(studies).resolve(), landmarks, (conf or {}).get("modality", "MRI"))
        bundles = bundles_of(conf or {}, Path(app_dir)) if templates is None else []
        self.model = ServedModel(Path(studies) / "review" / "models" / MODEL, bundles, trust, templates)
        self.store = ReviewStore(studies, self.model.names, landmarks)
        seconds = float((conf or {}).get("case_seconds", SECONDS_PER_CASE))
        self.predictor = Predictors(self.model, seconds)
        self.learnt = 0  # cases of the last training
        self.minutes = float((conf or {}).get("minutes", 15))
        self.score_ahead = str((conf or {}).get("score", "true")).lower() != "false"
        described = f"Finds {len(self.model.names)} landmarks and learns from their review. For research."
        super().__init__(app_dir, studies, conf, "Auto3DLandmark", described, labels=list(self.model.names))

    def init_datastore(self) -> LandmarkDatastore:
        return LandmarkDatastore(self.store)

    def init_infers(self) -> dict[str, Any]:
        return {name: LandmarkInferTask(self.predictor, spheres=name == SPHERES) for name in (MODEL, SPHERES)}

    def init_trainers(self) -> dict[str, Any]:
        return {MODEL: LandmarkTrainTask(self.model, self.store, self.minutes, self._place("training"))}

    def init_strategies(self) -> dict[str, Any]:
        return {name: ChoiceStrategy(name, self.model, self.store) for name in STRATEGIES}

    def init_scoring_methods(self) -> dict[str, Any]:
        return {SCORING: UncertaintyScoring(self.model, self.store, self._place("scoring"))}

    def _place(self, task: str) -> Callable[[], Place | None]:
        """What makes the place of a task, in the process that does it."""
        cluster, gpus = (self.conf or {}).get("cluster"), float((self.conf or {}).get("gpus", 0))
        return partial(cluster_place, self.model.folder / task, cluster, 1, gpus)

    def init_batch_infer(self) -> BatchInferTask:
        return LandmarkBatchTask()

    def infer(
        self, request: dict[str, Any], datastore: Any = None, uploaded: Path | None = None
    ) -> dict[str, Any]:
        """
        Run a model on an image of the studies folder.

        Args:
            request: ``model`` and ``image``, an id, never a path. The points are kept as the image's
                prediction; a reviewed label is never touched.
            uploaded: a file to look at instead; no request can name one.

        Raises:
            ReviewError: when there is no such model or image.
        """
        task = self._infers.get(request.get("model"))
        if task is None:
            known = ", ".join(self._infers)
            raise ReviewError(f"there is no model {request.get('model')!r}. There are {known}.", 404)
        image_id = str(request.get("image"))
        try:
            file, params, landmarks = task.run(uploaded or self.store.image(image_id))
        except LandmarkError as error:
            ending = getattr(error, "status", None) == 503  # which is not the image's fault
            if not ending and uploaded is None and image_id in self.store.images():
                self.store.note(image_id, unreadable=True)  # others come first from now on
            raise
        if uploaded is None:  # what a reviewer was shown tells what she corrected
            details = {"version": params["version"]}
            self.store.save(image_id, markups_bytes(landmarks), ORIGINAL, details=details)
        return {"label": image_id, "tag": ORIGINAL, "file": file, "params": params}

    def learn_when_due(self) -> None:
        """Begin a training where there was no bundle, and many more cases are reviewed than at the last."""
        if self.model.templates is None:
            return
        reviewed = len(self.store.labelled())
        self.learnt = self.learnt or learnt_from(retraining_status(self.model))
        if worth_training(reviewed, self.learnt):
            try:
                start_training(MODEL, {})
                self.learnt = reviewed
            except (LandmarkError, HTTPException):
                pass  # such as that one runs already
            except Exception:
                logger.exception("no training could be begun")  # which must not harm what was handed in

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The next case, as the stock app gives it; cases are scored in the background meanwhile."""
        strategy = request.get("strategy", "")
        if strategy not in self._strategies:
            raise ReviewError(
                f"there is no strategy {strategy!r}. There are {', '.join(self._strategies)}.", 404
            )
        if self.score_ahead and self._server_mode and self._strategies[strategy].lacks_scores():
            AsyncTask.run("scoring", request={"method": SCORING})  # does nothing while one runs
        found = super().next_sample(request)
        return {**found, "checksum": None} if found else {}

    def on_init_complete(self) -> None:
        """However the server was started, requests are answered by ours: stock routes would let anybody read
        files."""
        stock = sys.modules.get("monailabel.app")
        if stock is not None:
            stock.app.router.routes[:] = [Mount("/", create_app(self.conf))]
            stock.app.user_middleware.clear()  # which welcomes every website
            stock.app.middleware_stack = None
        for left in ("uploads", SENT):  # by the server before
            shutil.rmtree(self.store.folder / left, ignore_errors=True)
        end_in_time(self.predictor.close)
        self.predictor.start()  # so that the first reviewer need not wait for it


def _is_true(conf: dict[str, str] | None, name: str) -> bool:
    return str((conf or {}).get(name, "")).lower() == "true"


def bundles_of(conf: dict[str, str], app_dir: Path) -> list[Path]:
    """
    The bundles to serve.

    Raises:
        LandmarkError: when none is named and none lies in ``model/``.
    """
    named = conf.get("bundles", "")
    if named.lstrip().startswith("["):
        try:
            return [Path(path) for path in json.loads(named)]
        except (ValueError, TypeError) as error:
            raise LandmarkError(f"bundles={named!r} is not a JSON list of folders.") from error
    if named:
        return [Path(named)]
    found = sorted(path.parent.parent for path in (app_dir / "model").glob("*/configs/inference.json"))
    if not found:
        raise LandmarkError(
            f"no bundle: name one by '--conf bundles FOLDER', or put one into {app_dir / 'model'}."
        )
    return found
