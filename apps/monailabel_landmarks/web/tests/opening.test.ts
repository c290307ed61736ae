// SPDX-License-Identifier: Apache-2.0
import { expect, it, vi } from "vitest";
import { landmark } from "../src/landmarks";
import { writeMarkups } from "../src/markups";
import { pointsOf } from "../src/opening";
import { Refused, type Server } from "../src/server";

const file = (x: number) => writeMarkups([landmark("b", [x, 5, 6], "present")]);
const NAMES = ["a", "b"];
const REVIEWED = { reviewed: true, unseen: false, kept: null };
const WAITING = { reviewed: false, unseen: false, kept: null };
const remark = { time: "", reviewer: "Ann", text: "seen" };
const server = (changes: Partial<Server> = {}) =>
  ({
    label: vi.fn(async (_: string, which = "final") => ({ text: file(which === "final" ? 1 : 2), checksum: which })),
    earlier: vi.fn(async () => [
      { time: "", reviewers: ["Ann"], blind: true, content: file(0) },
      { time: "", reviewers: ["Ben", ""], blind: false, content: file(1) },
    ]),
    remarks: vi.fn(async () => [remark]),
    predict: vi.fn(async () => file(3)),
    ...changes,
  }) as unknown as Server;
const places = (landmarks: { position: unknown }[]) => landmarks.map((one) => one.position);

it("is the label, with all names in order, and what was before", async () => {
  const asked = server();
  const found = await pointsOf(asked, NAMES, "c", REVIEWED);
  expect(places(found.landmarks)).toEqual([null, [1, 5, 6]]);
  expect(found.landmarks.map((one) => one.status)).toEqual(["unknown", "present"]);
  expect(found.origin).toBe("Reviewed before by Ben, one earlier version.");
  expect([found.found, found.remarks, found.earlier.length]).toEqual([file(2), [remark], 2]);
  expect(asked.predict).not.toHaveBeenCalled();
});

it("is the prediction alone where others are not to be seen, but knows what it replaces", async () => {
  const asked = server();
  const found = await pointsOf(asked, NAMES, "c", { ...REVIEWED, unseen: true });
  expect(places(found.landmarks)).toEqual([null, [3, 5, 6]]);
  expect([found.label?.checksum, found.earlier, found.remarks, found.found]).toEqual(["final", [], [], null]);
  expect(asked.remarks).not.toHaveBeenCalled();
});

it("takes what was fetched ahead", async () => {
  const asked = server();
  const image = Promise.resolve({ content: new ArrayBuffer(0), mark: "", affine: [] });
  const kept = { id: "c", image, predicted: Promise.resolve(file(9)) };
  expect(places((await pointsOf(asked, NAMES, "c", { ...WAITING, kept })).landmarks)[1]).toEqual([9, 5, 6]);
  expect(asked.predict).not.toHaveBeenCalled();
});

it("is placed by hand where the model cannot, and waits where the server is busy", async () => {
  const refusing = (status: number) => server({ predict: vi.fn(async () => Promise.reject(new Refused(status, "no."))) });
  const found = await pointsOf(refusing(422), NAMES, "c", WAITING);
  expect(found.failed).toBe("no. The landmarks can be placed by hand.");
  expect(found.landmarks.map((one) => one.status)).toEqual(["unknown", "unknown"]);
  await expect(pointsOf(refusing(503), NAMES, "c", WAITING)).rejects.toThrow("no.");
});
