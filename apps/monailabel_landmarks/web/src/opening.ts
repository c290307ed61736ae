// SPDX-License-Identifier: Apache-2.0
/** What a case is opened with, besides its image. */

import type { Fetched } from "./ahead";
import { byName, landmark, type Landmark } from "./landmarks";
import { readMarkups } from "./markups";
import { type Earlier, type Label, Refused, type Remark, type Server } from "./server";

const BEYOND_THE_MODEL = [422, 504]; // an image that it cannot take, or that takes it too long

export interface Points {
  readonly label: Label | null;
  readonly landmarks: Landmark[];
  /** By the model, where a label is opened; a `.mrk.json` file. */
  readonly found: string | null;
  readonly earlier: Earlier[];
  readonly remarks: Remark[];
  /** Where the landmarks come from, in words. */
  readonly origin: string;
  /** Why the model found nothing. */
  readonly failed: string | null;
}

/**
 * The landmarks that a case is opened with, and what became of it before.
 * @param names of all landmarks, in order; none where any will do.
 * @param how whether it has a label, whether that is not to be seen, and what was fetched of it ahead.
 */
export async function pointsOf(
  server: Server,
  names: readonly string[],
  id: string,
  { reviewed, unseen, kept }: { reviewed: boolean; unseen: boolean; kept: Fetched | null },
): Promise<Points> {
  const label = reviewed ? await server.label(id) : null;
  const earlier = unseen || label === null ? [] : await server.earlier(id);
  const remarks = unseen ? [] : await server.remarks(id);
  if (label !== null && !unseen) {
    const found = (await server.label(id, "original"))?.text ?? null;
    const landmarks = ordered(names, readMarkups(label.text));
    return { label, landmarks, found, earlier, remarks, origin: told(earlier), failed: null };
  }
  let [failed, text]: [string | null, string | null] = [null, null];
  try {
    text = (await kept?.predicted.catch(() => null)) ?? (await server.predict(id));
  } catch (error) {
    if (!(error instanceof Refused) || !BEYOND_THE_MODEL.includes(error.status)) throw error;
    failed = `${error.message} The landmarks can be placed by hand.`;
  }
  const origin = unseen ? "Predicted. What others placed is not shown." : "Predicted.";
  return {
    label,
    landmarks: ordered(names, text === null ? [] : readMarkups(text)),
    found: null,
    earlier,
    remarks,
    origin: failed === null ? origin : "Nothing was found by the model.",
    failed,
  };
}

function ordered(names: readonly string[], found: readonly Landmark[]): Landmark[] {
  const known = byName(found);
  return (names.length > 0 ? names : [...known.keys()]).map((name) => known.get(name) ?? landmark(name, null, "unknown"));
}

/** Whose label is shown. */
function told(earlier: readonly Earlier[]): string {
  const people = earlier.at(-1)?.reviewers.filter(Boolean).join(", ");
  const before = earlier.length > 2 ? `, ${earlier.length - 1} earlier versions` : ", one earlier version";
  return `Reviewed before${people ? ` by ${people}` : ""}${earlier.length > 1 ? before : ""}.`;
}
