// SPDX-License-Identifier: Apache-2.0
/** Training: begun, stopped and followed, and the way back to an earlier version. */

import { element } from "./elements";
import type { Look, Server, Training, Versions } from "./server";

const LOOK_MS = 3000; // between two looks at a training
const RUNNING = ["starting", "preparing", "training", "comparing"];
const SIZE = { width: 300, height: 90, edge: 4 }; // of the curve, in its own units

/** Runs something that may fail, with a sentence when it does. */
export type Attempt = (action: () => Promise<void>, alone?: boolean) => Promise<void>;

export class TrainingPanel {
  /** Of the model that answers. */
  version: number | undefined;

  constructor(
    private readonly server: Server,
    private readonly attempt: Attempt,
    say: (sentence: string) => void,
  ) {
    const click = (id: string, action: () => Promise<void>) =>
      element(id, HTMLButtonElement).addEventListener("click", () => {
        void attempt(async () => {
          await action();
          await this.look();
        });
      });
    click("train", () => server.train());
    click("stop", () => server.stopTraining());
    const chosen = element("version", HTMLSelectElement);
    chosen.addEventListener("change", () => {
      void attempt(async () => {
        this.tellVersions(await server.serveVersion(Number(chosen.value)));
        say(`version ${chosen.value} finds the landmarks from the next case on.`);
      });
    });
  }

  async look(): Promise<void> {
    this.show((await this.server.info()).train_stats.landmarks ?? {});
  }

  show(status: Training): void {
    const running = RUNNING.includes(status.state ?? "");
    const course = element("course", HTMLProgressElement);
    course.hidden = !running;
    if (status.progress === undefined) course.removeAttribute("value");
    else course.value = status.progress;
    element("train", HTMLButtonElement).disabled = running;
    element("stop", HTMLButtonElement).disabled = !running;
    const version = status.version === undefined ? "" : ` Version ${status.version} is served.`;
    element("trained", HTMLParagraphElement).textContent = status.state
      ? `${status.state}${status.reason ? `: ${status.reason}` : ""}.${version}`
      : "Learns from three reviewed cases or more, and is used only if it is at least as good.";
    this.draw(status.course ?? []);
    void this.attempt(async () => this.tellVersions(await this.server.versions()), false);
    if (running) window.setTimeout(() => void this.attempt(() => this.look(), false), LOOK_MS);
  }

  /** How the error on held-out cases falls, a line for each network. */
  private draw(courses: readonly (readonly Look[])[]): void {
    const errors = courses.flat().map((one) => one.mre_mm);
    element("curve", HTMLElement).hidden = errors.length === 0;
    if (errors.length === 0) return;
    const lines = curves(courses, SIZE).map((points) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      const [first] = points;
      const shown = points.length === 1 && first ? [first, [first[0] + 2, first[1]] as const] : points; // a dot
      line.setAttribute("points", shown.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
      return line;
    });
    document.getElementById("lines")?.replaceChildren(...lines);
    const last = courses.flatMap((one) => one.at(-1)?.mre_mm ?? []);
    element("now", HTMLElement).textContent =
      `Mean error on held-out cases, from ${Math.max(...errors).toFixed(2)} (top) to ${Math.min(...errors).toFixed(2)} mm; ` +
      `now ${last.map((one) => one.toFixed(2)).join(", ")} mm`;
  }

  private tellVersions(told: Versions): void {
    this.version = told.served;
    const options = told.versions.map(({ version, ended }) => {
      const when = ended === undefined ? "as started" : new Date(1000 * ended).toLocaleString();
      return new Option(`version ${version}, ${when}`, String(version), false, version === told.served);
    });
    element("version", HTMLSelectElement).replaceChildren(...options);
  }
}

/** Where the looks lie in a picture: time to the right, error upwards, all lines on the same scales. */
export function curves(
  courses: readonly (readonly Look[])[],
  { width, height, edge }: { width: number; height: number; edge: number },
): (readonly [number, number])[][] {
  const looks = courses.flat();
  const [late, worst, best] = [
    Math.max(...looks.map((one) => one.seconds)),
    Math.max(...looks.map((one) => one.mre_mm)),
    Math.min(...looks.map((one) => one.mre_mm)),
  ];
  const across = (seconds: number) => edge + ((width - 2 * edge) * seconds) / (late || 1);
  const down = (mm: number) => edge + ((height - 2 * edge) * (worst - mm)) / (worst - best || 1);
  return courses
    .filter((course) => course.length > 0)
    .map((course) => course.map((one) => [across(one.seconds), down(one.mre_mm)] as const));
}
