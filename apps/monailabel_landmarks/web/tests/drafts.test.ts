// SPDX-License-Identifier: Apache-2.0
import "fake-indexeddb/auto";
import { expect, it } from "vitest";
import { Drafts } from "../src/drafts";

const draft = (id: string, text: string) => ({ id, base: "", mark: "m", text, at: 1 });

it("keeps what is not handed in, over a closed page", async () => {
  const before = await Drafts.open();
  await before.save(draft("a", "first"));
  await before.save(draft("a", "second"));
  await before.save(draft("b/ü", "other"));
  const after = await Drafts.open();
  expect((await after.load("a"))?.text).toBe("second");
  expect(await after.ids()).toEqual(["a", "b/ü"]);
  await after.remove("a");
  expect(await after.load("a")).toBeUndefined();
});
