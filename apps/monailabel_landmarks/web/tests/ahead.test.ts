// SPDX-License-Identifier: Apache-2.0
import { expect, it, vi } from "vitest";
import { Ahead } from "../src/ahead";
import type { Server } from "../src/server";

const image = { content: new ArrayBuffer(1), mark: "m", affine: [] };
const server = (changes: Partial<Server> = {}) =>
  ({
    nextCase: vi.fn(async () => "b"),
    about: vi.fn(async () => ({ mark: "m", labels: [] })),
    image: vi.fn(async () => image),
    predict: vi.fn(async () => "{}"),
    ...changes,
  }) as unknown as Server;

it("has the next case when it is asked for, once", async () => {
  const asked = server();
  const ahead = new Ahead(asked);
  await ahead.fetch("first", "a", 1);
  expect(asked.nextCase).toHaveBeenCalledWith("first", "a");
  expect(ahead.take("c", 1)).toBeNull();
  const taken = ahead.take("b", 1);
  expect([await taken?.image, await taken?.predicted]).toEqual([image, "{}"]);
  expect(ahead.take("b", 1)).toBeNull();
});

it("gives no points of another version, and predicts nothing that is reviewed", async () => {
  const asked = server({ about: async () => ({ mark: "m", labels: ["final"] }) });
  const ahead = new Ahead(asked);
  await ahead.fetch("first", "a", 1);
  expect(ahead.take("b", 2)).toBeNull();
  expect(await ahead.take("b", 1)?.predicted).toBeNull();
  expect(asked.predict).not.toHaveBeenCalled();
});

it("is silent about what fails, and tries again", async () => {
  const predict = vi.fn().mockRejectedValueOnce(new Error("no")).mockResolvedValue("{}");
  const ahead = new Ahead(server({ predict }));
  await ahead.fetch("first", "a", 1);
  expect(ahead.take("b", 1)).toBeNull();
  await ahead.fetch("first", "a", 1);
  expect(await ahead.take("b", 1)?.predicted).toBe("{}");
});

it("has the image while the points are still looked for", async () => {
  const ahead = new Ahead(server({ predict: () => new Promise(() => {}) }));
  void ahead.fetch("first", "a", 1);
  const taken = await vi.waitUntil(() => ahead.take("b", 1));
  expect(await taken.image).toEqual(image);
});
