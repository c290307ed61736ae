// SPDX-License-Identifier: Apache-2.0
/** The case that is likely to come next, fetched while the present one is looked at. */

import type { Image, Server } from "./server";

/** Everything that takes long. */
export interface Fetched {
  readonly id: string;
  readonly image: Image;
  /** The model's landmarks, `.mrk.json`; null where there is a reviewed label. */
  readonly predicted: string | null;
}

export class Ahead {
  private kept: { id: string; version: number | undefined; whole: Promise<Fetched> } | null = null;

  constructor(private readonly server: Server) {}

  /**
   * Begin to fetch what would come after a case; nobody is given it, and nothing is said when that fails.
   * @param version of the model that answers now.
   */
  async fetch(strategy: string, besides: string, version: number | undefined): Promise<void> {
    try {
      const id = await this.server.nextCase(strategy, besides);
      if (id === null || (this.kept?.id === id && this.kept.version === version)) return;
      const whole = this.everything(id);
      this.kept = { id, version, whole };
      await whole;
    } catch {
      this.kept = null;
    }
  }

  /** What was fetched of a case, if it was, by this version of the model; it is given away once. */
  async take(id: string, version: number | undefined): Promise<Fetched | null> {
    const kept = this.kept;
    if (kept?.id !== id || kept.version !== version) return null;
    this.kept = null;
    try {
      return await kept.whole;
    } catch {
      return null;
    }
  }

  private async everything(id: string): Promise<Fetched> {
    const { labels } = await this.server.about(id);
    const [image, predicted] = await Promise.all([
      this.server.image(id),
      labels.includes("final") ? null : this.server.predict(id),
    ]);
    return { id, image, predicted };
  }
}
