/** The `isola` command: reads the command line of this process and sets its exit status. */
import { COMMANDS } from "./commands/index.ts";
import { runProgram } from "./program.ts";
import { VERSION } from "./version.ts";

const interruptListeners: (() => void)[] = [];

function onInterrupt(listener: () => void): void {
  interruptListeners.push(listener);
  if (interruptListeners.length > 1) return;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      for (const each of interruptListeners) each();
    });
  }
}

// Whoever reads the output may have seen enough: `isola list | head -1`.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? 0 : 1);
  });
}

const { stdin, stdout, stderr, env: environment } = process;
const io = { stdin, stdout, stderr, environment, onInterrupt };
const status = await runProgram(process.argv.slice(2), COMMANDS, io, VERSION);
process.exitCode = status;
// Kept connections and a terminal's input would hold the process for seconds.
await Promise.all([stdout, stderr].map((stream) => new Promise((done) => stream.write("", done))));
process.exit(status);
