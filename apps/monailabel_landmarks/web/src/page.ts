// SPDX-License-Identifier: Apache-2.0
/** The page: the open case, and what happens when something is clicked, typed, or answered. */

import { Ahead } from "./ahead";
import { showCases } from "./cases";
import { Drafts } from "./drafts";
import { element, fill, tableRow } from "./elements";
import { admitted } from "./entry";
import { byName, distance, landmark, type Landmark, Review, risk, same } from "./landmarks";
import { Marks, type Shown } from "./marks";
import { readMarkups, writeMarkups } from "./markups";
import { type Measurement, showMeasurements } from "./measurements";
import { pointsOf } from "./opening";
import { type Comparison, comparisons, showComparisons, showRemarks } from "./past";
import { type Holder, Pointer } from "./pointer";
import { Refused, Server } from "./server";
import { TrainingPanel } from "./training";
import { NORMAL, Viewer } from "./viewer";
import { Windows } from "./windows";

interface Open {
  readonly id: string;
  readonly mark: string;
  /** Checksum of the label it was made from, "" when there was none. */
  base: string;
  review: Review;
  /** Another set of the same landmarks, shown as diamonds. */
  theirs: Map<string, Landmark>;
  /** Somebody else handed it in meanwhile, and it has to be asked whose points stay. */
  conflict: boolean;
  /** Others' labels are not seen. */
  readonly blind: boolean;
  comparisons: Comparison[];
}

/** How a case is opened: without what was not handed in, or without what others placed. */
interface Opening {
  unfinished?: boolean;
  blind?: boolean;
}

const NEED_A_CASE = ["place", "absent", "unknown", "revert", "undo", "redo", "submit", "remark", "solid"];

export class Page {
  private readonly server = new Server();
  private readonly ahead = new Ahead(this.server);
  private readonly tabs = new BroadcastChannel("auto3dlandmark");
  private drafts!: Drafts;
  private viewer!: Viewer;
  private marks!: Marks;
  private pointer!: Pointer;
  private windows!: Windows;
  private training!: TrainingPanel;
  private names: string[] = [];
  private measurements: Measurement[] = [];
  private open: Open | null = null;
  private chosen: string | null = null;
  private placing = false;
  private busy = false;

  async start(): Promise<void> {
    this.drafts = await Drafts.open();
    this.viewer = await Viewer.on(element("image", HTMLCanvasElement));
    this.marks = new Marks(element("marks", HTMLCanvasElement), this.viewer);
    this.pointer = new Pointer(this.viewer, this.marks, this.holder());
    this.windows = new Windows(this.viewer);
    this.training = new TrainingPanel(
      this.server,
      (action, alone) => this.attempt(action, alone),
      (sentence) => this.say(sentence),
    );
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
    const asked = new URLSearchParams(location.search);
    if (asked.has("view")) {
      await this.attempt(() => this.lookAt());
      return;
    }
    await this.attempt(async () => {
      const info = await admitted(this.server);
      this.names = info.labels;
      this.measurements = await this.server.measurements();
      const strategies = element("strategy", HTMLSelectElement);
      strategies.replaceChildren(
        ...Object.keys(info.strategies).map((one) => new Option(one.replaceAll("_", " "), one)),
      );
      this.tell(info.datastore.total, info.datastore.completed);
      this.training.show(info.train_stats.landmarks ?? {});
      const left = await this.drafts.ids();
      if (left.length > 0) this.say(`not handed in yet: ${left.join(", ")}. They are under Cases…`);
      const linked = asked.get("case");
      if (linked !== null) await this.show(linked);
    });
  }

  /** Show one image, read only; the second of two sets as another's. */
  private async lookAt(): Promise<void> {
    document.body.classList.add("viewing");
    const { content, shown } = await this.server.view();
    const [first, second] = shown.sets.map((one) => readMarkups(one.text));
    await this.viewer.show(content, shown.image, shown.affine);
    this.windows.opened();
    this.open = {
      id: shown.image,
      mark: "",
      base: "",
      review: new Review(first ?? []),
      theirs: byName(second ?? []),
      conflict: false,
      blind: false,
      comparisons: [],
    };
    this.choose(this.open.review.rows()[0]?.name ?? null);
    const names = shown.sets.map((one) => one.name);
    this.tellOrigin(names.length > 1 ? `${names[0]}; diamonds: ${names[1]}` : (names[0] ?? ""));
  }

  private get viewing(): boolean {
    return document.body.classList.contains("viewing");
  }

  // Cases

  private get strategy(): string {
    return element("strategy", HTMLSelectElement).value;
  }

  private async next(): Promise<void> {
    const id = await this.server.nextCase(this.strategy);
    if (id === null) this.say("no case waits: all of them are reviewed.");
    else await this.show(id);
  }

  private async show(id: string, { unfinished = true, blind = false }: Opening = {}): Promise<void> {
    this.say(`${id}: opening…`);
    const fetched = this.ahead.take(id, this.training.version);
    const [about, there, draft] = await Promise.all([
      this.server.about(id),
      fetched?.image.catch(() => null),
      unfinished ? this.drafts.load(id) : undefined,
    ]);
    const kept = there?.mark === about.mark ? fetched : null;
    const reviewed = about.labels.includes("final");
    const unseen = reviewed && (blind || draft?.blind === true);
    const ask = () => pointsOf(this.server, this.names, id, { reviewed, unseen, kept });
    const asked = this.server.isOnThisMachine ? null : ask(); // there the network would take what draws the image
    asked?.catch(() => {}); // told below, should the image come
    const image = (kept && there) || (await this.server.image(id));
    this.open = null; // what was open is kept as a draft
    this.update();
    await this.viewer.show(image.content, id, image.affine);
    this.windows.opened();
    this.say(`${id}: finding the landmarks…`);
    const { label, landmarks, found, earlier, remarks, origin, failed } = await (asked ?? ask());
    const open: Open = {
      id,
      mark: image.mark,
      base: label?.checksum ?? "",
      review: new Review(landmarks),
      theirs: new Map(),
      conflict: false,
      blind: unseen,
      comparisons: comparisons(earlier, found),
    };
    if (draft !== undefined && draft.mark === image.mark) {
      open.base = draft.base;
      open.review.replace(readMarkups(draft.text));
    }
    this.open = open;
    this.placing = false;
    this.tabs.postMessage({ opened: id });
    history.replaceState(null, "", `?${new URLSearchParams({ case: id })}`);
    this.choose(open.review.rows()[0]?.name ?? null);
    const back = draft === undefined ? "" : `${id}: your unfinished work of before is back.`;
    this.say(failed ?? back, failed !== null);
    showComparisons(open.comparisons);
    showRemarks(remarks);
    this.tellOrigin(origin);
    void this.ahead.fetch(this.strategy, id, this.training.version);
  }

  private async submit(base?: string): Promise<void> {
    const open = this.open;
    if (open === null) return;
    const text = writeMarkups(open.review.all());
    await this.keep();
    try {
      const { mark, blind } = open;
      open.base = await this.server.submit(open.id, { text, base: base ?? open.base, mark, blind });
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 409) throw error;
      await this.conflict(open, error);
      return;
    }
    await this.drafts.remove(open.id);
    open.review = new Review(open.review.all());
    [open.theirs, open.conflict] = [new Map(), false];
    this.say(`${open.id}: handed in.`);
    this.tellOrigin("Handed in.");
    const info = await this.server.info();
    this.tell(info.datastore.total, info.datastore.completed);
    this.training.show(info.train_stats.landmarks ?? {});
  }

  private async conflict(open: Open, error: Refused): Promise<void> {
    const label = await this.server.label(open.id);
    if (label === null) throw error; // of another kind: the image was replaced
    [open.theirs, open.conflict] = [byName(readMarkups(label.text)), true];
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
    await this.show(id, { unfinished: false });
    await this.drafts.remove(id);
    this.open.review.offer(review.all());
    this.say("these are theirs. Redo brings yours back, one by one.");
  }

  /** Write what is edited to this browser's database. */
  private async keep(): Promise<void> {
    const open = this.open;
    if (open === null) return;
    const text = writeMarkups(open.review.all());
    const { id, base, mark, blind } = open;
    if (open.review.edited) await this.drafts.save({ id, base, mark, text, blind, at: Date.now() });
    else await this.drafts.remove(id);
  }

  private async list(): Promise<void> {
    const [rows, drafts] = [await this.server.cases(), new Set(await this.drafts.ids())];
    const opened = (id: string, how: Opening) => void this.attempt(() => this.show(id, how));
    showCases(rows, drafts, {
      open: (id) => opened(id, {}),
      openBlind: (id) => opened(id, { blind: true }),
    });
  }

  /** Show another set beside this one; -1 for none. */
  private compare(number: number): void {
    if (this.open === null || this.open.conflict) return;
    const found = this.open.comparisons[number];
    this.open.theirs = byName(found === undefined ? [] : readMarkups(found.text));
    this.update();
  }

  private async remark(): Promise<void> {
    const field = element("said_of_it", HTMLTextAreaElement);
    if (this.open === null || field.value.trim() === "") return;
    showRemarks(await this.server.remark(this.open.id, field.value.trim()));
    field.value = "";
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
    const plane = this.pointer.plane;
    const [across, along] = [0, 1, 2].filter((axis) => axis !== NORMAL[plane]) as [number, number];
    const middle = this.viewer.toScreen(at, plane);
    const point: [number, number, number] = [...at];
    const axis = key === "ArrowLeft" || key === "ArrowRight" ? across : along;
    point[axis] = (point[axis] ?? 0) + this.viewer.voxel * share;
    const beside = this.viewer.toScreen(point, plane);
    if (middle === null || beside === null) return;
    // Right is right on the screen, whichever way the image lies.
    const forward = axis === across ? beside.x > middle.x : beside.y < middle.y;
    if (forward !== (key === "ArrowRight" || key === "ArrowUp"))
      point[axis] = (at[axis] ?? 0) - this.viewer.voxel * share;
    this.change((review, name) => review.place(name, point));
    this.viewer.jump(point);
  }

  /** What the pointer may do with the landmarks. */
  private holder(): Holder {
    const page = this;
    return {
      get changeable() {
        return page.open !== null && !page.busy && !page.viewing;
      },
      get placing() {
        return page.placing && page.chosen !== null;
      },
      shown: () => page.shown(),
      place(point) {
        page.change((review, name) => review.place(name, point));
        page.placing = false;
        page.viewer.jump(point);
        page.update();
      },
      takeHold(name) {
        page.chosen = name;
        page.update();
        return page.open?.review.get(name).position ?? null;
      },
      draw: () => page.draw(),
    };
  }

  private shown(): Shown[] {
    const open = this.open;
    if (open === null) return [];
    const preview = this.pointer.preview;
    return open.review.all().map((one) => ({
      now: preview !== null && one.name === this.chosen ? landmark(one.name, preview, "present") : one,
      before: open.review.before(one.name),
      theirs: open.theirs.get(one.name) ?? null,
      chosen: one.name === this.chosen,
    }));
  }

  // What is seen

  private draw(): void {
    const shown = this.shown();
    this.marks.draw(shown);
    showMeasurements(
      this.measurements,
      shown.map((one) => one.now),
    );
  }

  private update(): void {
    const open = this.open;
    element("case", HTMLHeadingElement).textContent = open?.id ?? "No case is open";
    element("empty", HTMLParagraphElement).hidden = open !== null;
    element("conflict", HTMLDivElement).hidden = !open?.conflict;
    element("past", HTMLDetailsElement).hidden = open === null || open.blind || this.viewing;
    const rows = (open?.review.rows() ?? []).map((one) => this.row(one));
    fill("rows", rows);
    rows.find((row) => row.ariaSelected === "true")?.scrollIntoView({ block: "nearest" });
    const chosen = open !== null && this.chosen !== null ? open.review.before(this.chosen) : null;
    element("note", HTMLParagraphElement).textContent = chosen?.note ?? "";
    element("between", HTMLTableCellElement).textContent = this.compared ? "Apart" : "Moved";
    for (const name of NEED_A_CASE) element(name, HTMLButtonElement).disabled = open === null || this.busy;
    for (const name of ["window", "channel"]) element(name, HTMLSelectElement).disabled = open === null;
    element("next", HTMLButtonElement).disabled = this.busy;
    element("place", HTMLButtonElement).ariaPressed = String(this.placing);
    this.draw();
  }

  /** Whether there is another set to compare with. */
  private get compared(): boolean {
    return (this.open?.theirs.size ?? 0) > 0;
  }

  private row(one: Landmark): HTMLTableRowElement {
    const before = this.open?.review.before(one.name) ?? one;
    const there =
      one.status !== "present"
        ? one.status
        : before.probability !== null
          ? `${Math.round(100 * before.probability)} %`
          : before.score !== null
            ? before.score.toFixed(2)
            : "";
    const radius = before.radius === null ? "" : `${before.radius.toFixed(1)} mm`;
    const beside = this.compared ? this.open?.theirs.get(one.name) : before;
    const moved = one.position && beside?.position ? distance(one.position, beside.position) : 0;
    const row = tableRow(one.name, there, radius, moved > 0.005 ? `${moved.toFixed(2)} mm` : "");
    row.ariaSelected = String(one.name === this.chosen);
    row.className = this.open?.review.edited && !same(one, before) ? "edited" : "";
    row.addEventListener("click", () => this.choose(one.name));
    row.title = Number.isFinite(risk(before)) ? before.note : "nothing is said of it";
    return row;
  }

  private tell(total: number, completed: number): void {
    element("progress", HTMLOutputElement).value = `${completed} of ${total} reviewed`;
  }

  private tellOrigin(sentence: string): void {
    element("origin", HTMLParagraphElement).textContent = sentence;
  }

  private say(sentence: string, bad = false): void {
    const place = element("said", HTMLParagraphElement);
    place.textContent = sentence;
    place.className = bad ? "bad" : "";
  }

  /** Run something that may fail, with a sentence when it does; nothing else is begun meanwhile. */
  private async attempt(action: () => Promise<void>, alone = true): Promise<void> {
    if (alone && this.busy) return;
    if (alone) this.busy = true;
    this.update();
    try {
      await action();
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error), true);
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
    click("submit", () => void this.attempt(() => this.submit()));
    click("mine", () => void this.attempt(() => this.handInMine()));
    click("theirs", () => void this.attempt(() => this.takeTheirs()));
    click("remark", () => void this.attempt(() => this.remark()));
    const compared = element("compared", HTMLSelectElement);
    compared.addEventListener("change", () => this.compare(compared.value === "" ? -1 : Number(compared.value)));
    document.addEventListener("keydown", (event) => this.key(event));
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
    const typing = [HTMLInputElement, HTMLSelectElement, HTMLTextAreaElement].some((kind) => event.target instanceof kind);
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
}
