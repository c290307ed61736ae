// SPDX-License-Identifier: Apache-2.0
/** Requests to the server this page came from: each gives an answer, a refusal, or says that nobody answers. */

import type { Measurement } from "./measurements";

/** The server says no. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    sentence: string,
  ) {
    super(sentence);
  }
}

/** The server cannot be reached; what was asked may or may not have been done. */
export class Unreachable extends Error {
  constructor() {
    super("the server cannot be reached. Your work is kept in this browser.");
  }
}

/** One look at held-out cases while a network is trained. */
export interface Look {
  step: number;
  seconds: number;
  mre_mm: number;
}

export interface Training {
  state?: string;
  progress?: number;
  reason?: string;
  version?: number;
  /** For each network. */
  course?: Look[][];
}

export interface Info {
  labels: string[];
  strategies: Record<string, unknown>;
  datastore: { total: number; completed: number };
  models: Record<string, { version?: number }>;
  train_stats: Record<string, Training>;
}

export interface Versions {
  served: number;
  versions: { version: number; reason?: string; ended?: number }[];
}

/** A row of the list of cases; null is what is not known. */
export interface CaseRow {
  case: string;
  state: string;
  reviewers: string[];
  reviewed: string | null;
  /** That a review is expected to mend. */
  gain_mm: number | null;
  /** Of two reviewers' points, on average. */
  apart_mm: number | null;
  most_apart: string | null;
  /** Neither had seen the other's. */
  blind: boolean | null;
  remark: string | null;
}

/** A reviewed label: one that was replaced, or the one there is. */
export interface Earlier {
  time: string;
  reviewers: string[];
  blind: boolean;
  content: string;
}

export interface Remark {
  time: string;
  reviewer: string;
  text: string;
}

export interface Image {
  /** A NIfTI file. */
  content: ArrayBuffer;
  /** Tells it from another one of its name. */
  mark: string;
  /** Voxels to RAS mm, rows; as the server reads it. */
  affine: number[][];
}

/** What a server that only shows one image has. */
export interface View {
  image: string;
  affine: number[][];
  sets: { name: string; text: string }[];
}

/** What is handed in with a label. */
export interface Submission {
  text: string;
  /** Checksum of the label it was made from, "" when there was none. */
  base: string;
  /** Of the image it was made on. */
  mark: string;
  /** The label there is was not seen. */
  blind: boolean;
}

export interface Label {
  text: string;
  checksum: string;
}

const MODEL = "landmarks";
const THIS_MACHINE = ["localhost", "127.0.0.1", "[::1]"];

export class Server {
  /** The server gives each client other cases; two reviewers may have the same name. */
  private readonly client = crypto.randomUUID().slice(0, 8);

  constructor(public reviewer = "") {}

  /** Whether it shares its processor with this browser. */
  get isOnThisMachine(): boolean {
    return THIS_MACHINE.includes(location.hostname);
  }

  info(): Promise<Info> {
    return this.json("GET", "info/");
  }

  measurements(): Promise<Measurement[]> {
    return this.json("GET", "datastore/measurements");
  }

  /** @param besides the open case: what would come after it; nobody is given that. */
  async nextCase(strategy: string, besides = ""): Promise<string | null> {
    const body = { client_id: `${this.reviewer} ${this.client}`, besides };
    const found = await this.json<{ id?: string }>("POST", `activelearning/${quoted(strategy)}`, body);
    return found.id ?? null;
  }

  cases(): Promise<CaseRow[]> {
    return this.json("GET", "datastore/cases");
  }

  /** What is to be looked at, and nothing else. */
  async view(): Promise<{ content: ArrayBuffer; shown: View }> {
    const shown = await this.json<View>("GET", "view.json");
    const answer = await this.ask("GET", "view/image");
    return { content: await whole(answer), shown };
  }

  /** The image's mark, and which labels it has. */
  about(id: string): Promise<{ mark: string; labels: string[] }> {
    return this.json("GET", `datastore/image/info?image=${quoted(id)}`);
  }

  async image(id: string): Promise<Image> {
    const how = `nifti=true&compress=${!this.isOnThisMachine}`;
    const answer = await this.ask("GET", `datastore/image?image=${quoted(id)}&${how}`);
    const affine = JSON.parse(answer.headers.get("x-affine") ?? "[]") as number[][];
    return { content: await whole(answer), mark: tag(answer), affine };
  }

  async predict(id: string): Promise<string> {
    const answer = await this.ask("POST", `infer/${MODEL}?image=${quoted(id)}&output=image`);
    return answer.text();
  }

  /** @param which the reviewed label, or what the model last said; null when there is none. */
  async label(id: string, which: "final" | "original" = "final"): Promise<Label | null> {
    try {
      const answer = await this.ask("GET", `datastore/label?label=${quoted(id)}&tag=${which}`);
      return { text: await answer.text(), checksum: tag(answer) };
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null;
      throw error;
    }
  }

  /** The reviewed labels, oldest first; the last one is that there is. */
  earlier(id: string): Promise<Earlier[]> {
    return this.json("GET", `datastore/label/history?label=${quoted(id)}`);
  }

  remarks(id: string): Promise<Remark[]> {
    return this.json("GET", `datastore/image/remarks?image=${quoted(id)}`);
  }

  /** @returns all that was said. */
  remark(id: string, text: string): Promise<Remark[]> {
    return this.json("POST", `datastore/image/remarks?image=${quoted(id)}`, { text, reviewer: this.reviewer });
  }

  /**
   * Hand in a label; the same one twice is harmless.
   * @returns the checksum of the label that is on the server now.
   */
  async submit(id: string, { text, base, mark, blind }: Submission): Promise<string> {
    const form = new FormData();
    form.set("params", JSON.stringify({ reviewer: this.reviewer, base_checksum: base, image_mark: mark, blind }));
    form.set("label", new Blob([text], { type: "application/json" }), "label.mrk.json");
    const answer = await this.ask("PUT", `datastore/label?image=${quoted(id)}&tag=final`, form);
    return ((await answer.json()) as { checksum: string }).checksum;
  }

  /** Hand in the token that the server asks for; it answers with a cookie. */
  async enter(token: string): Promise<void> {
    await this.ask("POST", "login", JSON.stringify({ token }), { "content-type": "application/json" });
  }

  async train(): Promise<void> {
    await this.ask("POST", `train/${MODEL}`);
  }

  versions(): Promise<Versions> {
    return this.json("GET", "versions/");
  }

  /** Go back to an earlier version, or forth again. */
  serveVersion(version: number): Promise<Versions> {
    return this.json("POST", `versions/${version}`);
  }

  async stopTraining(): Promise<void> {
    await this.ask("DELETE", "train/");
  }

  private async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.ask(method, path, body === undefined ? undefined : JSON.stringify(body), {
      "content-type": "application/json",
    });
    return (await answer.json()) as T;
  }

  private async ask(
    method: string,
    path: string,
    body?: BodyInit,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    let answer: Response;
    try {
      answer = await fetch(path, { method, body, headers: body instanceof FormData ? {} : headers });
    } catch {
      throw new Unreachable();
    }
    if (answer.ok) return answer;
    let sentence = `the server answered with ${answer.status}.`;
    try {
      const told = ((await answer.json()) as { detail?: unknown }).detail;
      if (typeof told === "string") sentence = told;
    } catch {
      // no sentence came with it
    }
    throw new Refused(answer.status, sentence);
  }
}

function quoted(text: string): string {
  return encodeURIComponent(text);
}

/** An image, which the browser unpacks as it comes. */
async function whole(answer: Response): Promise<ArrayBuffer> {
  try {
    return await answer.arrayBuffer();
  } catch {
    throw new Error("the image did not come whole: its file is damaged, or the connection broke. Open the case again.");
  }
}

function tag(answer: Response): string {
  return (answer.headers.get("etag") ?? "").replaceAll('"', "");
}
