// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { BALL, cut, type Covariance } from "../src/ellipsoid";

const lengths = (found: ReturnType<typeof cut>) => found?.axes.map(([x, y]) => Math.hypot(x, y)) ?? [];

it("cuts a ball in circles", () => {
  for (const normal of [0, 1, 2] as const) {
    for (const length of lengths(cut(BALL, 5, normal, 3))) expect(length).toBeCloseTo(4);
    expect(cut(BALL, 5, normal, 5.01)).toBeNull();
  }
});

it("is long where the covariance is, and as large as the radius on average", () => {
  const found = cut([4, 0, 0, 1, 0, 1], 3, 2, 0);
  expect(found?.axes[0][0]).toBeCloseTo(2 * 3 * Math.sqrt(3 / 6));
  expect(lengths(found)[1]).toBeCloseTo(3 * Math.sqrt(3 / 6));
  expect(found?.shift).toEqual([0, 0]);
});

it("lies on the ellipsoid wherever it is cut, however that is turned", () => {
  const u = [0.6, 0.8, 0];
  const v = [-0.48, 0.36, 0.8];
  const w = [0.64, -0.48, 0.6];
  const full = [0, 1, 2].map((i) => [0, 1, 2].map((j) => 9 * u[i]! * u[j]! + 4 * v[i]! * v[j]! + w[i]! * w[j]!));
  const covariance = [full[0]![0], full[0]![1], full[0]![2], full[1]![1], full[1]![2], full[2]![2]] as unknown;
  const scale = (3 * 2.5 * 2.5) / 14;
  for (const normal of [0, 1, 2] as const)
    for (const away of [-1, 0, 1.5]) {
      const found = cut(covariance as Covariance, 2.5, normal, away)!;
      for (const turn of [0, 1, 2, 4]) {
        const [c, s] = [Math.cos(turn), Math.sin(turn)];
        const flat = [0, 1].map((i) => found.shift[i]! + c * found.axes[0][i]! + s * found.axes[1][i]!);
        const point = [...flat];
        point.splice(normal, 0, away);
        const along = [u, v, w].map((axis) => axis.reduce((sum, one, i) => sum + one * point[i]!, 0));
        expect(along[0]! ** 2 / 9 + along[1]! ** 2 / 4 + along[2]! ** 2).toBeCloseTo(scale);
      }
    }
});

it("is nothing when nothing is known, and flat when it is flat", () => {
  expect(cut([0, 0, 0, 0, 0, 0], 1, 0, 0)).toBeNull();
  expect(cut([1, 0, 0, 1, 0, 0], 1, 2, 0.1)).toBeNull();
  expect(lengths(cut([1, 0, 0, 1, 0, 0], 1, 2, 0))[0]).toBeCloseTo(Math.sqrt(1.5));
});
