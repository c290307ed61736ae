// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { summary } from "../src/cases";
import type { CaseRow } from "../src/server";

const row = (changes: Partial<CaseRow>): CaseRow => ({
  case: "a",
  state: "unseen",
  reviewers: [],
  reviewed: null,
  gain_mm: null,
  apart_mm: null,
  most_apart: null,
  blind: null,
  remark: null,
  ...changes,
});

it("counts states and people", () => {
  expect(summary([])).toBe("no cases.");
  const rows = [row({}), row({ state: "reviewed", reviewers: ["Ann"] }), row({ state: "reviewed", reviewers: ["Ann", "B"] })];
  expect(summary(rows)).toBe("2 reviewed, 1 unseen. Ann 2, B 1.");
});

it("tells how far two people lie apart", () => {
  const apart = [3, 1, 2].map((mm) => row({ state: "reviewed", apart_mm: mm, blind: mm > 2 }));
  expect(summary(apart)).toContain("Two people looked at 3, and lie 2.00 mm apart (median); 1 of them without");
  expect(summary(apart.slice(0, 2))).toContain("2.00 mm");
});
