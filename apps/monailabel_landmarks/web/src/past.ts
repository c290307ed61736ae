// SPDX-License-Identifier: Apache-2.0
/** What became of the open case before: earlier labels to compare with, and what was said of it. */

import { element, readableTime } from "./elements";
import type { Earlier, Remark } from "./server";

/** What a case can be compared with. */
export interface Comparison {
  readonly title: string;
  /** A `.mrk.json` file. */
  readonly text: string;
}

/** Newest first. @param predicted the model's own points, where a label was opened. */
export function comparisons(earlier: readonly Earlier[], predicted: string | null): Comparison[] {
  const labels = [...earlier].reverse().map((one) => {
    const people = one.reviewers.filter(Boolean).join(", ") || "somebody";
    return { title: `${people}${one.time ? `, ${readableTime(one.time)}` : ""}`, text: one.content };
  });
  return predicted === null ? labels : [...labels, { title: "the prediction", text: predicted }];
}

export function showComparisons(found: readonly Comparison[]): void {
  const options = found.map((one, index) => new Option(one.title, String(index)));
  element("compared", HTMLSelectElement).replaceChildren(new Option("nothing", ""), ...options);
  element("comparing", HTMLLabelElement).hidden = found.length === 0;
}

export function showRemarks(remarks: readonly Remark[]): void {
  const items = remarks.map((one) => {
    const item = document.createElement("li");
    const by = document.createElement("small");
    by.textContent = `${one.reviewer || "somebody"}, ${readableTime(one.time)}`;
    item.append(one.text, by);
    return item;
  });
  element("remarks", HTMLUListElement).replaceChildren(...items);
  const count = remarks.length > 0 ? ` (${remarks.length})` : "";
  element("noted", HTMLElement).textContent = `Notes${count}`;
}
