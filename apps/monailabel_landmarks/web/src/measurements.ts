// SPDX-License-Identifier: Apache-2.0
/** Lengths and angles between landmarks, as they are now. */

import { element, fill, tableRow } from "./elements";
import { distance, type Landmark, type Point } from "./landmarks";

/** A length between two landmarks, or the angle at the second of three. */
export interface Measurement {
  readonly name: string;
  readonly kind: "lengths" | "angles";
  readonly landmarks: readonly string[];
}

/** In mm or degrees; null when one of its landmarks is not present. */
export function measure(one: Measurement, landmarks: readonly Landmark[]): number | null {
  const points = one.landmarks.map((name) => landmarks.find((each) => each.name === name)?.position ?? null);
  const [first, second, third] = points;
  if (!first || !second) return null;
  if (one.kind === "lengths") return distance(first, second);
  return third ? angle(first, second, third) : null;
}

/** With its unit. */
export function measured(one: Measurement, landmarks: readonly Landmark[]): string {
  const value = measure(one, landmarks);
  return value === null ? "-" : one.kind === "lengths" ? `${value.toFixed(2)} mm` : `${value.toFixed(1)}°`;
}

/** Show them all, as they are now. */
export function showMeasurements(all: readonly Measurement[], landmarks: readonly Landmark[]): void {
  element("measured", HTMLDetailsElement).hidden = landmarks.length === 0 || all.length === 0;
  fill("values", all.map((one) => tableRow(one.name, measured(one, landmarks))));
}

function angle(first: Point, corner: Point, last: Point): number | null {
  const one = first.map((value, axis) => value - (corner[axis] ?? 0));
  const other = last.map((value, axis) => value - (corner[axis] ?? 0));
  const size = Math.hypot(...one) * Math.hypot(...other);
  if (size === 0) return null;
  const cosine = one.reduce((sum, value, axis) => sum + value * (other[axis] ?? 0), 0) / size;
  return (Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI;
}
