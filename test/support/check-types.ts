// Checks every type world. A world without files yet is skipped; any other failure fails.
import { spawn } from "node:child_process";

const WORLDS = ["shared", "worker", "node", "test", "functions"];
const NO_INPUTS = "TS18003";

const results = await Promise.all(
  WORLDS.map(
    (world) =>
      new Promise<{ world: string; status: number; output: string }>((resolve, reject) => {
        const args = ["-p", `tsconfig.${world}.json`, "--pretty", "false"];
        const child = spawn("tsc", args, { stdio: ["ignore", "pipe", "inherit"] });
        let output = "";
        child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
        child.on("error", reject);
        child.on("close", (status) => resolve({ world, status: status ?? 1, output }));
      }),
  ),
);

for (const { world, status, output } of results) {
  if (status === 0) {
    console.log(`types ${world}: ok`);
  } else if (output.includes(NO_INPUTS)) {
    console.log(`types ${world}: no files`);
  } else {
    console.log(`types ${world}: failed\n${output.trimEnd()}`);
    process.exitCode = 1;
  }
}
