// SPDX-License-Identifier: Apache-2.0
/** Landmarks drawn over the planes: where each is, how far off it may be, and where it was shown before. */

import { BALL, type Covariance, cut, type Flat } from "./ellipsoid";
import { distance, type Landmark, type Point } from "./landmarks";
import { NORMAL, type Plane, type Tile, type Viewer } from "./viewer";

/** Told apart by the colour-blind, too. Source: Okabe and Ito, "Color universal design", 2008. */
const CHOSEN = "#f0e442";
const PREDICTED = "#56b4e9";
const EDITED = "#e69f00";
const THEIRS = "#cc79a7";
const FADED = 0.35; // of points that lie in another slice
const NEAR = 14; // CSS pixels within which a mark is taken hold of

export interface Shown {
  readonly now: Landmark;
  readonly before: Landmark;
  /** Of another reviewer, after a conflict. */
  readonly theirs: Landmark | null;
  readonly chosen: boolean;
}

export class Marks {
  private readonly context: CanvasRenderingContext2D;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly viewer: Viewer,
  ) {
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("this browser cannot draw.");
    this.context = context;
  }

  draw(shown: readonly Shown[]): void {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
    if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, width, height);
    if (!this.viewer.shown) return;
    const crosshair = this.viewer.crosshair;
    for (const tile of this.viewer.tiles()) {
      this.context.save();
      this.context.beginPath();
      this.context.rect(tile.left, tile.top, tile.width, tile.height);
      this.context.clip();
      for (const one of [...shown].sort((a, b) => Number(a.chosen) - Number(b.chosen)))
        this.drawOne(one, tile, crosshair);
      this.context.restore();
    }
  }

  /** The landmark whose mark is under a CSS pixel, the chosen one first; null where there is none. */
  at(x: number, y: number, tile: Tile, shown: readonly Shown[]): string | null {
    let best: { name: string; away: number } | null = null;
    const crosshair = this.viewer.crosshair;
    for (const one of shown) {
      const place = one.now.position && this.viewer.toScreen(one.now.position, tile.plane);
      if (!place || !this.isIn(one.now.position, tile.plane, crosshair)) continue;
      const away = Math.hypot(place.x - x, place.y - y) - (one.chosen ? NEAR / 2 : 0);
      if (away <= NEAR && (best === null || away < best.away)) best = { name: one.now.name, away };
    }
    return best?.name ?? null;
  }

  private isIn(point: Point | null, plane: Plane, crosshair: Point, mm = this.viewer.voxel): boolean {
    return point !== null && Math.abs(point[NORMAL[plane]] - crosshair[NORMAL[plane]]) <= mm;
  }

  private drawOne(one: Shown, tile: Tile, crosshair: Point): void {
    const { now, before, theirs, chosen } = one;
    const plane = tile.plane;
    const moved = now.position && before.position && distance(now.position, before.position) > 1e-6;
    if (before.position !== null && (moved || now.position === null))
      this.cross(before.position, plane, crosshair, PREDICTED, 4);
    if (theirs !== null && theirs.position !== null) this.diamond(theirs.position, plane, crosshair);
    if (now.position === null) return;
    const colour = chosen ? CHOSEN : now.score === null && now.radius === null ? EDITED : PREDICTED;
    const place = this.viewer.toScreen(now.position, plane);
    if (place === null) return;
    this.context.globalAlpha = this.isIn(now.position, plane, crosshair) ? 1 : FADED;
    if (now.radius !== null) this.ellipse(now.position, now.radius, now.covariance, plane, crosshair, colour);
    this.context.strokeStyle = "#000000";
    this.context.lineWidth = 4;
    this.ring(place.x, place.y, chosen ? 6 : 4.5);
    this.context.strokeStyle = colour;
    this.context.lineWidth = 2;
    this.ring(place.x, place.y, chosen ? 6 : 4.5);
    if (chosen) this.name(now.name, place.x, place.y, tile.left + tile.width);
    this.context.globalAlpha = 1;
  }

  private ring(x: number, y: number, radius: number): void {
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 2 * Math.PI);
    this.context.stroke();
  }

  /** Where this slice cuts what holds the landmark with 95 %. */
  private ellipse(
    centre: Point,
    radius: number,
    covariance: Covariance | null,
    plane: Plane,
    crosshair: Point,
    colour: string,
  ): void {
    const normal = NORMAL[plane];
    const found = cut(covariance ?? BALL, radius, normal, crosshair[normal] - centre[normal]);
    if (found === null) return;
    const [first, second] = [0, 1, 2].filter((axis) => axis !== normal) as [number, number];
    const beside = ([across, along]: Flat): Point => {
      const point: [number, number, number] = [...centre];
      point[first] = (point[first] ?? 0) + across;
      point[second] = (point[second] ?? 0) + along;
      return point;
    };
    const ends = found.axes.map(([x, y]): Flat => [x + found.shift[0], y + found.shift[1]]);
    const [middle, one, other] = [found.shift, ...ends].map((flat) => this.viewer.toScreen(beside(flat), plane));
    if (!middle || !one || !other) return;
    this.context.beginPath();
    this.context.ellipse(
      middle.x,
      middle.y,
      Math.max(0.5, Math.hypot(one.x - middle.x, one.y - middle.y)),
      Math.max(0.5, Math.hypot(other.x - middle.x, other.y - middle.y)),
      Math.atan2(one.y - middle.y, one.x - middle.x),
      0,
      2 * Math.PI,
    );
    this.context.setLineDash([4, 4]);
    this.context.lineWidth = 1;
    this.context.strokeStyle = colour;
    this.context.stroke();
    this.context.setLineDash([]);
  }

  private cross(point: Point, plane: Plane, crosshair: Point, colour: string, size: number): void {
    const place = this.viewer.toScreen(point, plane);
    if (place === null) return;
    this.context.globalAlpha = this.isIn(point, plane, crosshair) ? 0.9 : FADED;
    this.context.strokeStyle = colour;
    this.context.lineWidth = 1.5;
    this.context.beginPath();
    this.context.moveTo(place.x - size, place.y - size);
    this.context.lineTo(place.x + size, place.y + size);
    this.context.moveTo(place.x + size, place.y - size);
    this.context.lineTo(place.x - size, place.y + size);
    this.context.stroke();
    this.context.globalAlpha = 1;
  }

  private diamond(point: Point, plane: Plane, crosshair: Point): void {
    const place = this.viewer.toScreen(point, plane);
    if (place === null) return;
    this.context.globalAlpha = this.isIn(point, plane, crosshair) ? 1 : FADED;
    this.context.strokeStyle = THEIRS;
    this.context.lineWidth = 2;
    this.context.beginPath();
    for (const [x, y] of [
      [0, -7],
      [7, 0],
      [0, 7],
      [-7, 0],
    ] as const)
      this.context.lineTo(place.x + x, place.y + y);
    this.context.closePath();
    this.context.stroke();
    this.context.globalAlpha = 1;
  }

  /** @param edge where the tile ends; a name that would not fit before it stands on the other side. */
  private name(text: string, x: number, y: number, edge: number): void {
    this.context.font = "13px system-ui, sans-serif";
    const wide = this.context.measureText(text).width;
    const left = x + 10 + wide > edge ? x - 10 - wide : x + 10;
    this.context.lineWidth = 3;
    this.context.strokeStyle = "#000000";
    this.context.strokeText(text, left, y - 8);
    this.context.fillStyle = CHOSEN;
    this.context.fillText(text, left, y - 8);
  }
}
