/** What a verb is, and what it gets. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { IsolaClient } from "../client/index.ts";
import {
  type ConfigFile,
  type FoundOption,
  IsolaError,
  type OptionName,
  type OptionValue,
  findOption,
} from "../contract/index.ts";
import type { Io } from "./io.ts";
import { nodeFetch } from "./node-fetch.ts";
import { showProgress } from "./render/progress.ts";
import { findRunning } from "./running-platform.ts";

export interface Command {
  /** One or two words: `list`, `secret put`. */
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  /** Positional arguments, as commander writes them: `<function> [version]`. */
  readonly arguments?: string;
  /** Hands every argument on unread, options too. */
  readonly passesThrough?: true;
  run(context: CommandContext, ...args: (string | undefined)[]): Promise<void>;
}

const DEFAULT_URL = "http://127.0.0.1:8081";

export class CommandContext {
  readonly io: Io;
  readonly flags: Readonly<Record<string, unknown>>;
  readonly file: ConfigFile | undefined;
  /** Arguments of a verb that passes them through. */
  readonly rest: readonly string[];
  /** What the process ends with if nothing is thrown. */
  exitStatus = 0;

  constructor(given: {
    readonly io: Io;
    readonly flags: Readonly<Record<string, unknown>>;
    readonly file: ConfigFile | undefined;
    readonly rest: readonly string[];
  }) {
    this.io = given.io;
    this.flags = given.flags;
    this.file = given.file;
    this.rest = given.rest;
  }

  option<Name extends OptionName>(name: Name): OptionValue<Name> {
    return this.find(name).value;
  }

  find<Name extends OptionName>(name: Name): FoundOption<Name> {
    return findOption(name, {
      flags: this.flags,
      environment: this.io.environment,
      file: this.file,
    });
  }

  /** Absolute path of the data folder. */
  get dataDir(): string {
    return resolve(this.option("data"));
  }

  get wantsJson(): boolean {
    return this.option("json");
  }

  /** A line for whoever uses the result. */
  print(text: string): void {
    this.io.stdout.write(`${text}\n`);
  }

  /** A line for whoever watches; kept apart from the result. */
  note(text: string): void {
    this.io.stderr.write(`${text}\n`);
  }

  /** The result: as JSON where that is wanted, else as text. */
  show(value: unknown, render: () => string): void {
    this.print(this.wantsJson ? JSON.stringify(value, undefined, 2) : render());
  }

  /** Shows on a terminal that something takes longer than a second. */
  async progress<T>(label: string, work: Promise<T>): Promise<T> {
    return showProgress(this.io.stderr, label, work);
  }

  /** Aborts at the first Ctrl-C or SIGTERM. */
  untilInterrupted(): AbortSignal {
    const controller = new AbortController();
    this.io.onInterrupt(() => controller.abort());
    return controller.signal;
  }

  client(): IsolaClient {
    const { url, isOurs } = this.#address();
    return new IsolaClient({
      url,
      publicUrl: this.option("publicUrl") ?? (isOurs ? this.#running()?.publicUrl : undefined),
      token: this.#token(url, isOurs),
      namespace: this.option("namespace"),
      fetch: nodeFetch,
      sleep: async (delayMs) => {
        await new Promise((resume) => setTimeout(resume, delayMs));
      },
    });
  }

  #running() {
    return findRunning(this.dataDir);
  }

  /** The admin address; ours if it is the platform of the data folder. */
  #address(): { readonly url: string; readonly isOurs: boolean } {
    const given = this.option("url")?.replace(/\/+$/, "");
    const running = this.#running()?.adminUrl;
    if (given !== undefined) return { url: given, isOurs: given === running };
    if (running !== undefined) return { url: running, isOurs: true };
    const port = this.find("adminPort");
    const isSet = port.origin !== "default" && port.value !== 0;
    return { url: isSet ? `http://127.0.0.1:${String(port.value)}` : DEFAULT_URL, isOurs: true };
  }

  /**
   * Flag, environment, isola.toml, then the data folder. The operator's token of this machine
   * goes to no other machine, unless the data folder was named together with the address.
   */
  #token(url: string, isOurs: boolean): string | undefined {
    const given = this.option("token");
    if (given !== undefined) return given;
    const { hostname } = new URL(url);
    const isLocal = /^(127\.[\d.]+|\[::1\]|(.+\.)?localhost)$/.test(hostname);
    if (!isOurs && !isLocal && this.find("data").origin === "default") return undefined;
    try {
      return readFileSync(join(this.dataDir, "admin-token"), "utf8").trim();
    } catch {
      return undefined;
    }
  }
}

/** An argument that commander has made sure of. */
export function required(value: string | undefined, what: string): string {
  if (value !== undefined && value !== "") return value;
  throw new IsolaError("USAGE", {
    attempted: "read the command line",
    found: `no ${what}`,
    required: `a ${what}`,
  });
}

/** A whole number given as an argument. */
export function integer(value: string, what: string): number {
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw new IsolaError("USAGE", {
    attempted: `read the ${what}`,
    found: JSON.stringify(value),
    required: "a whole number",
  });
}
