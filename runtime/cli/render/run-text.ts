/** Runs for people: a page, a table of steps, lines of a history. */
import type {
  RunDetail,
  RunFault,
  RunHistoryLine,
  RunInfo,
  RunStep,
  ShownValue,
} from "../../contract/index.ts";
import { age, fields, milliseconds, table } from "./text.ts";

const VALUE_CHARACTERS = 400;
const ERROR_CHARACTERS = 120;

const pad = (part: number, width = 2): string => String(part).padStart(width, "0");

/** `12:03:04.005`, in the time zone of whoever reads. */
function clockTime(atMs: number): string {
  const at = new Date(atMs);
  const time = [pad(at.getHours()), pad(at.getMinutes()), pad(at.getSeconds())].join(":");
  return `${time}.${pad(at.getMilliseconds(), 3)}`;
}

function oneLine(text: string, max: number): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > max ? `${line.slice(0, max - 1)}…` : line;
}

function faultText({ code, name, message }: RunFault): string {
  return `${code ?? name}: ${oneLine(message, ERROR_CHARACTERS)}`;
}

function valueText(shown: ShownValue | undefined): string | undefined {
  if (!shown) return undefined;
  if ("value" in shown) return oneLine(JSON.stringify(shown.value), VALUE_CHARACTERS);
  if ("preview" in shown) return oneLine(shown.preview, VALUE_CHARACTERS);
  return `${String(shown.sizeBytes)} bytes in the store (${shown.ref})`;
}

function tookText({ startedAtMs, endedAtMs }: Pick<RunInfo, "endedAtMs" | "startedAtMs">): string {
  return endedAtMs === undefined ? "-" : milliseconds(endedAtMs - startedAtMs);
}

export function runTable(runs: readonly RunInfo[]): string {
  return table(
    runs,
    [
      { title: "run", value: ({ id }) => id },
      { title: "function", value: ({ workflow }) => workflow },
      { title: "status", value: ({ status }) => status },
      { title: "started", value: ({ startedAtMs }) => age(startedAtMs) },
      { title: "took", value: tookText, isNumber: true },
      { title: "error", value: ({ error }) => (error ? (error.code ?? error.name) : "-") },
    ],
    "no runs",
  );
}

/** Everything that is known of a run, on one page. */
export function runPage(run: RunDetail): string {
  const { error, rollbackError, parent, deadlineAtMs, pausedAtMs } = run;
  const pins = Object.entries(run.pins).map(([name, version]) => `${name} v${String(version)}`);
  const version = run.version === undefined ? "" : ` v${String(run.version)}`;
  const where = error?.step === undefined ? "" : ` (step ${error.step})`;
  const head = fields([
    ["run", run.id],
    ["function", `${run.workflow}${version} in ${run.namespace}`],
    ["status", run.status],
    ["started", `${age(run.startedAtMs)}, at ${new Date(run.startedAtMs).toISOString()}`],
    ["took", run.endedAtMs === undefined ? undefined : tookText(run)],
    ["paused", pausedAtMs === undefined ? undefined : age(pausedAtMs)],
    ["ends by", deadlineAtMs === undefined ? undefined : new Date(deadlineAtMs).toISOString()],
    ["invoked by", parent && `${parent.run}, step ${parent.step}`],
    ["replay of", run.replayOf],
    ["replayed as", run.replayedAs],
    ["durability", run.durability],
    ["versions", pins.join(", ") || undefined],
    ["input", valueText(run.input)],
    ["output", valueText(run.output)],
    ["error", error && `${faultText(error)}${where}`],
    ["rollback", rollbackError && `stopped: ${faultText(rollbackError)}`],
    ["unread", run.events.length === 0 ? undefined : `events ${run.events.join(", ")}`],
  ]);
  if (run.stepCount === 0) return `${head}\n\nno steps yet`;
  const left = run.stepCount - run.steps.length;
  const more = left > 0 ? `\nand ${String(left)} more; isola runs history shows all` : "";
  return `${head}\n\n${stepTable(run)}${more}`;
}

function stepTable({ steps, startedAtMs }: RunDetail): string {
  return table(
    steps,
    [
      { title: "step", value: ({ id }) => id },
      { title: "what", value: ({ what = "-" }) => oneLine(what, 60) },
      { title: "status", value: stepStatus },
      { title: "attempts", value: attemptsText, isNumber: true },
      {
        title: "after",
        value: (step) => milliseconds(step.startedAtMs - startedAtMs),
        isNumber: true,
      },
      { title: "took", value: tookText, isNumber: true },
      { title: "error", value: ({ error }) => (error ? faultText(error) : "-") },
    ],
    "",
  );
}

function stepStatus({ status, retryAtMs, dueAtMs, run }: RunStep): string {
  if (status === "retrying" && retryAtMs !== undefined) {
    return `retrying in ${milliseconds(Math.max(0, retryAtMs - Date.now()))}`;
  }
  if (dueAtMs !== undefined) return `${status}, ${milliseconds(Math.max(0, dueAtMs - Date.now()))}`;
  return run === undefined ? status : `${status} (${run})`;
}

function attemptsText({ attempts, interruptions }: RunStep): string {
  const died = interruptions === undefined ? "" : ` +${String(interruptions)} interrupted`;
  return `${String(attempts)}${died}`;
}

/** `12:03:04.005  double/0      attempt 2 failed: Error: no; again at 12:03:05.000` */
export function historyText(line: RunHistoryLine): string {
  const { step = "run" } = line;
  return `${clockTime(line.atMs)}  ${step.padEnd(24)}  ${whatHappened(line)}`;
}

function whatHappened(line: RunHistoryLine): string {
  const { type, what, attempt, error, retryAtMs, names = [], count, run, status, step } = line;
  const cause = error ? `: ${faultText(error)}` : "";
  const again = retryAtMs === undefined ? "" : `; again at ${clockTime(retryAtMs)}`;
  const number = attempt === undefined ? "attempt" : `attempt ${String(attempt)}`;
  switch (type) {
    case "stepStarted":
      return what === undefined ? "started" : `started: ${what}`;
    case "attemptStarted":
      return run === undefined ? number : `${number}: run ${run}`;
    case "attemptFailed":
      return `${number} failed${cause}${again}`;
    case "branchesChosen":
      return `chose ${names.join(", ") || "no branch"}`;
    case "itemsSplit":
      return `${String(count ?? 0)} items`;
    case "eventReceived":
      return `event ${names.join(", ")}`;
    case "runEnded":
      return `${status ?? "ended"}${cause}`;
    default: {
      // `stepCompleted` of a step is "completed", `runPaused` is "paused", others as they are.
      const words = type.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      const own = words.replace(step === undefined ? /^run / : /^step /, "");
      return `${own}${cause}${again}`;
    }
  }
}
