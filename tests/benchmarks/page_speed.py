# SPDX-License-Identifier: Apache-2.0
"""How long a reviewer waits in the browser: for the first slice, the next case, and after Submit.

    .venv-label/bin/python tests/benchmarks/page_speed.py WORK

The server, which has answered once, and a Chromium without a graphics card share this machine; the server
scores further cases meanwhile, as it does whenever somebody reviews. The next case is asked for once it was
fetched ahead, as it is when somebody has looked at the case before it for a while.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np
from scipy import ndimage

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT), str(PROJECT / "apps" / "monailabel_landmarks" / "slicer" / "LandmarkReview")]

# Voxels of so many mm: what the network sees at 1 mm takes it seconds, and is not what is measured here.
SIZES = {"256 x 256 x 256": ((256, 256, 256), 0.3), "512 x 512 x 300": ((512, 512, 300), 0.2)}
CASES = 3


def main(work: str, suffix: str = ".nii.gz", minutes: float = 10) -> None:
    """
    Print the table.

    Args:
        work: gets the images.
        suffix: of the images; .nii is compressed by the server.
        minutes: that a prediction may take.
    """
    from playwright.sync_api import sync_playwright

    from tests.label.conftest import Server
    from tests.label.test_browser import CHROMIUM, SWITCHES, ReviewPage

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES.split())
        for name, (shape, spacing) in SIZES.items():
            studies = _images(Path(work) / name.replace(" ", ""), shape, spacing, suffix)
            for kept in ("review", "labels"):  # of an earlier call: nothing would wait to be reviewed
                shutil.rmtree(studies / kept, ignore_errors=True)
            server = Server(studies)
            try:
                _warm_up(server.url, f"case_{CASES - 1}")
                page = ReviewPage(browser, server.url)
                row, said = _measured(page, minutes * 60)
                told = ", ".join(f"{what} {taken:.2f} s" for what, taken in row.items())
                print(f"{name}{suffix} {_megabytes(studies):.0f} MB: {told}. {said}", flush=True)
                page.context.close()
            finally:
                server.stop()
        browser.close()


def _measured(page: Any, most: float) -> tuple[dict[str, float], str]:
    """Seconds by what was waited for, and what the page says of the first case."""
    from tests.label.test_browser import until

    settled, drawn = "!window.review.busy", "new Promise((drawn) => requestAnimationFrame(drawn))"

    def seconds(act: Callable[[], Any], done: str = settled) -> float:
        begun = time.time()
        act()
        until(page.page, done, most)
        page.page.evaluate(drawn)
        return time.time() - begun

    page.page.select_option("#strategy", "first")
    found = {"first slice": seconds(lambda: page.page.click("#next"), "window.review.viewer.shown")}
    found["then its points"] = seconds(lambda: None)
    said = page.said()
    until(page.page, "window.review.ahead.kept !== null", most)
    page.page.evaluate("window.review.ahead.kept.whole.then(() => null)")
    found["next case"] = seconds(lambda: page.page.click("#next"))
    page.choose(page.page.locator("#rows td:first-child").first.text_content())
    page.press("a")
    found["submit"] = seconds(lambda: page.page.click("#submit"))
    return found, said


def _warm_up(url: str, case: str) -> None:
    """Let the server load its model, and answer."""
    from LandmarkReviewLib.client import Client

    Client(url).infer(case)


def _images(folder: Path, shape: tuple[int, ...], spacing: float, suffix: str) -> Path:
    """Smooth structures and noise, as large to compress as a scan."""
    studies = folder / f"studies{suffix.replace('.', '_')}"
    studies.mkdir(parents=True, exist_ok=True)
    for number in range(CASES):
        path = studies / f"case_{number}{suffix}"
        if path.is_file():
            continue
        random = np.random.default_rng(number)
        coarse = random.normal(0, 400, [size // 16 for size in shape])
        smooth = ndimage.zoom(coarse, np.array(shape) / coarse.shape, order=1)
        noisy = (smooth + random.normal(0, 20, shape)).astype(np.int16)
        nib.save(nib.Nifti1Image(noisy, np.diag([spacing, spacing, spacing, 1.0])), path)
    return studies


def _megabytes(studies: Path) -> float:
    return max(path.stat().st_size for path in studies.glob("case_*")) / 1e6


if __name__ == "__main__":
    fire.Fire(main)
