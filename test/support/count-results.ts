// Adds up the JSON results of every vitest run in a folder and prints `N passed, N failed`.
// Usage: node test/support/count-results.ts <folder> <status of the command that ran them>
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

interface FileResult {
  readonly name: string;
  readonly status: string;
  readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
}

const [folder = ".", status = "0"] = process.argv.slice(2);
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .flatMap((name) => {
    const text = readFileSync(join(folder, name), "utf8");
    return (JSON.parse(text) as { readonly testResults: readonly FileResult[] }).testResults;
  });
const tests = files.flatMap((file) => file.assertionResults.map((test) => ({ ...test, file })));
const passed = tests.filter((test) => test.status === "passed");
const failures = [
  ...tests
    .filter((test) => test.status === "failed")
    .map(({ file, fullName }) => `${file.name}: ${fullName}`),
  // A file that does not load has failed without a test of its own.
  ...files
    .filter((file) => file.status === "failed" && file.assertionResults.length === 0)
    .map((file) => `${file.name}: did not load`),
];
if (status !== "0" && failures.length === 0) {
  failures.push(`a check outside the tests (status ${status}); see above`);
}

for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${String(passed.length)} passed, ${String(failures.length)} failed`);
process.exitCode = failures.length > 0 || passed.length === 0 ? 1 : 0;
