// SPDX-License-Identifier: Apache-2.0
/** How far off a point may be in each direction: the ellipse in which a slice cuts its ellipsoid. */

/** xx, xy, xz, yy, yz, zz, mm². */
export type Covariance = readonly [number, number, number, number, number, number];
/** Along the two axes of a slice, mm. */
export type Flat = readonly [number, number];

export interface Ellipse {
  /** Of its middle from the point. */
  readonly shift: Flat;
  /** Half axes, at right angles. */
  readonly axes: readonly [Flat, Flat];
}

export const BALL: Covariance = [1, 0, 0, 1, 0, 1];
const ROWS = [
  [0, 1, 2],
  [1, 3, 4],
  [2, 4, 5],
] as const;
const FLAT = 1e-9; // mm²

/**
 * The ellipsoid has the shape of the covariance, and is as large as a ball of the radius: the root mean square of its
 * half axes is the radius.
 * @param radius mm.
 * @param normal the axis that the slice is perpendicular to.
 * @param away of the slice from the point along it, mm.
 * @returns null when the slice misses it.
 */
export function cut(covariance: Covariance, radius: number, normal: 0 | 1 | 2, away: number): Ellipse | null {
  const at = (row: number, column: number) => covariance[ROWS[row]![column]!]!;
  const scale = (3 * radius * radius) / (at(0, 0) + at(1, 1) + at(2, 2));
  if (!Number.isFinite(scale)) return null;
  const [a, b] = [0, 1, 2].filter((axis) => axis !== normal) as [number, number];
  const across = at(normal, normal);
  const thin = across < FLAT;
  const left = scale - (thin ? (away === 0 ? 0 : Infinity) : (away * away) / across);
  if (left <= 0) return null;
  const [along, beside] = thin ? [0, 0] : [at(a, normal) / across, at(b, normal) / across];
  const [xx, xy, yy] = [
    at(a, a) - along * at(a, normal),
    at(a, b) - along * at(b, normal),
    at(b, b) - beside * at(b, normal),
  ];
  const [middle, half] = [(xx + yy) / 2, Math.hypot((xx - yy) / 2, xy)];
  const angle = Math.atan2(2 * xy, xx - yy) / 2;
  const [long, short] = [middle + half, middle - half].map((one) => Math.sqrt(left * Math.max(0, one)));
  return {
    shift: [along * away, beside * away],
    axes: [
      [long! * Math.cos(angle), long! * Math.sin(angle)],
      [-short! * Math.sin(angle), short! * Math.cos(angle)],
    ],
  };
}
