// SPDX-License-Identifier: Apache-2.0
/** The case that is likely to come next, fetched while the present one is looked at. */

import type { Image, Server } from "./server";

/** What takes long; the image is there before the points are. */
export interface Fetched {
  readonly id: string;
  readonly image: Promise<Image>;
  /** The model's landmarks, `.mrk.json`; null where there is a reviewed label. */
  readonly predicted: Promise<string | null>;
}

export class Ahead {
  private kept: (Fetched & { readonly version: number | undefined; readonly whole: Promise<unknown> }) | null = null;

  constructor(private readonly server: Server) {}

  /**
   * Begin to fetch what would come after a case; nobody is given it, and nothing is said when that fails.
   * @param version of the model that answers now.
   */
  async fetch(strategy: string, besides: string, version: number | undefined): Promise<void> {
    try {
      const id = await this.server.nextCase(strategy, besides);
      if (id === null || (this.kept?.id === id && this.kept.version === version)) return;
      const image = this.server.image(id);
      const predicted = this.predicted(id);
      const whole = Promise.all([image, predicted]);
      const kept = { id, version, image, predicted, whole };
      this.kept = kept;
      await whole.catch(() => {
        if (this.kept === kept) this.kept = null;
      });
    } catch {
      // the next case is asked for again when it is wanted
    }
  }

  /** What was fetched of a case, or is on its way, if it is by this version of the model; it is given away once. */
  take(id: string, version: number | undefined): Fetched | null {
    const kept = this.kept;
    if (kept?.id !== id || kept.version !== version) return null;
    this.kept = null;
    return kept;
  }

  private async predicted(id: string): Promise<string | null> {
    const { labels } = await this.server.about(id);
    return labels.includes("final") ? null : this.server.predict(id);
  }
}
