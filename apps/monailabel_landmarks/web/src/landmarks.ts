// SPDX-License-Identifier: Apache-2.0
/** The landmarks of an open case, and every change a reviewer makes to them. */

import type { Covariance } from "./ellipsoid";

/** RAS millimetres. */
export type Point = readonly [number, number, number];

export type Status = "present" | "absent" | "unknown";

/** One landmark. It has a position if, and only if, it is present. */
export interface Landmark {
  readonly name: string;
  readonly position: Point | null;
  readonly status: Status;
  /** Of the model, in [0, 1]; null of what a person placed. */
  readonly score: number | null;
  /** That holds the landmark with 95 %, by the model, mm. */
  readonly radius: number | null;
  /** Of its position, by the model. */
  readonly covariance: Covariance | null;
  /** Of being there, by the model, in [0, 1]. */
  readonly probability: number | null;
  /** What the model says of it. */
  readonly note: string;
}

const DOUBT_MM = 10; // an absence that is as likely as not is as risky as a radius of so much
const SAME_MM = 1e-6;

export function landmark(name: string, position: Point | null, status: Status): Landmark {
  if ((position !== null) !== (status === "present"))
    throw new Error(`${name}: a landmark has a position if, and only if, it is present.`);
  return { name, position, status, score: null, radius: null, covariance: null, probability: null, note: "" };
}

/** How much it needs a look: most where nothing is said of it, then by its radius, or its score. */
export function risk(one: Landmark): number {
  if (one.score === null && one.radius === null && one.probability === null) return Infinity;
  if (one.status === "absent" && one.probability !== null)
    return DOUBT_MM * (1 - Math.abs(2 * one.probability - 1));
  return one.radius ?? 1 - (one.score ?? 0);
}

export function byName(landmarks: readonly Landmark[]): Map<string, Landmark> {
  return new Map(landmarks.map((one) => [one.name, one]));
}

export function distance(a: Point, b: Point): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

export function same(a: Landmark, b: Landmark): boolean {
  if (a.status !== b.status) return false;
  return a.position === null || b.position === null || distance(a.position, b.position) < SAME_MM;
}

interface Change {
  readonly before: Landmark;
  readonly after: Landmark;
}

/** A case under review: what was shown, what it is now, and the way back. */
export class Review {
  private readonly shown: Map<string, Landmark>;
  private readonly now: Map<string, Landmark>;
  private done: Change[] = [];
  private undone: Change[] = [];

  /** @param shown the landmarks as the case was opened. */
  constructor(shown: readonly Landmark[]) {
    this.shown = new Map(shown.map((one) => [one.name, one]));
    this.now = new Map(this.shown);
  }

  /** In the order of the files. */
  all(): Landmark[] {
    return [...this.now.values()];
  }

  /** Riskiest first, by what was shown, so that the order stays while a case is edited. */
  rows(): Landmark[] {
    const order = [...this.shown.values()].sort((a, b) => {
      const [first, second] = [risk(a), risk(b)];
      return first === second ? 0 : second - first;
    });
    return order.map((one) => this.get(one.name));
  }

  get(name: string): Landmark {
    return this.look(this.now, name);
  }

  /** As it was shown. */
  before(name: string): Landmark {
    return this.look(this.shown, name);
  }

  get edited(): boolean {
    return this.all().some((one) => !same(one, this.before(one.name)));
  }

  place(name: string, position: Point): void {
    if (!position.every(Number.isFinite)) throw new Error(`${name}: that is no position.`);
    this.change(landmark(name, position, "present"));
  }

  mark(name: string, status: "absent" | "unknown"): void {
    this.change(landmark(name, null, status));
  }

  /** Back to what was shown. */
  revert(name: string): void {
    this.change(this.before(name));
  }

  /** Take over landmarks of elsewhere, such as a draft; those it does not have stay. */
  replace(others: readonly Landmark[]): void {
    for (const one of others) if (this.now.has(one.name)) this.change(one);
  }

  /** Make what somebody gave up for this come back by {@link redo}. */
  offer(others: readonly Landmark[]): void {
    for (const after of others) {
      const before = this.now.get(after.name);
      if (before !== undefined && !same(before, after)) this.undone.push({ before, after });
    }
  }

  /** @returns the landmark that changed; null when there is nothing to take back. */
  undo(): Landmark | null {
    return this.step(this.done, this.undone, (change) => change.before);
  }

  redo(): Landmark | null {
    return this.step(this.undone, this.done, (change) => change.after);
  }

  private change(after: Landmark): void {
    const before = this.get(after.name);
    if (same(before, after)) return;
    this.now.set(after.name, after);
    this.done.push({ before, after });
    this.undone = [];
  }

  private step(from: Change[], to: Change[], pick: (change: Change) => Landmark): Landmark | null {
    const change = from.pop();
    if (change === undefined) return null;
    to.push(change);
    const one = pick(change);
    this.now.set(one.name, one);
    return one;
  }

  private look(where: Map<string, Landmark>, name: string): Landmark {
    const found = where.get(name);
    if (found === undefined) throw new Error(`there is no landmark ${name}.`);
    return found;
  }
}
