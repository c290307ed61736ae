// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { landmark } from "../src/landmarks";
import { measure, measured } from "../src/measurements";

const points = [
  landmark("a", [3, 0, 0], "present"),
  landmark("b", [0, 0, 0], "present"),
  landmark("c", [0, 4, 0], "present"),
  landmark("gone", null, "absent"),
];
const of = (kind: "lengths" | "angles", ...landmarks: string[]) => ({ name: "m", kind, landmarks });

it("measures lengths and angles in the world", () => {
  expect(measure(of("lengths", "a", "c"), points)).toBe(5);
  expect(measure(of("angles", "a", "b", "c"), points)).toBeCloseTo(90, 10);
  expect(measured(of("lengths", "a", "c"), points)).toBe("5.00 mm");
  expect(measured(of("angles", "b", "a", "c"), points)).toBe("53.1°");
});

it("says nothing where a landmark is not there", () => {
  expect(measured(of("lengths", "a", "gone"), points)).toBe("-");
  expect(measure(of("angles", "a", "b", "nobody"), points)).toBeNull();
  expect(measure(of("angles", "b", "b", "c"), points)).toBeNull();
});
