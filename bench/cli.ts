/** `isola bench <suite>`: runs a suite, prints its tables, says whether the aims are met. */
import { parseArgs } from "node:util";
import { runCalls } from "./suites/calls.ts";
import { FLOWS_FULL_RUN, FLOWS_QUICK_RUN } from "./suites/flow-options.ts";
import { runFlows } from "./suites/flows.ts";
import { FULL, QUICK } from "./suites/options.ts";
import { STORE_FULL_RUN, STORE_QUICK_RUN } from "./suites/store-cases.ts";
import { runStore } from "./suites/store.ts";

const USAGE = `isola bench calls|store|flows [--quick] [--json FILE]

  calls     cost of a call, start of an isolate, memory, number of functions,
            beside bare workerd; bench/METHOD.md says how
  store     put, get and hand over of intermediate data, beside Redis and an object store
  flows     compositions of functions that survive failure, beside a bare prototype,
            Restate and the Workflows engine that comes with workerd
  --quick   under a minute: trends, no figures to quote
  --json    raw records of everything that was measured, one JSON object a line

Status: 0 valid and every aim met, 1 an aim missed or the run invalid, 2 wrong usage.`;

const SUITES = {
  calls: (isQuick: boolean, json?: string) => runCalls(isQuick ? QUICK : FULL, tell, json),
  store: (isQuick: boolean, json?: string) =>
    runStore(isQuick ? STORE_QUICK_RUN : STORE_FULL_RUN, tell, json),
  flows: (isQuick: boolean, json?: string) =>
    runFlows(isQuick ? FLOWS_QUICK_RUN : FLOWS_FULL_RUN, tell, json),
} as const;

type Suite = keyof typeof SUITES;

const isSuite = (name: string): name is Suite => Object.hasOwn(SUITES, name);

/** Progress, for a person who waits. */
function tell(line: string): void {
  if (process.stderr.isTTY) console.error(line);
}

/** Runs `isola bench` with the arguments after the verb; resolves to the exit status. */
export async function runBench(argv: readonly string[]): Promise<number> {
  const parsed = parse(argv);
  if (typeof parsed === "string") {
    console.error(`${parsed}\n\n${USAGE}`);
    return 2;
  }
  if (parsed.help) {
    console.log(USAGE);
    return 0;
  }
  try {
    const run = SUITES[parsed.suite];
    const { report, isValid, aimsMet } = await run(parsed.quick, parsed.json);
    console.log(report);
    return isValid && (aimsMet || parsed.quick) ? 0 : 1;
  } catch (error) {
    console.error(`isola bench: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

interface Parsed {
  readonly help: boolean;
  readonly suite: Suite;
  readonly quick: boolean;
  readonly json: string | undefined;
}

/** What was asked, or what is wrong with it. */
function parse(argv: readonly string[]): Parsed | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    const name = values.help ? "calls" : positionals.join(" ");
    if (!isSuite(name)) {
      const names = Object.keys(SUITES).join(", ");
      return `isola bench: no suite ${JSON.stringify(name)}; there are: ${names}`;
    }
    return { help: values.help, suite: name, quick: values.quick, json: values.json };
  } catch (error) {
    return `isola bench: ${error instanceof Error ? error.message : String(error)}`;
  }
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
  process.exitCode = await runBench(process.argv.slice(2));
}
