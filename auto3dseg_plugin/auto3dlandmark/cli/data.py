# SPDX-License-Identifier: Apache-2.0
"""The commands that bring data and models in: each method is a command of ``auto3dlandmark``."""

from __future__ import annotations

from typing import Any

__all__ = ["DataCommands"]


class DataCommands:
    """What cli.py's commands begin with."""

    def convert(self, name: str, source: str, out: str, **options: Any) -> None:
        """
        Convert a public benchmark, as it is downloaded, into a dataset folder with its published split.

        Args:
            name: afids, mml, pddca, feta or lfc; or nnlandmark for a raw folder of it.
            source: the downloaded folder.
            out: the dataset folder to make; it must not be there yet.
            options: for mml, --complete keeps only the cases that have every landmark.
        """
        from ..data.published import convert

        report = convert(str(name), str(source), str(out), **options)
        for title, key in (("missing", "missing"), ("left out", "left_out")):
            for line in report[key][:20]:
                print(f"{title}: {line}")
            if len(report[key]) > 20:
                print(f"{title}: and {len(report[key]) - 20} more, see {out}/conversion.json")
        print(f"{len(report['converted'])} cases written to {out}")

    def export_nnlandmark(self, dataset: str, out: str) -> None:
        """
        Write a dataset as a raw folder of nnLandmark, and list what its form cannot hold.

        Args:
            dataset: images/ and landmarks/, or a MONAI Label studies folder.
            out: the folder to make; it must not be there yet.
        """
        from ..data.datalist import scan_folder
        from ..data.published.nnlandmark_raw import export_nnlandmark

        lost = export_nnlandmark(scan_folder(str(dataset)), str(out))
        for line in lost:
            print(f"lost: {line}")
        print(f"written to {out}; {len(lost)} things lost")

    def check(self, dataset: str, fix_suggestions: bool = False, html: str | None = None) -> None:
        """
        Look for what would spoil training: names every bad case, worst first, and what to do; changes nothing.

        Args:
            dataset: images/ and landmarks/, or a MONAI Label studies folder.
            fix_suggestions: say below each finding what would put it right, such as the expected position.
            html: write the findings there too, as a page with pictures and suggestions.
        """
        from ..checks.dataset import check_dataset
        from ..checks.findings import SUSPECT, raise_on_errors, report_findings
        from ..checks.page import write_check_report
        from ..data.datalist import scan_folder

        listed = scan_folder(str(dataset))
        findings = check_dataset(listed)
        if html is not None:
            write_check_report(str(html), findings, listed)
            print(f"page: {html}")
        raise_on_errors(findings, fix_suggestions)
        if findings:
            print(report_findings(findings, fix_suggestions))
        suspects = sum(finding.severity == SUSPECT for finding in findings)
        print(
            f"{len(listed.training)} cases with {len(listed.landmark_names)} landmarks: "
            f"no errors, {suspects} suspect, {len(findings) - suspects} warnings."
        )

    def import_nnlandmark(self, model: str, out: str, configuration: str | None = None) -> None:
        """
        Make a bundle of each trained fold of an nnLandmark results folder; it predicts like the original.

        Args:
            model: the folder with plans.json, dataset.json and fold_*/checkpoint_final.pth.
            out: gets fold_0 and so on.
            configuration: of plans.json; by default the one that was trained.
        """
        from ..bundles.nnlandmark_import import import_nnlandmark

        bundles = " ".join(map(str, import_nnlandmark(str(model), str(out), configuration)))
        print(f"bundles:     {bundles}\nnew images:  auto3dlandmark predict {bundles} IMAGES OUT")
