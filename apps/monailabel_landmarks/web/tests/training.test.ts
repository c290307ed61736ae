// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { curves } from "../src/training";

const SIZE = { width: 110, height: 60, edge: 5 };
const look = (seconds: number, mre_mm: number) => ({ step: 0, seconds, mre_mm });

it("draws all networks on the same scales", () => {
  const found = curves([[look(0, 4), look(10, 2)], [], [look(5, 3)]], SIZE);
  expect(found).toEqual([
    [
      [5, 5],
      [105, 55],
    ],
    [[55, 30]],
  ]);
});

it("draws a single look, and a course that does not change", () => {
  expect(curves([[look(0, 4)]], SIZE)).toEqual([[[5, 5]]]);
  expect(curves([[look(1, 4), look(2, 4)]], SIZE)[0]?.map(([, y]) => y)).toEqual([5, 5]);
});
