/** Builds everything first, then deploys: a build error changes nothing. */
import type { DeployResult } from "../../contract/index.ts";
import type { Command, CommandContext } from "../command.ts";
import { DEPLOYS_AT_ONCE, buildAll, deployBuilt } from "../deployment.ts";
import { inParallel } from "../in-parallel.ts";
import { findFunctions } from "../functions-folder.ts";
import { bytes, milliseconds, shares } from "../render/text.ts";

const DEFAULT_FOLDER = "functions";

export const deployCommand: Command = {
  name: "deploy",
  aliases: ["publish"],
  summary: "build a function or a folder of them, and make it live",
  arguments: "[path]",
  async run(context, path) {
    const source = path ?? context.option("dir") ?? DEFAULT_FOLDER;
    const entries = await findFunctions(source, context.option("name"));
    const built = await context.progress("building", buildAll(entries));
    for (const { name, warnings } of built) {
      for (const warning of warnings) context.note(`isola: warning: ${name}: ${warning}`);
    }
    const client = context.client();
    const deploying = inParallel(DEPLOYS_AT_ONCE, built, async (one) => {
      const result = await deployBuilt(client, one, {
        config: configOf(context, one.name),
        traffic: context.option("traffic"),
        dryRun: context.option("dryRun"),
      });
      if (!context.wantsJson) context.print(resultText(result));
      return result;
    });
    const results = await context.progress("deploying", deploying);
    if (context.wantsJson) context.print(JSON.stringify({ items: results }, undefined, 2));
    await printAddresses(context, results);
  },
};

/** Flags over `[functions.<name>]`; what neither says, the module's own config does. */
function configOf(context: CommandContext, name: string) {
  const fromFile = context.file?.functions.get(name) ?? {};
  const backend = context.option("backend");
  const pairs = context.option("env").map((pair) => {
    const equals = pair.indexOf("=");
    return [pair.slice(0, equals), pair.slice(equals + 1)] as const;
  });
  const env = { ...fromFile.env, ...Object.fromEntries(pairs) };
  return {
    ...fromFile,
    ...(backend === undefined ? {} : { backend }),
    ...(Object.keys(env).length === 0 ? {} : { env }),
  };
}

export function resultText(result: DeployResult): string {
  const { storeMs, probeMs, registerMs, spreadMs } = result.timing;
  const took = milliseconds(storeMs + probeMs + registerMs + spreadMs);
  const size = bytes(result.bundleBytes);
  const label = `${result.name} v${String(result.version)}`;
  if (result.dryRun) {
    const head = `${label} would be deployed: ${result.form}, ${size}`;
    return [head, ...replayText(result)].join("\n");
  }
  const news = result.created ? "deployed" : "unchanged";
  const head = `${label} ${news}: ${result.form}, ${size}, ${shares(result.traffic)}, ${took}`;
  return [head, ...replayText(result)].join("\n");
}

/** What the new code would make of open runs, which go on with theirs. */
function replayText({ replay }: DeployResult): string[] {
  if (!replay) return [];
  const { agreed, diverged, unchecked, missing, diverging } = replay;
  const counts =
    `  open runs, replayed against it: ${String(agreed)} would go on, ` +
    `${String(diverged)} would diverge, ${String(unchecked)} not checked`;
  const shards = missing > 0 ? [`  ${String(missing)} shards did not answer`] : [];
  const named = diverging.map(({ run, message }) => `  ${run}: ${message}`);
  return [counts, ...shards, ...named];
}

async function printAddresses(context: CommandContext, results: readonly DeployResult[]) {
  const live = results.filter(({ dryRun }) => !dryRun);
  if (context.wantsJson || live.length === 0) return;
  const client = context.client();
  const url = await client.publicUrl().catch(() => undefined);
  if (url === undefined) return;
  for (const { name } of live) context.print(`  ${client.addressOf(url, name)}`);
}
