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

export interface Training {
  state?: string;
  progress?: number;
  reason?: string;
  version?: number;
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

export interface CaseState {
  labels: Record<string, unknown>;
  image: { ext: string; info: { confidence?: number | null; gain?: number | null; unreadable?: boolean } };
}

/** What a server that only shows one image has. */
export interface View {
  image: string;
  sets: { name: string; text: string }[];
}

export interface Label {
  text: string;
  checksum: string;
}

const MODEL = "landmarks";

export class Server {
  /** The server gives each client other cases; two reviewers may have the same name. */
  private readonly client = crypto.randomUUID().slice(0, 8);

  constructor(public reviewer = "") {}

  info(): Promise<Info> {
    return this.json("GET", "info/");
  }

  measurements(): Promise<Measurement[]> {
    return this.json("GET", "datastore/measurements");
  }

  async nextCase(strategy: string): Promise<string | null> {
    const body = { client_id: `${this.reviewer} ${this.client}` };
    const found = await this.json<{ id?: string }>("POST", `activelearning/${quoted(strategy)}`, body);
    return found.id ?? null;
  }

  async cases(): Promise<Record<string, CaseState>> {
    const found = await this.json<{ objects: Record<string, CaseState> }>("GET", "datastore/?output=all");
    return found.objects;
  }

  /** What is to be looked at, and nothing else. */
  async view(): Promise<{ content: ArrayBuffer; shown: View }> {
    const shown = await this.json<View>("GET", "view.json");
    const answer = await this.ask("GET", "view/image");
    return { content: await answer.arrayBuffer(), shown };
  }

  /** What the image's file is called, and which labels it has. */
  about(id: string): Promise<{ name: string; labels: string[] }> {
    return this.json("GET", `datastore/image/info?image=${quoted(id)}`);
  }

  /** @returns the image, and its mark, which tells it from another one of its name. */
  async image(id: string): Promise<{ content: ArrayBuffer; mark: string }> {
    const answer = await this.ask("GET", `datastore/image?image=${quoted(id)}`);
    return { content: await answer.arrayBuffer(), mark: tag(answer) };
  }

  async predict(id: string): Promise<string> {
    const answer = await this.ask("POST", `infer/${MODEL}?image=${quoted(id)}&output=image`);
    return answer.text();
  }

  /** The reviewed label; null when there is none. */
  async label(id: string): Promise<Label | null> {
    try {
      const answer = await this.ask("GET", `datastore/label?label=${quoted(id)}&tag=final`);
      return { text: await answer.text(), checksum: tag(answer) };
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null;
      throw error;
    }
  }

  /** Who made the label, and when. */
  labelInfo(id: string): Promise<{ reviewer?: string; time?: string; earlier?: number }> {
    return this.json("GET", `datastore/label/info?label=${quoted(id)}&tag=final`);
  }

  /**
   * Hand in a label; the same one twice is harmless.
   * @param base checksum of the label it was made from, "" when there was none.
   * @returns the checksum of the label that is on the server now.
   */
  async submit(id: string, text: string, base: string, mark: string): Promise<string> {
    const form = new FormData();
    form.set("params", JSON.stringify({ reviewer: this.reviewer, base_checksum: base, image_mark: mark }));
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

function tag(answer: Response): string {
  return (answer.headers.get("etag") ?? "").replaceAll('"', "");
}
