/**
 * Starts a stand-in platform in a process of its own, for tests that kill it:
 * `node fixture-platform-program.ts <data directory> [port]`. Prints its addresses as one line.
 */
import { IsolaError } from "../../runtime/contract/index.ts";
import { startFixturePlatform } from "./fixture-platform.ts";

const [, , dataDir = "", port = "0"] = process.argv;
try {
  const platform = await startFixturePlatform({ dataDir, port: Number(port) });
  const { publicUrl, adminUrl } = platform;
  // Before the line: whoever has read it may send the signal at once.
  process.on("SIGTERM", () => void platform.stop());
  console.log(JSON.stringify({ publicUrl, adminUrl }));
  await platform.exited;
} catch (error) {
  const code = error instanceof IsolaError ? error.code : "OTHER";
  console.log(JSON.stringify({ code, message: String(error) }));
  process.exitCode = 1;
}
