// SPDX-License-Identifier: Apache-2.0
/** The page's elements. What is put into them is text, whatever it looks like. */

/** @throws Error when the page has no such element. */
export function element<T extends HTMLElement>(id: string, kind: { new (): T }): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}.`);
  return found;
}

export function button(label: string, action: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", action);
  return made;
}

export function tableRow(...cells: (string | HTMLElement)[]): HTMLTableRowElement {
  const made = document.createElement("tr");
  for (const content of cells) made.insertCell().append(content);
  return made;
}

/** Show rows in the body of a table. */
export function fill(id: string, rows: readonly HTMLTableRowElement[]): void {
  element(id, HTMLTableSectionElement).replaceChildren(...rows);
}

/** A time of the server's log, `20261127T145900.123456Z`, as the reader writes it; what it cannot read, as it is. */
export function readableTime(stamp: string): string {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/.exec(stamp);
  if (parts === null) return stamp;
  const [, year, month, day, hour, minute, second] = parts;
  return new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`).toLocaleString();
}
