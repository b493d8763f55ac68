/**
 * Keeps a folder of functions and what is deployed the same.
 *
 * 1. One pass at a time; a change during a pass causes another one.
 * 2. A function that does not build or load keeps its live version.
 * 3. Only functions that this loop has deployed are ever removed.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import type { IsolaClient } from "../client/index.ts";
import {
  type DeployResult,
  type FunctionConfig,
  type IsolaError,
  toIsolaError,
} from "../contract/index.ts";
import { type BuiltFunction, type Bundler, openBundler } from "./bundle.ts";
import { inParallel } from "./in-parallel.ts";
import { DEPLOYS_AT_ONCE, deployBuilt } from "./deployment.ts";
import { type FunctionEntry, findFunctions } from "./functions-folder.ts";

export interface DevEvents {
  deployed(result: DeployResult, tookMs: number): void;
  removed(name: string): void;
  failed(error: IsolaError): void;
  built(built: BuiltFunction): void;
}

interface Tracked {
  readonly entry: FunctionEntry;
  readonly bundler: Bundler;
  inputs: ReadonlySet<string>;
  /** Hash of what is live; empty before the first deploy. */
  live: string;
  /** The last pass failed: the next one tries again, whatever changed. */
  isBroken: boolean;
}

/** An editor that saves by renaming leaves its file missing for a moment. */
const GONE_AFTER_MS = 150;

export class DevLoop {
  readonly #folder: string;
  readonly #client: IsolaClient;
  readonly #configOf: (name: string) => FunctionConfig;
  readonly #events: DevEvents;
  readonly #tracked = new Map<string, Tracked>();
  #pass: Promise<void> | undefined;
  /** Changed paths since the last pass began; undefined: everything. */
  #changed: Set<string> | undefined = new Set();

  constructor(given: {
    readonly folder: string;
    readonly client: IsolaClient;
    readonly configOf: (name: string) => FunctionConfig;
    readonly events: DevEvents;
  }) {
    this.#folder = given.folder;
    this.#client = given.client;
    this.#configOf = given.configOf;
    this.#events = given.events;
  }

  /** Files of which anything deployed was made. */
  get inputs(): ReadonlySet<string> {
    return new Set([...this.#tracked.values()].flatMap(({ inputs }) => [...inputs]));
  }

  /** Brings everything up to date; `changed` absent: everything is built anew. */
  async update(changed?: readonly string[]): Promise<void> {
    if (changed === undefined) this.#changed = undefined;
    for (const path of changed ?? []) this.#changed?.add(path);
    this.#pass ??= this.#run().finally(() => {
      this.#pass = undefined;
    });
    await this.#pass;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#tracked.values()].map(({ bundler }) => bundler.close()));
    this.#tracked.clear();
  }

  async #run(): Promise<void> {
    do {
      const changed = this.#changed;
      this.#changed = new Set();
      await this.#runOnce(changed);
    } while (this.#changed === undefined || this.#changed.size > 0);
  }

  async #runOnce(changed: ReadonlySet<string> | undefined): Promise<void> {
    let entries: readonly FunctionEntry[];
    try {
      entries = await findFunctions(this.#folder);
    } catch (error) {
      this.#events.failed(toIsolaError(error, "read the folder"));
      entries = [];
    }
    await this.#forget(entries);
    await inParallel(DEPLOYS_AT_ONCE, entries, async (entry) => {
      const tracked = this.#tracked.get(entry.name) ?? (await this.#track(entry));
      const isTouched =
        changed === undefined || [...changed].some((path) => tracked.inputs.has(path));
      if (isTouched || tracked.isBroken || tracked.live === "") await this.#refresh(tracked);
    });
  }

  async #track(entry: FunctionEntry): Promise<Tracked> {
    const bundler = await openBundler(entry);
    const tracked = { entry, bundler, inputs: new Set([entry.path]), live: "", isBroken: false };
    this.#tracked.set(entry.name, tracked);
    return tracked;
  }

  /** Removes functions whose source is gone, or lies elsewhere now. */
  async #forget(entries: readonly FunctionEntry[]): Promise<void> {
    const kept = new Map(entries.map(({ name, path }) => [name, path]));
    const gone = [...this.#tracked.values()].filter(
      ({ entry }) => kept.get(entry.name) !== entry.path,
    );
    if (gone.length === 0) return;
    await new Promise((resume) => setTimeout(resume, GONE_AFTER_MS));
    for (const tracked of gone) {
      const { name, path } = tracked.entry;
      if (existsSync(path)) continue;
      this.#tracked.delete(name);
      await tracked.bundler.close();
      if (kept.has(name) || tracked.live === "") continue;
      try {
        await this.#client.remove(name);
        this.#events.removed(name);
      } catch (error) {
        this.#events.failed(toIsolaError(error, `remove ${name}`));
      }
    }
  }

  async #refresh(tracked: Tracked): Promise<void> {
    const began = performance.now();
    const { name } = tracked.entry;
    try {
      const built = await tracked.bundler.build();
      tracked.inputs = new Set(built.inputs);
      this.#events.built(built);
      const config = this.#configOf(name);
      const hash = hashOf([built.bundle, config]);
      if (hash !== tracked.live) {
        const result = await deployBuilt(this.#client, built, { config });
        tracked.live = hash;
        this.#events.deployed(result, performance.now() - began);
      }
      tracked.isBroken = false;
    } catch (error) {
      tracked.isBroken = true;
      this.#events.failed(toIsolaError(error, `deploy ${name}`));
    }
  }
}

function hashOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}
