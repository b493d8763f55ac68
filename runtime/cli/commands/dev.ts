/** Starts a platform or joins the one that runs, deploys a folder, and follows file and log. */
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { IsolaClient } from "../../client/index.ts";
import { type ConfigFile, IsolaError } from "../../contract/index.ts";
import type { Command, CommandContext } from "../command.ts";
import { readConfigFile } from "../config-file.ts";
import { DevLoop } from "../dev-loop.ts";
import { findFunctions } from "../functions-folder.ts";
import { startHere } from "../platform.ts";
import { renderError } from "../render/errors.ts";
import { logText } from "../render/log-lines.ts";
import { milliseconds } from "../render/text.ts";
import { findRunning } from "../running-platform.ts";
import { shownPath } from "../shown-path.ts";
import { SourceMaps } from "../source-maps.ts";
import { FileWatcher } from "../watch-files.ts";
import { Stopper, clientOf, endedEarly } from "./start.ts";

const DEFAULT_FOLDER = "functions";

export const devCommand: Command = {
  name: "dev",
  summary: "start, watch a folder, redeploy on save, follow the logs",
  arguments: "[dir]",
  async run(context, dir) {
    const folder = resolve(dir ?? context.option("dir") ?? DEFAULT_FOLDER);
    // An empty folder may fill up; one that is not there is a wrong path.
    if (!existsSync(folder)) await findFunctions(folder);
    const aborted = new AbortController();
    const stopper = new Stopper(context, () => aborted.abort());
    const isAttached =
      context.option("url") !== undefined || findRunning(context.dataDir) !== undefined;
    if (isAttached) {
      const client = context.client();
      const publicUrl = await client.publicUrl();
      context.print(`joined  ${client.url}`);
      await serve(context, { client, publicUrl, folder, signal: aborted.signal });
      return;
    }
    const platform = await context.progress("starting", startHere(context, true));
    stopper.watch(platform);
    context.print(`public  ${platform.publicUrl}`);
    context.print(`admin   ${platform.adminUrl}`);
    void platform.exited.finally(() => aborted.abort()).catch(() => undefined);
    const client = clientOf(context, platform);
    const { publicUrl } = platform;
    await serve(context, { client, publicUrl, folder, signal: aborted.signal });
    if (!stopper.isStopping) void platform.stop();
    const { reason } = await platform.exited;
    if (!stopper.isStopping) throw endedEarly(context, reason);
  },
};

interface Session {
  readonly client: IsolaClient;
  readonly publicUrl: string;
  readonly folder: string;
  readonly signal: AbortSignal;
}

async function serve(context: CommandContext, session: Session): Promise<void> {
  const { client, publicUrl, folder, signal } = session;
  const maps = new SourceMaps();
  let file = context.file;
  const loop = new DevLoop({
    folder,
    client,
    configOf: (name) => file?.functions.get(name) ?? {},
    events: {
      built: (built) => maps.add(built),
      deployed: (result, tookMs) => {
        const address = client.addressOf(publicUrl, result.name);
        const version = `v${String(result.version)}`;
        context.print(`${result.name} ${version} in ${milliseconds(tookMs)}  ${address}`);
      },
      removed: (name) => context.print(`${name} removed`),
      failed: (error) => context.note(renderError(error)),
    },
  });
  const logs = followLogs(context, session, maps);
  const watcher = new FileWatcher((paths) => {
    const settings = paths.includes(resolve("isola.toml"));
    if (settings) file = readSettings(context) ?? file;
    const known = paths.filter((path) => !path.includes("/node_modules/"));
    void loop.update(settings ? undefined : known).then(() => watch());
  });
  const watch = (): void => {
    if (!signal.aborted) watcher.setFolders(foldersOf(folder, loop.inputs));
  };
  watch();
  await loop.update();
  watch();
  context.print(`watching ${shownPath(folder)}`);
  await new Promise<void>((resume) => {
    if (signal.aborted) resume();
    signal.addEventListener("abort", () => resume(), { once: true });
  });
  watcher.close();
  await loop.close();
  await logs;
}

/** The folder, its functions' folders, those of everything imported, and that of isola.toml. */
function foldersOf(folder: string, inputs: ReadonlySet<string>): ReadonlySet<string> {
  const folders = new Set([process.cwd(), dirname(folder), folder]);
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const isSource = entry.isDirectory() && !/^\.|^node_modules$/.test(entry.name);
      if (isSource) folders.add(join(folder, entry.name));
    }
  } catch {
    // The folder is gone; its parent is watched.
  }
  for (const input of inputs) folders.add(dirname(input));
  return folders;
}

/** The changed settings, or undefined if they are refused: the old ones stay. */
function readSettings(context: CommandContext): ConfigFile | undefined {
  try {
    return readConfigFile(process.cwd());
  } catch (error) {
    if (!(error instanceof IsolaError)) throw error;
    context.note(renderError(error));
    return undefined;
  }
}

async function followLogs(context: CommandContext, session: Session, maps: SourceMaps) {
  const { client, signal } = session;
  try {
    for await (const line of client.followLogs({ sinceMs: Date.now(), signal })) {
      context.print(maps.translate(logText(line)));
    }
  } catch (error) {
    if (!(error instanceof IsolaError)) throw error;
    context.note(renderError(error));
  }
}
