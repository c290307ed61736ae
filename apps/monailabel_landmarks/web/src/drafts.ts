// SPDX-License-Identifier: Apache-2.0
/** What is not handed in yet, in this browser's database: it outlives a closed tab and a server that is gone. */

export interface Draft {
  readonly id: string;
  /** Checksum of the label it was made from, "" when there was none. */
  readonly base: string;
  /** Of the image it was made on. */
  readonly mark: string;
  /** A `.mrk.json` file. */
  readonly text: string;
  /** The label there was is not seen. */
  readonly blind?: boolean;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

const STORE = "drafts";

export class Drafts {
  private constructor(private readonly database: IDBDatabase) {}

  static async open(name = "auto3dlandmark"): Promise<Drafts> {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    return new Drafts(await settled(request));
  }

  save(draft: Draft): Promise<unknown> {
    return this.run("readwrite", (store) => store.put(draft));
  }

  load(id: string): Promise<Draft | undefined> {
    return this.run("readonly", (store) => store.get(id) as IDBRequest<Draft | undefined>);
  }

  remove(id: string): Promise<unknown> {
    return this.run("readwrite", (store) => store.delete(id));
  }

  async ids(): Promise<string[]> {
    return (await this.run("readonly", (store) => store.getAllKeys())).map(String);
  }

  /** Done once it is on disk, not once it was asked for. */
  private async run<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const transaction = this.database.transaction(STORE, mode);
    const request = ask(transaction.objectStore(STORE));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () =>
        reject(transaction.error ?? new Error("this browser keeps no drafts."));
    });
    return request.result;
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("this browser keeps no drafts."));
  });
}
