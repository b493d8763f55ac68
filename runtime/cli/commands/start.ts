/**
 * Runs a platform in the foreground. The first SIGTERM or Ctrl-C drains, within the host's bound;
 * a second one ends everything at once: what the host started does not outlive it.
 */
import { join } from "node:path";
import { IsolaClient } from "../../client/index.ts";
import { IsolaError } from "../../contract/index.ts";
import type { Command, CommandContext } from "../command.ts";
import { DEPLOYS_AT_ONCE, buildAll, deployBuilt } from "../deployment.ts";
import { inParallel } from "../in-parallel.ts";
import { findFunctions } from "../functions-folder.ts";
import { nodeFetch } from "../node-fetch.ts";
import { type Platform, startHere } from "../platform.ts";
import { shownPath } from "../shown-path.ts";
import { resultText } from "./deploy.ts";

/** Exit status after a second signal, as shells count it. */
const INTERRUPTED = 130;

export const startCommand: Command = {
  name: "start",
  summary: "run the platform in the foreground, until SIGTERM or Ctrl-C",
  async run(context) {
    const stopper = new Stopper(context);
    const starting = startHere(context, context.option("dev"));
    const platform = await context.progress("starting", starting);
    stopper.watch(platform);
    context.print(`public  ${platform.publicUrl}`);
    context.print(`admin   ${platform.adminUrl}`);
    const folder = context.option("dir");
    try {
      if (folder !== undefined) await deployFolder(context, platform, folder);
    } catch (error) {
      if (!stopper.isStopping) await platform.stop();
      throw error;
    }
    const { reason } = await platform.exited;
    if (!stopper.isStopping) throw endedEarly(context, reason);
  },
};

/** npm passes on a Ctrl-C that the terminal has sent to every process already. */
const SAME_SIGNAL_MS = 500;

/** Turns signals into an orderly end, also of a platform that is still starting. */
export class Stopper {
  #platform: Platform | undefined;
  #firstAtMs: number | undefined;

  constructor(context: CommandContext, onFirst: () => void = () => undefined) {
    context.io.onInterrupt(() => {
      const nowMs = performance.now();
      if (this.#firstAtMs !== undefined) {
        if (nowMs - this.#firstAtMs > SAME_SIGNAL_MS) process.exit(INTERRUPTED);
        return;
      }
      this.#firstAtMs = nowMs;
      if (context.io.stderr.isTTY === true) context.note("draining; once more ends it at once");
      onFirst();
      void this.#platform?.stop();
    });
  }

  get isStopping(): boolean {
    return this.#firstAtMs !== undefined;
  }

  watch(platform: Platform): void {
    this.#platform = platform;
    if (this.isStopping) void platform.stop();
  }
}

/** The platform ended by itself. */
export function endedEarly(context: CommandContext, reason: string): IsolaError {
  return new IsolaError("START_FAILED", {
    attempted: "keep the platform up",
    found: reason,
    required: "every process that it needs",
    fix: `read ${join(shownPath(context.dataDir), "logs")}`,
  });
}

async function deployFolder(context: CommandContext, platform: Platform, folder: string) {
  const client = clientOf(context, platform);
  const built = await context.progress("building", buildAll(await findFunctions(folder)));
  const deploying = inParallel(DEPLOYS_AT_ONCE, built, async (one) => {
    const config = context.file?.functions.get(one.name) ?? {};
    const result = await deployBuilt(client, one, { config });
    context.print(`${resultText(result)}  ${client.addressOf(platform.publicUrl, one.name)}`);
  });
  await context.progress("deploying", deploying);
}

/** A client of the platform that this process runs. */
export function clientOf(context: CommandContext, platform: Platform): IsolaClient {
  return new IsolaClient({
    url: platform.adminUrl,
    publicUrl: platform.publicUrl,
    token: platform.adminToken,
    namespace: context.option("namespace"),
    fetch: nodeFetch,
    sleep: async (delayMs) => {
      await new Promise((resume) => setTimeout(resume, delayMs));
    },
  });
}
