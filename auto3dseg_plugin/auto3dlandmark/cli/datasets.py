# SPDX-License-Identifier: Apache-2.0
"""The commands about data: look at it, bring it in, give it away."""

from __future__ import annotations

__all__ = ["check", "convert", "export_nnlandmark"]

MOST_LINES = 20


def check(
    dataset: str, fix_suggestions: bool = False, html: str | None = None, landmarks: str | None = None
) -> None:
    """
    Look for what would spoil training; changes nothing.

    Names every bad case, worst first, and what to do.

    Args:
        dataset: a folder of images with landmarks.
        fix_suggestions: say below each finding what would put it right, such as the expected position.
        html: write the findings there too, as a page with pictures and suggestions.
        landmarks: which landmark files, where there are several for an image: a folder, a table, or a pattern
            such as "*-1.mrk.json".
    """
    from ..checks.dataset import check_dataset
    from ..checks.findings import SUSPECT, raise_on_errors, report_findings
    from ..checks.inventory import inventory
    from ..checks.page import write_check_report
    from ..data.datalist import scan_folder
    from ..data.folder import list_images

    listed = scan_folder(dataset, landmarks=landmarks)
    if listed.pairing:
        print(f"note: {listed.pairing}")
    findings = check_dataset(listed)
    if html is not None:
        write_check_report(html, findings, listed)
        print(f"page: {html}")
    raise_on_errors(findings, fix_suggestions)
    if findings:
        print(report_findings(findings, fix_suggestions))
    for line in inventory(listed, len(list_images(dataset))):
        print(line)
    suspects = sum(finding.severity == SUSPECT for finding in findings)
    print(
        f"{len(listed.training)} cases with {len(listed.landmark_names)} landmarks: "
        f"no errors, {suspects} suspect, {len(findings) - suspects} warnings."
    )
    if len(listed.folds) == 1:
        print("nothing can be held out, so nothing will say how far off a network is. Annotate another case.")


def convert(name: str, source: str, out: str, complete: bool = False) -> None:
    """
    Turn a downloaded public benchmark into a dataset, with its published split.

    Args:
        name: afids, mml, pddca, feta or lfc; or nnlandmark for a raw folder of it.
        source: the downloaded folder.
        out: the dataset folder to make; it must not be there yet.
        complete: of mml, keep only the cases that have every landmark.
    """
    from ..data.published import convert as converted
    from ..errors import LandmarkError

    if complete and name != "mml":
        raise LandmarkError("--complete is for mml alone.")
    report = converted(name, source, out, **({"complete": True} if complete else {}))
    for title, key in (("missing", "missing"), ("left out", "left_out")):
        for line in report[key][:MOST_LINES]:
            print(f"{title}: {line}")
        if len(report[key]) > MOST_LINES:
            print(f"{title}: and {len(report[key]) - MOST_LINES} more, see {out}/conversion.json")
    print(f"{len(report['converted'])} cases written to {out}")


def export_nnlandmark(dataset: str, out: str, landmarks: str | None = None) -> None:
    """
    Write a dataset as a raw folder of nnLandmark; lists what is lost.

    Args:
        dataset: a folder of images with landmarks.
        out: the folder to make; it must not be there yet.
        landmarks: which landmark files, where there are several for an image: a folder, a table, or a pattern
            such as "*-1.mrk.json".
    """
    from ..data.datalist import scan_folder
    from ..data.published.nnlandmark_raw import export_nnlandmark as export

    lost = export(scan_folder(dataset, landmarks=landmarks), out)
    for line in lost:
        print(f"lost: {line}")
    print(f"written to {out}; {len(lost)} things lost")
