/** Turns positions in bundles into positions in the user's files, in stacks of the log. */
import { SourceMap } from "node:module";
import { resolve } from "node:path";
import type { BuiltFunction } from "./bundle.ts";
import { shownPath } from "./shown-path.ts";

/** In the isolate a bundle's modules lie in the folder app. */
const POSITION = /(?:\bapp\/)?([\w.-]+\.js):(\d+):(\d+)/g;

export class SourceMaps {
  readonly #maps = new Map<string, { readonly map: SourceMap; readonly root: string }>();

  add(built: BuiltFunction): void {
    if (built.sourceMap === "") return;
    const payload = JSON.parse(built.sourceMap) as ConstructorParameters<typeof SourceMap>[0];
    this.#maps.set(built.bundle.main, { map: new SourceMap(payload), root: built.root });
  }

  /** The text with every known position replaced; others stay as they are. */
  translate(text: string): string {
    return text.replaceAll(POSITION, (whole, file: string, line: string, column: string) => {
      const known = this.#maps.get(file);
      if (known === undefined) return whole;
      const origin = known.map.findEntry(Number(line) - 1, Number(column) - 1);
      if (!("originalSource" in origin) || origin.originalSource === "") return whole;
      const path = shownPath(resolve(known.root, origin.originalSource));
      return `${path}:${String(origin.originalLine + 1)}:${String(origin.originalColumn + 1)}`;
    });
  }
}
