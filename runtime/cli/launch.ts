#!/usr/bin/env node
/**
 * The `isola` command of an installed package. The system's Node may be older than the platform
 * needs; then the same command line runs again under the pinned binary of the `node` package.
 * Nothing is imported from the rest of the code: it must parse and run on old releases.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED = [22, 12] as const;
const PROGRAM = fileURLToPath(new URL("./isola.js", import.meta.url));

function isRecentEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
}

function pinnedNode(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve("node/package.json");
    const binary = join(dirname(manifest), "bin", "node");
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

/** Ends the program when this launcher is gone, however it went: the channel closes with it. */
const FOLLOW_LAUNCHER =
  "data:text/javascript,process.channel?.unref();" +
  "process.on('disconnect',()=>process.kill(process.pid,'SIGTERM'))";

function runUnder(binary: string): void {
  const argv = ["--import", FOLLOW_LAUNCHER, PROGRAM, ...process.argv.slice(2)];
  const child = spawn(binary, argv, { stdio: ["inherit", "inherit", "inherit", "ipc"] });
  for (const signal of ["SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => child.kill(signal));
  }
  process.on("SIGINT", () => {
    // A terminal signals the whole group: passing it on would look like a second Ctrl-C.
    if (!process.stdin.isTTY) child.kill("SIGINT");
  });
  child.on("error", (error) => {
    console.error(`isola: cannot run ${binary}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    process.exit(code ?? 128 + (signal === null ? 1 : constants.signals[signal]));
  });
}

if (isRecentEnough(process.versions.node)) {
  await import(PROGRAM);
} else {
  const binary = pinnedNode();
  if (binary === undefined) {
    console.error(
      [
        "isola: could not start",
        `  found:    Node ${process.versions.node}, and no binary in the "node" package`,
        `  required: Node ${NEEDED.join(".")} or newer`,
        "  do:       npm install node@24.21.0 --allow-scripts=node, or install a newer Node",
      ].join("\n"),
    );
    process.exit(1);
  }
  runUnder(binary);
}
