# SPDX-License-Identifier: Apache-2.0
"""The review store in the form that MONAI Label asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore

from auto3dlandmark.reports.sent_image import image_mark, sent_name
from auto3dlandmark.review.store import FINAL, ORIGINAL, ReviewStore
from auto3dlandmark.review.submission import ReviewError

__all__ = ["LandmarkDatastore"]


class LandmarkDatastore(Datastore):
    """
    Every change goes through :class:`auto3dlandmark.review.store.ReviewStore`, which locks, checks and keeps
    history.
    """

    def __init__(self, store: ReviewStore) -> None:
        self.store = store

    def name(self) -> str:
        return self.store.studies.name

    def set_name(self, name: str) -> None:
        raise ReviewError("the datastore is called after its folder.")

    def description(self) -> str:
        return f"Images and landmarks in {self.name()}"

    def set_description(self, description: str) -> None:
        raise ReviewError("the datastore is described by its folder.")

    def datalist(self) -> list[dict[str, Any]]:
        images = self.store.images()
        labels = self.store.labels()
        return [{"image": str(images[image]), "label": str(path)} for image, path in labels.items()]

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        return {tag: image_id for tag in (FINAL, ORIGINAL) if image_id in self.store.labelled(tag)}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        self.store.label(image_id, tag)
        return image_id

    def get_image(self, image_id: str, params: Any = None) -> bytes:
        return self.store.image(image_id).read_bytes()

    def get_image_uri(self, image_id: str) -> str:
        return str(self.store.image(image_id))

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> bytes:
        return self.store.label(label_id, label_tag).read_bytes()

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return str(self.store.label(label_id, label_tag))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        path = self.store.image(image_id)
        facts = {"ts": int(path.stat().st_mtime), "name": sent_name(path), "mark": image_mark(path)}
        labels = list(self.get_labels_by_image_id(image_id))
        return {**facts, **self.store.notes().get(image_id, {}), "labels": labels}

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        path = self.store.label(label_id, label_tag)
        checksum = self.store.checksum(label_id, label_tag)
        said = [
            entry
            for entry in self.store.log()
            if entry.get("image") == label_id
            and entry.get("tag") == label_tag
            and entry.get("checksum") == checksum
        ]
        facts: dict[str, Any] = {
            key: said[-1][key] for key in ("time", "reviewer", "details") if said and key in said[-1]
        }
        earlier = len(self.store.history(label_id, label_tag))
        return {
            "ts": int(path.stat().st_mtime),
            "name": path.name,
            "checksum": checksum,
            "earlier": earlier,
            **facts,
        }

    def get_labeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        return self.store.labelled(label_tag or FINAL)

    def get_unlabeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        labelled = set(self.store.labelled(label_tag or FINAL))
        return [image for image in self.store.images() if image not in labelled]

    def list_images(self) -> list[str]:
        return list(self.store.images())

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        raise ReviewError("the dataset is not given away as an archive. Copy the studies folder.", 404)

    def refresh(self) -> None:
        """The folder is looked at anew each time."""

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        path = Path(image_filename)
        return self.store.add_image(image_id, path, image_info.get("file_name", path.name))

    def remove_image(self, image_id: str) -> None:
        self.store.remove_image(image_id)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        content = Path(label_filename).read_bytes()
        reviewer, base = str(label_info.get("reviewer", "")), label_info.get("base_checksum")
        self.store.save(image_id, content, label_tag, reviewer, None if base is None else str(base))
        return image_id

    def remove_label(self, label_id: str, label_tag: str) -> None:
        self.store.remove_label(label_id, label_tag)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self.store.note(image_id, **info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        raise ReviewError("what is said about a label is kept when it is submitted, and does not change.")

    def status(self) -> dict[str, Any]:
        images = self.store.images()
        final = self.store.labelled(FINAL)
        tags = {FINAL: len(final), ORIGINAL: len(self.store.labelled(ORIGINAL))}
        return {
            "name": self.name(),
            "description": self.description(),
            "total": len(images),
            "completed": len(final),
            "label_tags": {tag: count for tag, count in tags.items() if count},
            "train": self.datalist(),
        }

    def json(self) -> dict[str, Any]:
        images, notes = self.store.images(), self.store.notes()
        labelled = {tag: set(self.store.labelled(tag)) for tag in (FINAL, ORIGINAL)}
        return {
            "name": self.name(),
            "description": self.description(),
            "objects": {
                image: {
                    "image": {"ext": path.name[len(image) :], "info": notes.get(image, {})},
                    "labels": {
                        tag: {"ext": ".mrk.json", "info": {"name": f"{image}.mrk.json"}}
                        for tag, ids in labelled.items()
                        if image in ids
                    },
                }
                for image, path in images.items()
            },
        }
