// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { landmark, type Landmark, Review, risk } from "../src/landmarks";

const told = (name: string, radius: number | null, more: Partial<Landmark> = {}): Landmark => ({
  name,
  position: [1, 2, 3],
  status: "present",
  score: null,
  radius,
  covariance: null,
  probability: 1,
  note: "",
  ...more,
});

describe("a review", () => {
  it("lists what needs a look first, and keeps that order while it is edited", () => {
    const silent = landmark("silent", null, "unknown");
    const review = new Review([told("small", 1), told("large", 4), silent]);
    expect(review.rows().map((one) => one.name)).toEqual(["silent", "large", "small"]);
    review.place("silent", [0, 0, 0]);
    review.mark("large", "absent");
    expect(review.rows().map((one) => one.name)).toEqual(["silent", "large", "small"]);
    expect(review.all().map((one) => one.name)).toEqual(["small", "large", "silent"]);
  });

  it("takes an absence that is as likely as not for a large risk", () => {
    const doubt = told("a", null, { position: null, status: "absent", probability: 0.5 });
    const sure = told("a", null, { position: null, status: "absent", probability: 0 });
    expect([risk(doubt), risk(sure)]).toEqual([10, 0]);
  });

  it("goes back and forth step by step, and forgets what was undone after another change", () => {
    const review = new Review([told("a", 1), told("b", 1)]);
    review.place("a", [1, 2, 3.5]);
    review.mark("b", "absent");
    expect(review.undo()?.name).toBe("b");
    expect(review.undo()?.position).toEqual([1, 2, 3]);
    expect([review.undo(), review.edited]).toEqual([null, false]);
    expect(review.redo()?.position).toEqual([1, 2, 3.5]);
    review.mark("a", "unknown");
    expect(review.redo()).toBeNull();
    review.revert("a");
    expect(review.get("a").radius).toBe(1);
    expect(review.edited).toBe(false);
  });

  it("keeps a placed point exactly, and takes away what the model said of it", () => {
    const review = new Review([told("a", 1)]);
    review.place("a", [0.1 + 0.2, -1e-7, 1 / 3]);
    expect(review.get("a").position).toEqual([0.1 + 0.2, -1e-7, 1 / 3]);
    expect(review.get("a").radius).toBeNull();
    expect(review.before("a").radius).toBe(1);
  });

  it("brings back by redo what was given up for another's", () => {
    const review = new Review([told("a", 1), told("b", 1)]);
    review.offer([landmark("a", [9, 9, 9], "present"), told("b", 1)]);
    expect(review.edited).toBe(false);
    expect(review.redo()?.position).toEqual([9, 9, 9]);
    expect(review.redo()).toBeNull();
  });

  it("does not count what is no change", () => {
    const review = new Review([told("a", 1)]);
    review.place("a", [1, 2, 3]);
    expect(review.undo()).toBeNull();
  });

  it("refuses what is no position, and names that are not there", () => {
    const review = new Review([told("a", 1)]);
    expect(() => review.place("a", [NaN, 0, 0])).toThrow("no position");
    expect(() => review.mark("b", "absent")).toThrow("there is no landmark b");
  });
});
