// SPDX-License-Identifier: Apache-2.0
/** The question for the token, where the server asks for one. */

import { element } from "./elements";
import { type Info, Refused, type Server } from "./server";

/** What the server offers, once it lets this browser in. */
export async function admitted(server: Server): Promise<Info> {
  for (;;) {
    try {
      return await server.info();
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
    }
    await askForToken(server);
  }
}

function askForToken(server: Server): Promise<void> {
  const [dialog, field] = [element("entry", HTMLDialogElement), element("token", HTMLInputElement)];
  dialog.showModal();
  return new Promise((entered) => {
    element("enter", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      server.enter(field.value).then(
        () => {
          field.value = "";
          dialog.close();
          entered();
        },
        (error: Error) => {
          element("refused", HTMLParagraphElement).textContent = error.message;
        },
      );
    };
    dialog.oncancel = (event) => event.preventDefault();
  });
}
