// SPDX-License-Identifier: Apache-2.0
import { Page } from "./page";

declare global {
  interface Window {
    /** For whoever looks at the page from its console, and for its tests. */
    review: Page;
  }
}

const page = new Page();
window.review = page;
page.start().catch((error: unknown) => {
  const said = document.getElementById("said");
  if (said !== null) said.textContent = error instanceof Error ? error.message : String(error);
});
