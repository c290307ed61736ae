// SPDX-License-Identifier: Apache-2.0
/** All cases: where they stand, who looked at them, how far two people lie apart. */

import { button, element, fill, readableTime, tableRow } from "./elements";
import type { CaseRow } from "./server";

/** What can be done with a case of the list. */
export interface Openers {
  open(id: string): void;
  /** Without seeing what others placed. */
  openBlind(id: string): void;
}

const STATES = ["reviewed", "in review", "predicted", "unseen", "unreadable"];

/** Show the list. @param drafts of this browser, not handed in. */
export function showCases(rows: readonly CaseRow[], drafts: ReadonlySet<string>, openers: Openers): void {
  const dialog = element("list", HTMLDialogElement);
  const opened = (open: (id: string) => void, id: string) => () => {
    dialog.close();
    open(id);
  };
  const shown = rows.map((one) => {
    const link = document.createElement("a");
    link.href = `?${new URLSearchParams({ case: one.case })}`;
    link.textContent = one.case;
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in another tab, as everywhere
      event.preventDefault();
      opened(openers.open, one.case)();
    });
    const again = button("Blind", opened(openers.openBlind, one.case));
    again.title = "Look at it without seeing what others placed";
    const row = tableRow(
      link,
      drafts.has(one.case) ? "not handed in" : one.state,
      one.gain_mm === null ? "" : one.gain_mm.toFixed(1),
      one.reviewers.join(", "),
      one.apart_mm === null ? "" : one.apart_mm.toFixed(2),
      one.state === "reviewed" ? again : "",
      one.remark ?? "",
    );
    const apart = one.most_apart === null ? "" : `most apart: ${one.most_apart}`;
    row.title = [one.reviewed === null ? "" : readableTime(one.reviewed), apart].filter(Boolean).join("; ");
    return row;
  });
  fill("listed", shown);
  element("counts", HTMLParagraphElement).textContent = summary(rows);
  const filter = element("filter", HTMLInputElement);
  filter.value = "";
  filter.oninput = () => {
    const wanted = filter.value.toLowerCase();
    for (const row of shown) row.hidden = !(row.textContent ?? "").toLowerCase().includes(wanted);
  };
  dialog.showModal();
}

/** In words: how many are in which state, who reviewed how many, how far two people lie apart. */
export function summary(rows: readonly CaseRow[]): string {
  const counts = STATES.map((state) => [rows.filter((one) => one.state === state).length, state] as const);
  const states = counts.filter(([count]) => count > 0).map(([count, state]) => `${count} ${state}`);
  const people = new Map<string, number>();
  for (const name of rows.flatMap((one) => one.reviewers)) people.set(name, (people.get(name) ?? 0) + 1);
  const said = [states.join(", ") || "no cases"];
  if (people.size > 0) said.push([...people].map(([name, count]) => `${name} ${count}`).join(", "));
  const apart = rows.flatMap((one) => (one.apart_mm === null ? [] : [one.apart_mm])).sort((a, b) => a - b);
  if (apart.length > 0) {
    const [low, high] = [apart[(apart.length - 1) >> 1], apart[apart.length >> 1]];
    const middle = ((low ?? 0) + (high ?? 0)) / 2;
    const blind = rows.filter((one) => one.blind).length;
    said.push(
      `Two people looked at ${apart.length}, and lie ${middle.toFixed(2)} mm apart (median); ` +
        `${blind} of them without having seen the other's points`,
    );
  }
  return `${said.join(". ")}.`;
}
