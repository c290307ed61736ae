# SPDX-License-Identifier: Apache-2.0
"""
The labels of a MONAI Label studies folder, none of which is ever lost.

The label files are the truth: which images are labelled is what lies in ``labels/<tag>/``. Every change is
made under one lock for all processes, to whole files, and what it replaces is kept::

    CASE.nii.gz                                  images
    labels/final/CASE.mrk.json                   reviewed; labels/original/ holds predictions
    review/history/final/CASE/TIME.mrk.json      what was replaced
    review/trash/TIME/...                        what was deleted
    review/log.jsonl                             who did what when, a line each
    review/notes.json                            on images: how sure the model is, who was given which; may be
    deleted

Images and reviewed labels may lie in any of the forms of :mod:`auto3dlandmark.data.folder`; that is
``images/CASE.nii.gz`` and ``landmarks/CASE.mrk.json``, for example. Reviewed labels replace the files that
are there, whatever they are called, and new ones go where the folder keeps its landmarks.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock

from ..data.annotations import read_folder
from ..data.folder import image_folder, list_images
from ..data.images import IMAGE_SUFFIXES, case_id
from ..errors import LandmarkError
from ..evaluation.corrections import corrections
from ..files import atomic_path
from ..formats import landmark_file, landmark_suffix
from ..journal import append_record, checksum_of, read_records, sync, time_stamp
from ..landmarks import LandmarkSet
from .image_notes import change_notes, read_notes
from .submission import ReviewError, check_plain, check_submission
from .uploads import check_upload, new_image

__all__ = [
    "FINAL",
    "IMAGE_REMOVED",
    "ORIGINAL",
    "REMARKED",
    "SAVED",
    "SAVED_AGAIN",
    "ReviewStore",
    "Saved",
    "checksum_of",
]

FINAL, ORIGINAL = "final", "original"
TAGS = (FINAL, ORIGINAL)
SUFFIX = ".mrk.json"
LONGEST_NAME = 250  # bytes
PERSON = re.compile(r"[^\x00-\x1f\x7f]{0,100}")
MOST_REMARK = 2000
REMARK = re.compile(rf"[^\x00-\x08\x0b-\x1f\x7f]{{1,{MOST_REMARK}}}")
LOCK_SECONDS = 60.0
# What the log says was done.
SAVED, SAVED_AGAIN, REMARKED, IMAGE_REMOVED = "save label", "same label", "remark", "remove image"


@dataclass(frozen=True)
class Saved:
    """A label that is on disk: its content's checksum, and that of the label it replaced, if there was
    one."""

    checksum: str
    replaced: str | None


class ReviewStore:
    """
    The images and labels of a studies folder; several processes and threads may use it at once.

    Args:
        studies: the folder.
        names: landmarks that every label must list.
        landmarks: which landmark files are meant, as for :func:`auto3dlandmark.data.annotations.read_folder`.

    Raises:
        LandmarkError: when there is no such folder, or labels are of another format or of no image.
    """

    def __init__(
        self, studies: str | os.PathLike, names: Sequence[str], landmarks: str | None = None
    ) -> None:
        self.studies, self.names = Path(studies).resolve(), tuple(names)
        if not self.studies.is_dir():
            raise LandmarkError(
                f"{studies}: there is no such folder. Give the folder of the images to review."
            )
        self.folder = self.studies / "review"
        content = read_folder(self.studies, landmarks, {})
        self.image_folder = image_folder(self.studies)
        self.label_folders = {FINAL: content.label_folder, ORIGINAL: self.studies / "labels" / ORIGINAL}
        # Labels that are not called after their image; one beside them would be a second one.
        self.other_names = {
            case: path for case, path in content.labels.items() if path.name != f"{case}{SUFFIX}"
        }
        for path in content.labels.values():
            if landmark_suffix(path) != SUFFIX:
                raise LandmarkError(
                    f"{landmark_file(path)}: labels under review are {SUFFIX} files. "
                    "Save them so from Slicer."
                )
        self.folder.mkdir(exist_ok=True)
        with self.locked():
            folders = {path.parent for path in content.labels.values()}
            for folder in folders | {path for path in self.label_folders.values() if path is not None}:
                for unfinished in folder.glob(".*.tmp"):  # of a killed process
                    unfinished.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """No other process or thread changes the store meanwhile; the lock of a killed process is free."""
        lock = filelock.FileLock(self.folder / "lock", thread_local=False)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout:
            raise ReviewError("the store is busy. Nothing was saved: try again.", 503) from None
        try:
            yield
        finally:
            lock.release()

    def images(self) -> dict[str, Path]:
        """The images there are, by id; a case with two images is left out, as :meth:`doubled` says."""
        return list_images(self.studies, {})

    def doubled(self) -> dict[str, str]:
        """A sentence for each case that has two images."""
        found: dict[str, str] = {}
        list_images(self.studies, found)
        return {case: said.replace(f"{self.image_folder}/", "") for case, said in found.items()}

    def image(self, image_id: str) -> Path:
        """
        Raises:
            ReviewError: when there is no such image; ids are never taken for paths.
        """
        if not image_id.startswith(".") and not set("/\\\0") & set(image_id):
            paths = [self.image_folder / f"{image_id}{suffix}" for suffix in IMAGE_SUFFIXES]
            there = [  # a folder of thousands is not listed for one
                path
                for path in paths
                if len(os.fsencode(path.name)) < LONGEST_NAME and path.is_file() and case_id(path) == image_id
            ]
            if len(there) > 1:
                raise ReviewError(self.doubled().get(image_id, f"image {image_id!r} is there twice."), 409)
            if there:
                return there[0]
        found = self.images().get(image_id)
        if found is None:
            raise ReviewError(f"there is no image {image_id!r}.", 404)
        return found

    def add_image(self, image_id: str | None, file: Path, file_name: str) -> str:
        """
        Add an image; one that is there is never replaced.

        Args:
            image_id: left out, the file's name without its suffix.
            file: the content.
            file_name: what the file was called where it comes from.

        Returns:
            the id.

        Raises:
            ReviewError: for an id that is taken or no name, or a file that is no image.
        """
        image_id, suffix = new_image(image_id, file_name)
        self.folder.joinpath("uploads").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder / "uploads") as folder:
            copy = Path(folder) / f"{image_id}{suffix}"
            shutil.copyfile(file, copy)
            check_upload(copy, file_name)
            sync(copy)
            with self.locked():
                if image_id.casefold() in {known.casefold() for known in self.images()}:
                    raise ReviewError(f"there is an image {image_id!r} already. Choose another name.", 409)
                self._log("add image", image_id)
                change_notes(self.folder / "notes.json", image_id, None)
                os.link(copy, self.image_folder / copy.name)  # unlike a replacement, never over another file
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Move an image and its labels to the trash."""
        with self.locked():
            files = [self.image(image_id)]
            files += [path for tag in TAGS if (path := self._label(image_id, tag)).exists()]
            files += [path for tag in TAGS if (path := self.folder / "history" / tag / image_id).is_dir()]
            self._log(IMAGE_REMOVED, image_id)
            self._to_trash(files)
            change_notes(self.folder / "notes.json", image_id, None)

    def labelled(self, tag: str = FINAL) -> list[str]:
        """Ids of the images that have a label, sorted."""
        return list(self.labels(tag))

    def labels(self, tag: str = FINAL) -> dict[str, Path]:
        """The label files by the id of their image, sorted."""
        folder = self.label_folders[_tag(tag)]
        there = {path.name for path in folder.iterdir()} if folder is not None and folder.is_dir() else set()
        places = {image: self._place(image, path, tag) for image, path in self.images().items()}
        return {
            image: place
            for image, place in places.items()
            if (place.name in there if place.parent == folder else place.is_file())
        }

    def label(self, image_id: str, tag: str = FINAL) -> Path:
        """
        Raises:
            ReviewError: when there is no such label.
        """
        path = self._label(image_id, tag)
        if not path.is_file():
            raise ReviewError(f"image {image_id!r} has no label {tag!r}.", 404)
        return path

    def checksum(self, image_id: str, tag: str = FINAL) -> str | None:
        """Of the label there is now; None when there is none."""
        path = self._label(image_id, tag)
        return checksum_of(path.read_bytes()) if path.is_file() else None

    def save(
        self,
        image_id: str,
        content: bytes,
        tag: str = FINAL,
        reviewer: str = "",
        base: str | None = None,
        details: Mapping[str, Any] | None = None,
        blind: bool = False,
    ) -> Saved:
        """
        Keep a label, exactly as it is; when this returns it is on disk, and what it replaced is in the
        history.

        Args:
            content: a ``.mrk.json`` file.
            reviewer: who made it.
            base: the checksum of the label it was made from, "" when there was none; None: whatever is there.
            details: for the log; plain JSON.
            blind: it was made from the prediction alone, though there was a label already.

        Raises:
            ReviewError: when it is not a full set of landmarks on this image, or somebody saved another one
                meanwhile.
        """
        _check_person(reviewer)
        check_plain(details)
        image, path, new = self.image(image_id), self._label(image_id, tag), checksum_of(content)
        submitted = check_submission(content, self.names, image)
        with self.locked():
            old = self.checksum(image_id, tag)
            facts: dict[str, Any] = {"tag": tag, "reviewer": reviewer, "checksum": new, "replaced": old}
            if tag == FINAL:
                facts["corrected"] = self._corrected(image_id, submitted, old is not None and not blind)
            if old == new:  # sent again after a lost answer, or somebody else agrees
                self._log(SAVED_AGAIN, image_id, **facts)
                return Saved(new, None)
            if base is not None and base != (old or ""):
                raise ReviewError(
                    f"somebody saved another label of {image_id!r} meanwhile. Yours is not lost: load "
                    "theirs, compare, "
                    "and submit again.",
                    409,
                )
            if old is not None:
                kept = _unused(self.folder / "history" / tag / image_id, SUFFIX)
                with atomic_path(kept) as temporary:
                    shutil.copyfile(path, temporary)
                sync(kept.parent)
            # First, so that no label is there without a line that says whose it is.
            self._log(SAVED, image_id, **facts, **({"details": dict(details)} if details else {}))
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
            sync(path.parent)
        return Saved(new, old)

    def _corrected(self, image_id: str, submitted: LandmarkSet, again: bool) -> dict[str, Any]:
        """How a label differs from what the reviewer was shown: the label before, or the prediction."""
        before = None
        with contextlib.suppress(LandmarkError):  # whatever was done to it by hand
            before = self.landmarks(image_id, FINAL if again else ORIGINAL)
        shown = "nothing" if before is None else FINAL if again else ORIGINAL
        return {"from": shown, **asdict(corrections(before, submitted))}

    def remark(self, image_id: str, text: str, reviewer: str = "") -> None:
        """
        Keep what somebody says of a case, for good.

        Raises:
            ReviewError: when it is empty or no text, or there is no such image.
        """
        _check_person(reviewer)
        if not isinstance(text, str) or not REMARK.fullmatch(text) or not text.strip():
            raise ReviewError(f"a remark is a text of at most {MOST_REMARK} characters.")
        check_plain({"text": text})
        self.image(image_id)
        with self.locked():
            self._log(REMARKED, image_id, reviewer=reviewer, text=text)

    def remove_label(self, image_id: str, tag: str = FINAL) -> None:
        """Move a label to the trash."""
        with self.locked():
            path = self.label(image_id, tag)
            self._log("remove label", image_id, tag=tag)
            self._to_trash([path])

    def landmarks(self, image_id: str, tag: str = FINAL) -> LandmarkSet:
        """A label, read."""
        return check_submission(self.label(image_id, tag).read_bytes(), self.names)

    def history(self, image_id: str, tag: str = FINAL) -> list[Path]:
        """The labels that were replaced, oldest first."""
        self.image(image_id)
        return sorted((self.folder / "history" / _tag(tag) / image_id).glob(f"*{SUFFIX}"))

    def log(self) -> list[dict[str, Any]]:
        """What was done, oldest first."""
        return read_records(self.folder / "log.jsonl")

    def notes(self) -> dict[str, dict[str, Any]]:
        """What is noted on images, by id; nothing when the file is lost or broken."""
        return read_notes(self.folder / "notes.json")

    def note(self, image_id: str, **values: Any) -> None:
        """Note something on an image."""
        self.image(image_id)
        check_plain(values)
        with self.locked(), contextlib.suppress(LandmarkError):  # a full disk keeps nobody from a case
            change_notes(self.folder / "notes.json", image_id, values)

    def _label(self, image_id: str, tag: str) -> Path:
        return self._place(image_id, self.image(image_id), tag)

    def _place(self, image_id: str, image: Path, tag: str) -> Path:
        """Where the label of an image is, or is to go."""
        if tag == FINAL and image_id in self.other_names:
            return self.other_names[image_id]
        return (self.label_folders[_tag(tag)] or image) / f"{image_id}{SUFFIX}"

    def _to_trash(self, files: Sequence[Path]) -> None:
        folder = _unused(self.folder / "trash")
        for file in files:
            place = folder / file.relative_to(self.studies)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)

    def _log(self, action: str, image_id: str, **facts: Any) -> None:
        entry = {"time": time_stamp(), "action": action, "image": image_id, **facts}
        append_record(self.folder / "log.jsonl", entry)


def _unused(folder: Path, suffix: str = "") -> Path:
    """A place named after the time that nothing has yet, should the clock stand still; sorts as time does."""
    stamp = time_stamp()
    names = itertools.chain([stamp], (f"{stamp}_{number:04d}" for number in itertools.count(1)))
    return next(place for name in names if not (place := folder / f"{name}{suffix}").exists())


def _check_person(reviewer: str) -> None:
    check_plain({"reviewer": reviewer})
    if not isinstance(reviewer, str) or not PERSON.fullmatch(reviewer):
        raise ReviewError("the name of the reviewer must be a line of at most 100 characters.")


def _tag(tag: str) -> str:
    if tag not in TAGS:
        raise ReviewError(f"the tag {tag!r} is unknown. There are {', '.join(TAGS)}.")
    return tag
