// SPDX-License-Identifier: Apache-2.0
/** What the pointer does over the image: it takes hold of a mark and drags it, or places the chosen landmark. */

import { element } from "./elements";
import type { Point } from "./landmarks";
import type { Marks, Shown } from "./marks";
import type { Plane, Viewer } from "./viewer";

/** Whose landmarks they are. */
export interface Holder {
  /** Whether anything may be changed now. */
  readonly changeable: boolean;
  /** Whether the next click places the chosen landmark. */
  readonly placing: boolean;
  shown(): Shown[];
  place(point: Point): void;
  /** @returns where it is; null when it has no position. */
  takeHold(name: string): Point | null;
  draw(): void;
}

export class Pointer {
  /** The plane under the pointer. */
  plane: Plane = "axial";
  /** Where the dragged landmark would be put down. */
  preview: Point | null = null;
  private dragged: { from: Point; start: Point } | null = null;

  constructor(
    private readonly viewer: Viewer,
    private readonly marks: Marks,
    private readonly holder: Holder,
  ) {
    const stage = element("stage", HTMLElement);
    for (const kind of ["pointerdown", "mousedown", "touchstart"] as const)
      stage.addEventListener(kind, (event) => this.press(event), { capture: true });
    stage.addEventListener("pointermove", (event) => this.move(event), { capture: true });
    for (const kind of ["pointerup", "pointercancel"] as const)
      stage.addEventListener(kind, () => this.release(), { capture: true });
  }

  /** Take hold of a mark, or place the chosen landmark; else the image gets the click. */
  private press(event: Event): void {
    const pointer = event instanceof PointerEvent ? event : null;
    if (this.dragged !== null && pointer === null) {
      event.stopPropagation(); // the same press, told again as that of a mouse or a finger
      return;
    }
    if (pointer === null || pointer.button !== 0 || !this.holder.changeable) return;
    const { x, y } = inCanvas(pointer);
    const tile = this.viewer.tileAt(x, y);
    const under = tile === null ? null : this.viewer.toPoint(x, y);
    if (tile === null || under === null) return;
    this.plane = tile.plane;
    if (this.holder.placing) {
      this.holder.place(under);
      this.dragged = null;
      event.stopPropagation();
      return;
    }
    const name = this.marks.at(x, y, tile, this.holder.shown());
    const from = name === null ? null : this.holder.takeHold(name);
    if (from === null) return;
    this.dragged = { from, start: under };
    element("stage", HTMLElement).setPointerCapture(pointer.pointerId);
    event.stopPropagation();
  }

  private move(event: PointerEvent): void {
    const { x, y } = inCanvas(event);
    const tile = this.viewer.tileAt(x, y);
    if (tile !== null && this.dragged === null) this.plane = tile.plane;
    if (this.dragged === null) return;
    event.stopPropagation();
    const under = tile?.plane === this.plane ? this.viewer.toPoint(x, y) : null;
    if (under === null) return;
    const { from, start } = this.dragged;
    // Only what the pointer travelled counts: the point keeps its place across the plane.
    this.preview = from.map((value, axis) => value + (under[axis] ?? 0) - (start[axis] ?? 0)) as unknown as Point;
    this.holder.draw();
  }

  private release(): void {
    if (this.dragged === null) return;
    this.dragged = null;
    const at = this.preview;
    this.preview = null;
    if (at === null) this.holder.draw();
    else this.holder.place(at);
  }
}

function inCanvas(event: PointerEvent): { x: number; y: number } {
  const box = element("image", HTMLCanvasElement).getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}
