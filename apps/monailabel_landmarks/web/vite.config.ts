// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { defineConfig, type Plugin } from "vite";

const HERE = import.meta.dirname;
const SOURCES = ["index.html", "licenses", "package-lock.json", "src", "vite.config.ts"];

/** All files the page is made of, in an order that depends on nothing but their names. */
function sources(): string[] {
  const found = SOURCES.flatMap((name) => {
    const path = join(HERE, name);
    return name.includes(".") ? [path] : readdirSync(path).map((file) => join(path, file));
  });
  return found.map((path) => relative(HERE, path)).sort();
}

/** Beside the page: what it was built from, so that a test can say when it is stale, and others' licences. */
function provenance(): Plugin {
  return {
    name: "provenance",
    apply: "build",
    generateBundle(_, bundle) {
      const hash = createHash("sha256");
      for (const name of sources()) hash.update(`${name}\n`).update(readFileSync(join(HERE, name)));
      this.emitFile({ type: "asset", fileName: "built_from.txt", source: `${hash.digest("hex")}\n` });
      const modules = Object.values(bundle).flatMap((one) => (one.type === "chunk" ? one.moduleIds : []));
      const folders = modules.flatMap((id) => /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1] ?? []);
      const texts = [...new Set(folders)].sort().map((folder) => {
        const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf-8")) as Record<string, string>;
        const own = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
        const kept = join(HERE, "licenses", `${about.name?.replace("/", "+")}.txt`); // where a package has none
        const text = readFileSync(own === undefined ? kept : join(folder, own), "utf-8");
        return `${about.name} ${about.version}: ${about.license}\n\n${text.trim()}\n`;
      });
      this.emitFile({ type: "asset", fileName: "LICENSES.txt", source: texts.join(`\n${"-".repeat(80)}\n\n`) });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [provenance()],
  resolve: {
    alias: [{ find: /^numcodecs\/.*$/, replacement: join(HERE, "src/no_codec.ts") }],
  },
  build: {
    outDir: "page",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 4000,
    rolldownOptions: {
      output: {
        entryFileNames: "review.js",
        chunkFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
});
