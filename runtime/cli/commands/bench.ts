/** Hands the command line on to the benchmarks, which a checkout has and a package has not. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { IsolaError } from "../../contract/index.ts";
import type { Command } from "../command.ts";

export const benchCommand: Command = {
  name: "bench",
  summary: "measure: isola bench --help",
  arguments: "[args...]",
  passesThrough: true,
  async run(context) {
    const url = new URL("../../../bench/cli.ts", import.meta.url);
    if (!import.meta.url.endsWith(".ts") || !existsSync(fileURLToPath(url))) {
      throw new IsolaError("USAGE", {
        attempted: "run the benchmarks",
        found: "an installed package, which does not hold them",
        required: "a checkout of Isola",
        fix: "clone the repository, npm install, npx isola bench",
      });
    }
    const { runBench } = (await import(url.href)) as {
      readonly runBench: (argv: readonly string[]) => Promise<number>;
    };
    context.exitStatus = await runBench(context.rest);
  },
};
