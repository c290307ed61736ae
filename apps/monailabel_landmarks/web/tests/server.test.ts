// SPDX-License-Identifier: Apache-2.0
import { afterEach, expect, it, vi } from "vitest";
import { Refused, Server, Unreachable } from "../src/server";

afterEach(() => vi.unstubAllGlobals());

const answers = (status: number, body: unknown, headers: Record<string, string> = {}) => {
  const fetched = vi.fn(async (..._: [string, RequestInit]) => new Response(JSON.stringify(body), { status, headers }));
  vi.stubGlobal("fetch", fetched);
  return fetched;
};

it("says what the server says", async () => {
  answers(409, { detail: "somebody else saved it." });
  const refused = await new Server("me").submit("a", { text: "{}", base: "", mark: "m", blind: false }).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(Refused);
  expect([(refused as Refused).status, (refused as Refused).message]).toEqual([409, "somebody else saved it."]);
});

it("says when nobody answers", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
  await expect(new Server().info()).rejects.toBeInstanceOf(Unreachable);
});

it("sends names as they are, whatever they hold", async () => {
  const fetched = answers(200, { checksum: "abc" });
  expect(await new Server("Ä <b>").submit("a/b &c", { text: "{}", base: "before", mark: "m", blind: true })).toBe("abc");
  const [path, options] = fetched.mock.calls[0] ?? ["", {}];
  expect(path).toBe("datastore/label?image=a%2Fb%20%26c&tag=final");
  const form = options.body as FormData;
  expect(JSON.parse(String(form.get("params")))).toEqual({
    reviewer: "Ä <b>",
    base_checksum: "before",
    image_mark: "m",
    blind: true,
  });
});

it("takes a label that is not there for none", async () => {
  answers(404, { detail: "no label" });
  expect(await new Server().label("a")).toBeNull();
  answers(200, {}, { etag: '"sum"' });
  expect((await new Server().label("a"))?.checksum).toBe("sum");
});

it("says when an image breaks off", async () => {
  const broken = new ReadableStream({ pull: (stream) => stream.error(new TypeError("decoding failed")) });
  vi.stubGlobal("fetch", async () => new Response(broken, { status: 200 }));
  vi.stubGlobal("location", { hostname: "server" });
  await expect(new Server().image("a")).rejects.toThrow("its file is damaged, or the connection broke");
});

it("has an image compressed only on its way to another machine", async () => {
  const fetched = answers(200, {});
  for (const hostname of ["127.0.0.1", "server"]) {
    vi.stubGlobal("location", { hostname });
    await new Server().image("a");
  }
  const asked = fetched.mock.calls.map(([path]) => path.split("compress=")[1]);
  expect(asked).toEqual(["false", "true"]);
});
