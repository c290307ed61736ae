// SPDX-License-Identifier: Apache-2.0
/** Which grey values are black and white, which channel is shown, and whether in 3D, too. */

import { element } from "./elements";
import type { Viewer } from "./viewer";

const AIR = -200; // only CTs have values below it: Hounsfield units
/** Level and width, HU. */
const OF_CT: Record<string, readonly [number, number]> = {
  "CT, bone": [500, 2000],
  "CT, soft tissue": [50, 400],
  "CT, lung": [-600, 1500],
  "CT, brain": [40, 80],
};

export class Windows {
  private readonly windows = element("window", HTMLSelectElement);
  private readonly channels = element("channel", HTMLSelectElement);
  private readonly solid = element("solid", HTMLButtonElement);

  constructor(private readonly viewer: Viewer) {
    this.windows.addEventListener("change", () => this.apply());
    this.channels.addEventListener("change", () => {
      viewer.showChannel(Number(this.channels.value));
      this.offer();
    });
    this.solid.addEventListener("click", () => {
      viewer.showSolid(!viewer.solid);
      this.solid.ariaPressed = String(viewer.solid);
    });
  }

  /** Offer what suits the image that was opened. */
  opened(): void {
    const numbers = Array.from({ length: this.viewer.channels }, (_, number) => number);
    this.channels.replaceChildren(...numbers.map((one) => new Option(`channel ${one + 1}`, String(one))));
    this.channels.hidden = numbers.length < 2;
    this.solid.ariaPressed = String(this.viewer.solid);
    this.offer();
  }

  private offer(): void {
    const ct = this.viewer.window.least < AIR ? Object.keys(OF_CT) : [];
    const options = ["usual window", "all grey values", ...ct].map((name) => new Option(name, name));
    this.windows.replaceChildren(...options);
  }

  private apply(): void {
    const { least, most } = this.viewer.window;
    const ct = OF_CT[this.windows.value];
    if (ct !== undefined) this.viewer.setWindow(ct[0] - ct[1] / 2, ct[0] + ct[1] / 2);
    else if (this.windows.selectedIndex === 1) this.viewer.setWindow(least, most);
    else this.viewer.resetWindow();
  }
}
