/** Asks on a terminal for something that is not shown while it is typed. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import type { Io } from "./io.ts";

export async function promptHidden(
  stdin: Io["stdin"],
  stderr: Io["stderr"],
  question: string,
): Promise<string> {
  stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: stdin, output: silent, terminal: true });
  try {
    return await lines.question("");
  } catch (error) {
    // The terminal was in raw mode: Ctrl-C came as a key, and means what it always means.
    if (error instanceof Error && error.name === "AbortError") process.kill(process.pid, "SIGINT");
    throw error;
  } finally {
    lines.close();
    stderr.write("\n");
  }
}
