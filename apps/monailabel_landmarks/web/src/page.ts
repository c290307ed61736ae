// SPDX-License-Identifier: Apache-2.0
/** The page: what happens when something is clicked, typed, or answered. */

import { distance, landmark, type Landmark, type Point, Review, risk, same } from "./landmarks";
import { Drafts } from "./drafts";
import { Marks, type Shown } from "./marks";
import { readMarkups, writeMarkups } from "./markups";
import { type Measurement, measured } from "./measurements";
import { type CaseState, type Info, Refused, Server, type Training, Unreachable, type Versions } from "./server";
import { NORMAL, type Plane, Viewer } from "./viewer";

const LOOK_MS = 3000; // between two looks at a training
const RUNNING = ["starting", "preparing", "training", "comparing"];

interface Open {
  readonly id: string;
  readonly mark: string;
  /** Checksum of the label it was made from, "" when there was none. */
  base: string;
  review: Review;
  theirs: Map<string, Landmark>;
}

export class Page {
  private readonly server = new Server();
  private readonly tabs = new BroadcastChannel("auto3dlandmark");
  private drafts!: Drafts;
  private viewer!: Viewer;
  private marks!: Marks;
  private names: string[] = [];
  private measurements: Measurement[] = [];
  private open: Open | null = null;
  private chosen: string | null = null;
  private placing = false;
  private dragged: { from: Point; start: Point } | null = null;
  /** Where the dragged landmark would be put down. */
  private preview: Point | null = null;
  private plane: Plane = "axial";
  private busy = false;

  async start(): Promise<void> {
    this.drafts = await Drafts.open();
    this.viewer = await Viewer.on(element("image", HTMLCanvasElement));
    this.marks = new Marks(element("marks", HTMLCanvasElement), this.viewer);
    this.viewer.onDrawn = () => this.draw();
    this.viewer.onMoved = (at) => {
      element("where", HTMLOutputElement).value = `R ${at.map((value) => value.toFixed(1)).join("  ")} mm`;
    };
    const name = element("reviewer", HTMLInputElement);
    name.value = localStorage.getItem("reviewer") ?? "";
    this.server.reviewer = name.value;
    name.addEventListener("change", () => {
      this.server.reviewer = name.value.trim();
      localStorage.setItem("reviewer", this.server.reviewer);
    });
    this.listen();
    this.update();
    if (new URLSearchParams(location.search).has("view")) {
      await this.attempt(() => this.lookAt());
      return;
    }
    await this.attempt(async () => {
      const info = await this.admitted();
      this.names = info.labels;
      this.measurements = await this.server.measurements();
      const strategies = element("strategy", HTMLSelectElement);
      strategies.replaceChildren(
        ...Object.keys(info.strategies).map((one) => new Option(one.replaceAll("_", " "), one)),
      );
      this.tell(info.datastore.total, info.datastore.completed);
      this.training(info.train_stats.landmarks ?? {});
      const left = await this.drafts.ids();
      if (left.length > 0) this.say(`not handed in yet: ${left.join(", ")}. They are under Cases…`);
    });
  }

  /** Show one image, read only; the second of two sets as another's. */
  private async lookAt(): Promise<void> {
    document.body.classList.add("viewing");
    const { content, shown } = await this.server.view();
    const [first, second] = shown.sets.map((one) => readMarkups(one.text));
    await this.viewer.show(content, shown.image);
    const theirs = new Map((second ?? []).map((one) => [one.name, one]));
    this.open = { id: shown.image, mark: "", base: "", review: new Review(first ?? []), theirs };
    this.choose(this.open.review.rows()[0]?.name ?? null);
    const names = shown.sets.map((one) => one.name);
    element("origin", HTMLParagraphElement).textContent =
      names.length > 1 ? `${names[0]}; diamonds: ${names[1]}` : (names[0] ?? "");
  }

  private get viewing(): boolean {
    return document.body.classList.contains("viewing");
  }

  /** What the server offers, once it lets this browser in. */
  private async admitted(): Promise<Info> {
    for (;;) {
      try {
        return await this.server.info();
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 401) throw error;
      }
      await this.askForToken();
    }
  }

  private askForToken(): Promise<void> {
    const [dialog, field] = [element("entry", HTMLDialogElement), element("token", HTMLInputElement)];
    dialog.showModal();
    return new Promise((entered) => {
      element("enter", HTMLFormElement).onsubmit = (event) => {
        event.preventDefault();
        this.server.enter(field.value).then(
          () => {
            field.value = "";
            dialog.close();
            entered();
          },
          (error: Error) => {
            element("refused", HTMLParagraphElement).textContent = error.message;
          },
        );
      };
      dialog.oncancel = (event) => event.preventDefault();
    });
  }

  // Cases

  private async next(): Promise<void> {
    const id = await this.server.nextCase(element("strategy", HTMLSelectElement).value);
    if (id === null) this.say("no case waits: all of them are reviewed.");
    else await this.show(id);
  }

  /** @param unfinished bring back what was not handed in. */
  private async show(id: string, unfinished = true): Promise<void> {
    this.say(`${id}: opening…`);
    const about = await this.server.about(id);
    const [image, label, draft] = await Promise.all([
      this.server.image(id),
      about.labels.includes("final") ? this.server.label(id) : null,
      unfinished ? this.drafts.load(id) : undefined,
    ]);
    this.say(label === null ? `${id}: finding the landmarks…` : `${id}: opening…`);
    const text = label?.text ?? (await this.server.predict(id));
    const shown = this.ordered(readMarkups(text));
    await this.viewer.show(image.content, about.name);
    // From here on nothing can fail: the case is open.
    const open: Open = {
      id,
      mark: image.mark,
      base: label?.checksum ?? "",
      review: new Review(shown),
      theirs: new Map(),
    };
    if (draft !== undefined && draft.mark === image.mark) {
      open.base = draft.base;
      open.review.replace(readMarkups(draft.text));
    }
    this.open = open;
    this.placing = false;
    this.tabs.postMessage({ opened: id });
    const first = open.review.rows()[0];
    this.choose(first?.name ?? null);
    this.say(draft === undefined ? "" : `${id}: your unfinished work of before is back.`);
    const origin = element("origin", HTMLParagraphElement);
    origin.textContent = label === null ? "Predicted." : "Reviewed before.";
    if (label !== null) {
      const info = await this.server.labelInfo(id);
      const who = info.reviewer ? ` by ${info.reviewer}` : "";
      origin.textContent = `Reviewed before${who}${info.earlier ? `, ${info.earlier} earlier versions` : ""}.`;
    }
  }

  private ordered(found: readonly Landmark[]): Landmark[] {
    const known = new Map(found.map((one) => [one.name, one]));
    const names = this.names.length > 0 ? this.names : [...known.keys()];
    return names.map((name) => known.get(name) ?? landmark(name, null, "unknown"));
  }

  private async submit(base?: string): Promise<void> {
    const open = this.open;
    if (open === null) return;
    const text = writeMarkups(open.review.all());
    await this.keep();
    try {
      open.base = await this.server.submit(open.id, text, base ?? open.base, open.mark);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 409) throw error;
      await this.conflict(open, error);
      return;
    }
    await this.drafts.remove(open.id);
    open.review = new Review(open.review.all());
    open.theirs = new Map();
    this.say(`${open.id}: handed in.`);
    element("origin", HTMLParagraphElement).textContent = "Handed in.";
    const info = await this.server.info();
    this.tell(info.datastore.total, info.datastore.completed);
    this.training(info.train_stats.landmarks ?? {});
  }

  private async conflict(open: Open, error: Refused): Promise<void> {
    const label = await this.server.label(open.id);
    if (label === null) throw error; // of another kind: the image was replaced
    open.theirs = new Map(readMarkups(label.text).map((one) => [one.name, one]));
    this.say(error.message, true);
  }

  private async handInMine(): Promise<void> {
    if (this.open === null) return;
    const label = await this.server.label(this.open.id);
    await this.submit(label?.checksum ?? "");
  }

  private async takeTheirs(): Promise<void> {
    if (this.open === null) return;
    const { id, review } = this.open;
    await this.show(id, false);
    await this.drafts.remove(id);
    this.open.review.offer(review.all());
    this.say("these are theirs. Redo brings yours back, one by one.");
  }

  /** Write what is edited to this browser's database. */
  private async keep(): Promise<void> {
    const open = this.open;
    if (open === null) return;
    const text = writeMarkups(open.review.all());
    if (open.review.edited)
      await this.drafts.save({ id: open.id, base: open.base, mark: open.mark, text, at: Date.now() });
    else await this.drafts.remove(open.id);
  }

  private async list(): Promise<void> {
    const [cases, drafts] = [await this.server.cases(), new Set(await this.drafts.ids())];
    const rows = Object.entries(cases).map(([id, one]) => {
      const row = document.createElement("tr");
      const open = document.createElement("button");
      open.type = "button";
      open.textContent = id;
      open.addEventListener("click", () => {
        element("list", HTMLDialogElement).close();
        void this.attempt(() => this.show(id));
      });
      const gain = one.image.info.gain;
      row.append(cell(open), cell(state(one, drafts.has(id))), cell(gain == null ? "" : gain.toFixed(1)));
      return row;
    });
    element("listed", HTMLTableSectionElement).replaceChildren(...rows);
    element("list", HTMLDialogElement).showModal();
  }

  // Landmarks

  private choose(name: string | null): void {
    this.chosen = name;
    if (name !== null && this.open !== null) {
      const at = this.open.review.get(name).position ?? this.open.review.before(name).position;
      if (at !== null) this.viewer.jump(at);
    }
    this.update();
  }

  private step(by: number): void {
    const rows = this.open?.review.rows() ?? [];
    const at = rows.findIndex((one) => one.name === this.chosen);
    const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
    if (next !== undefined) this.choose(next.name);
  }

  /** Change the landmarks of the open case, and keep that. */
  private change(action: (review: Review, name: string) => void): void {
    if (this.open === null || this.chosen === null || this.busy) return; // what is being handed in stays so
    action(this.open.review, this.chosen);
    this.update();
    void this.attempt(() => this.keep(), false);
  }

  private travel(pick: (review: Review) => Landmark | null): void {
    if (this.open === null || this.busy) return;
    const changed = pick(this.open.review);
    if (changed === null) return;
    this.choose(changed.name);
    void this.attempt(() => this.keep(), false);
  }

  private nudge(key: string, share: number): void {
    const at = this.chosen === null ? null : (this.open?.review.get(this.chosen).position ?? null);
    if (at === null) return;
    const [across, along] = [0, 1, 2].filter((axis) => axis !== NORMAL[this.plane]) as [number, number];
    const middle = this.viewer.toScreen(at, this.plane);
    const point: [number, number, number] = [...at];
    const axis = key === "ArrowLeft" || key === "ArrowRight" ? across : along;
    point[axis] = (point[axis] ?? 0) + this.viewer.voxel * share;
    const beside = this.viewer.toScreen(point, this.plane);
    if (middle === null || beside === null) return;
    // Right is right on the screen, whichever way the image lies.
    const forward = axis === across ? beside.x > middle.x : beside.y < middle.y;
    if (forward !== (key === "ArrowRight" || key === "ArrowUp"))
      point[axis] = (at[axis] ?? 0) - this.viewer.voxel * share;
    this.change((review, name) => review.place(name, point));
    this.viewer.jump(point);
  }

  private shown(): Shown[] {
    const open = this.open;
    if (open === null) return [];
    const preview = this.preview;
    return open.review.all().map((one) => ({
      now: preview !== null && one.name === this.chosen ? landmark(one.name, preview, "present") : one,
      before: open.review.before(one.name),
      theirs: open.theirs.get(one.name) ?? null,
      chosen: one.name === this.chosen,
    }));
  }

  // What is seen

  private draw(): void {
    this.marks?.draw(this.shown());
    this.measure();
  }

  /** Lengths and angles, while a mark is dragged, too. */
  private measure(): void {
    const now = this.shown().map((one) => one.now);
    element("measured", HTMLDetailsElement).hidden = now.length === 0 || this.measurements.length === 0;
    const rows = this.measurements.map((one) => {
      const row = document.createElement("tr");
      row.append(cell(one.name), cell(measured(one, now)));
      return row;
    });
    element("values", HTMLTableSectionElement).replaceChildren(...rows);
  }

  private update(): void {
    const open = this.open;
    element("case", HTMLHeadingElement).textContent = open?.id ?? "No case is open";
    element("empty", HTMLParagraphElement).hidden = open !== null;
    element("conflict", HTMLDivElement).hidden = !open || open.theirs.size === 0 || this.viewing;
    const rows = (open?.review.rows() ?? []).map((one) => this.row(one));
    element("rows", HTMLTableSectionElement).replaceChildren(...rows);
    rows.find((row) => row.ariaSelected === "true")?.scrollIntoView({ block: "nearest" });
    const chosen = open !== null && this.chosen !== null ? open.review.before(this.chosen) : null;
    element("note", HTMLParagraphElement).textContent = chosen?.note ?? "";
    for (const name of ["place", "absent", "unknown", "revert", "undo", "redo", "robust", "full", "submit"])
      element(name, HTMLButtonElement).disabled = open === null || this.busy;
    element("next", HTMLButtonElement).disabled = this.busy;
    element("place", HTMLButtonElement).ariaPressed = String(this.placing);
    this.draw();
  }

  private row(one: Landmark): HTMLTableRowElement {
    const before = this.open?.review.before(one.name) ?? one;
    const row = document.createElement("tr");
    row.ariaSelected = String(one.name === this.chosen);
    row.className = this.open?.review.edited && !same(one, before) ? "edited" : "";
    row.addEventListener("click", () => this.choose(one.name));
    const there =
      one.status !== "present"
        ? one.status
        : before.probability !== null
          ? `${Math.round(100 * before.probability)} %`
          : before.score !== null
            ? before.score.toFixed(2)
            : "";
    const radius = before.radius === null ? "" : `${before.radius.toFixed(1)} mm`;
    const beside = this.viewing ? this.open?.theirs.get(one.name) : before;
    const moved = one.position && beside?.position ? distance(one.position, beside.position) : 0;
    row.append(cell(one.name), cell(there), cell(radius), cell(moved > 0.005 ? `${moved.toFixed(2)} mm` : ""));
    row.title = Number.isFinite(risk(before)) ? before.note : "nothing is said of it";
    return row;
  }

  private tell(total: number, completed: number): void {
    element("progress", HTMLOutputElement).value = `${completed} of ${total} reviewed`;
  }

  private say(sentence: string, bad = false): void {
    const place = element("said", HTMLParagraphElement);
    place.textContent = sentence;
    place.className = bad ? "bad" : "";
  }

  private training(status: Training): void {
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
    void this.attempt(async () => this.tellVersions(await this.server.versions()), false);
    if (running) window.setTimeout(() => void this.attempt(() => this.look(), false), LOOK_MS);
  }

  private tellVersions(told: Versions): void {
    const options = told.versions.map(({ version, ended }) => {
      const when = ended === undefined ? "as started" : new Date(1000 * ended).toLocaleString();
      return new Option(`version ${version}, ${when}`, String(version), false, version === told.served);
    });
    element("version", HTMLSelectElement).replaceChildren(...options);
  }

  private async look(): Promise<void> {
    this.training((await this.server.info()).train_stats.landmarks ?? {});
  }

  /** Run something that may fail, with a sentence when it does; nothing else is begun meanwhile. */
  private async attempt(action: () => Promise<void>, alone = true): Promise<void> {
    if (alone && this.busy) return;
    if (alone) this.busy = true;
    this.update();
    try {
      await action();
    } catch (error) {
      const known = error instanceof Refused || error instanceof Unreachable || error instanceof Error;
      this.say(known ? error.message : String(error), true);
    } finally {
      if (alone) this.busy = false;
      this.update();
    }
  }

  // What is done

  private listen(): void {
    const click = (id: string, action: () => void) =>
      element(id, HTMLButtonElement).addEventListener("click", action);
    click("next", () => void this.attempt(() => this.next()));
    click("cases", () => void this.attempt(() => this.list()));
    click("help", () => element("keys", HTMLDialogElement).showModal());
    click("place", () => this.togglePlacing());
    click("absent", () => this.change((review, name) => review.mark(name, "absent")));
    click("unknown", () => this.change((review, name) => review.mark(name, "unknown")));
    click("revert", () => this.change((review, name) => review.revert(name)));
    click("undo", () => this.travel((review) => review.undo()));
    click("redo", () => this.travel((review) => review.redo()));
    click("robust", () => this.viewer.resetWindow());
    click("full", () => this.viewer.setWindow(this.viewer.window.least, this.viewer.window.most));
    click("submit", () => void this.attempt(() => this.submit()));
    click("mine", () => void this.attempt(() => this.handInMine()));
    click("theirs", () => void this.attempt(() => this.takeTheirs()));
    click("train", () =>
      void this.attempt(async () => {
        await this.server.train();
        await this.look();
      }));
    const version = element("version", HTMLSelectElement);
    version.addEventListener(
      "change",
      () =>
        void this.attempt(async () => {
          this.tellVersions(await this.server.serveVersion(Number(version.value)));
          this.say(`version ${version.value} finds the landmarks from the next case on.`);
        }),
    );
    click("stop", () =>
      void this.attempt(async () => {
        await this.server.stopTraining();
        await this.look();
      }));
    document.addEventListener("keydown", (event) => this.key(event));
    const stage = element("stage", HTMLElement);
    for (const kind of ["pointerdown", "mousedown", "touchstart"] as const)
      stage.addEventListener(kind, (event) => this.press(event), { capture: true });
    stage.addEventListener("pointermove", (event) => this.move(event), { capture: true });
    for (const kind of ["pointerup", "pointercancel"] as const)
      stage.addEventListener(kind, () => this.release(), { capture: true });
    this.tabs.addEventListener("message", (event: MessageEvent<{ opened?: string; open?: string }>) => {
      const { opened, open } = event.data;
      if (this.open === null || (opened ?? open) !== this.open.id) return;
      if (opened !== undefined) this.tabs.postMessage({ open: opened });
      this.say(`${this.open.id} is open in another tab, too. Go on in one of them.`, true);
    });
    window.addEventListener("resize", () => this.draw());
  }

  private togglePlacing(): void {
    this.placing = !this.placing && this.chosen !== null;
    this.update();
  }

  private key(event: KeyboardEvent): void {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (typing || document.querySelector("dialog[open]") !== null) return;
    const held = event.ctrlKey || event.metaKey;
    const actions: Record<string, () => void> = held
      ? {
          z: () => this.travel((review) => review.undo()),
          y: () => this.travel((review) => review.redo()),
          Enter: () => void this.attempt(() => this.submit()),
        }
      : {
          n: () => void this.attempt(() => this.next()),
          p: () => this.togglePlacing(),
          a: () => this.change((review, name) => review.mark(name, "absent")),
          u: () => this.change((review, name) => review.mark(name, "unknown")),
          r: () => this.change((review, name) => review.revert(name)),
          "?": () => element("keys", HTMLDialogElement).showModal(),
          Escape: () => {
            this.placing = false;
            this.update();
          },
          ArrowUp: () => this.step(-1),
          ArrowDown: () => this.step(1),
        };
    const nudged = !this.viewing && event.shiftKey && event.key.startsWith("Arrow");
    const action = nudged ? () => this.nudge(event.key, event.altKey ? 0.1 : 1) : actions[event.key];
    if (action === undefined || (this.viewing && !["ArrowUp", "ArrowDown", "?"].includes(event.key))) return;
    event.preventDefault();
    action();
  }

  /** Take hold of a mark, or place the chosen landmark; else the image gets the click. */
  private press(event: Event): void {
    const pointer = event instanceof PointerEvent ? event : null;
    if (this.dragged !== null && pointer === null) {
      event.stopPropagation(); // the same press, told again as that of a mouse or a finger
      return;
    }
    if (pointer === null || pointer.button !== 0 || this.open === null || this.busy || this.viewing) return;
    const { x, y } = this.inCanvas(pointer);
    const tile = this.viewer.tileAt(x, y);
    const under = tile === null ? null : this.viewer.toPoint(x, y);
    if (tile === null || under === null) return;
    this.plane = tile.plane;
    if (this.placing && this.chosen !== null) {
      this.change((review, name) => review.place(name, under));
      this.placing = false;
      this.viewer.jump(under);
      this.update();
      this.dragged = null;
      event.stopPropagation();
      return;
    }
    const name = this.marks.at(x, y, tile, this.shown());
    const from = name === null ? null : this.open.review.get(name).position;
    if (name === null || from === null) return;
    this.chosen = name;
    this.dragged = { from, start: under };
    element("stage", HTMLElement).setPointerCapture(pointer.pointerId);
    event.stopPropagation();
    this.update();
  }

  private move(event: PointerEvent): void {
    const { x, y } = this.inCanvas(event);
    const tile = this.viewer.tileAt(x, y);
    if (tile !== null && this.dragged === null) this.plane = tile.plane;
    if (this.dragged === null || this.open === null || this.chosen === null) return;
    event.stopPropagation();
    const under = tile?.plane === this.plane ? this.viewer.toPoint(x, y) : null;
    if (under === null) return;
    const { from, start } = this.dragged;
    // Only what the pointer travelled counts: the point keeps its place across the plane.
    const to = from.map((value, axis) => value + (under[axis] ?? 0) - (start[axis] ?? 0));
    this.preview = to as unknown as Point;
    this.draw();
  }

  private release(): void {
    if (this.dragged === null) return;
    this.dragged = null;
    const at = this.preview;
    this.preview = null;
    if (at === null) this.update();
    else {
      this.change((review, name) => review.place(name, at));
      this.viewer.jump(at);
    }
  }

  private inCanvas(event: PointerEvent): { x: number; y: number } {
    const box = element("image", HTMLCanvasElement).getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }
}

function state(one: CaseState, draft: boolean): string {
  if (draft) return "not handed in";
  if ("final" in one.labels) return "reviewed";
  if (one.image.info.unreadable) return "unreadable";
  return "original" in one.labels ? "predicted" : "unseen";
}

function cell(content: string | HTMLElement): HTMLTableCellElement {
  const made = document.createElement("td");
  made.append(content); // text stays text
  return made;
}

function element<T extends HTMLElement>(id: string, kind: { new (): T }): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}.`);
  return found;
}
