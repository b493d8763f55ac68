/** `isola bench <suite>`: runs a suite, prints its tables, says whether the aims are met. */
import { parseArgs } from "node:util";
import { runCalls } from "./suites/calls.ts";
import { FULL, QUICK } from "./suites/options.ts";

const USAGE = `isola bench calls [--quick] [--json FILE]

  calls     cost of a call, start of an isolate, memory, number of functions,
            beside bare workerd; bench/METHOD.md says how
  --quick   under a minute: trends, no figures to quote
  --json    raw records of everything that was measured, one JSON object a line

Status: 0 valid and every aim met, 1 an aim missed or the run invalid, 2 wrong usage.`;

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
  const options = parsed.quick ? QUICK : FULL;
  try {
    const { report, isValid, aimsMet } = await runCalls(options, tell, parsed.json);
    console.log(report);
    return isValid && (aimsMet || parsed.quick) ? 0 : 1;
  } catch (error) {
    console.error(`isola bench: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

interface Parsed {
  readonly help: boolean;
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
    const [suite] = positionals;
    if (!values.help && (suite !== "calls" || positionals.length > 1)) {
      return `isola bench: no suite ${JSON.stringify(positionals.join(" "))}; there is: calls`;
    }
    return { help: values.help, quick: values.quick, json: values.json };
  } catch (error) {
    return `isola bench: ${error instanceof Error ? error.message : String(error)}`;
  }
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
  process.exitCode = await runBench(process.argv.slice(2));
}
