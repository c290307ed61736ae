// SPDX-License-Identifier: Apache-2.0
/** Stands for codecs of Zarr images, which the server never sends. */

export default class NoCodec {
  static fromConfig(): never {
    throw new Error("Zarr images are not shown here.");
  }
}
