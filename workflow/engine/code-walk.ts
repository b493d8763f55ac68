/**
 * The code form: code runs in its isolate and calls steps by name; the journal answers what it
 * knows, the rest is done.
 *
 * C1 A session is one run of the code from its beginning. Outcomes are told to it in the order in
 *    which they came to the journal, each once the code has called its step: so races are decided
 *    as they were.
 * C2 A step that the journal does not know waits until the session has called every step that the
 *    journal knows and has heard every outcome. So nothing that is new runs in code that went
 *    another way, and what is missing then is a divergence (`PLAN_DIVERGED`), by name.
 * C3 Without a session, waits go on; what is over wakes the code. Callbacks need a session.
 * C4 A session that is lost soon after it began, again and again and without any progress, fails
 *    the run: its code ends the process that it runs in.
 */
import { WORKFLOW_LIMITS, assert, toIsolaError } from "../../runtime/contract/index.ts";
import { type Held, type RunError, validateStepCall } from "../builder/index.ts";
import { undoId } from "./ending.ts";
import type { CodeState, Outcome, RunEvent, StepOperation, StepState } from "./model.ts";
import type { Steps } from "./steps.ts";
import type { Turn } from "./turn.ts";

const NOTHING: Held = { value: undefined };
/** A session that lasts so long does not end its process by beginning. */
const SHORT_SESSION_MS = 60_000;
/** How long code may wait for something that is no step until its replay counts as stuck. */
const STRANGE_WAIT_MS = 30_000;

export class CodeWalk {
  readonly #turn: Turn;
  readonly #steps: Steps;
  readonly #fail: (error: RunError) => void;

  constructor(turn: Turn, steps: Steps, fail: (error: RunError) => void) {
    this.#turn = turn;
    this.#steps = steps;
    this.#fail = fail;
  }

  begin(): void {
    this.#turn.state.code = {
      session: 0,
      sessionAtMs: 0,
      losses: 0,
      isLive: false,
      called: new Set(),
      order: [],
      answered: 0,
      held: new Map(),
    };
    this.wake();
  }

  /** Runs the code from its beginning, unless it runs. */
  wake(): void {
    const code = this.#code();
    if (code.isLive || this.#turn.state.ended || this.#turn.state.pausedAtMs !== undefined) return;
    code.session += 1;
    code.sessionAtMs = this.#turn.atMs;
    code.isLive = true;
    code.answered = 0;
    code.called.clear();
    code.held.clear();
    this.#turn.emit({ do: "runCode", session: code.session, losses: code.losses });
  }

  called(event: RunEvent & { type: "stepCalled" }): void {
    const code = this.#code();
    if (event.session !== code.session || !code.isLive) return;
    const { step: id, operation, input = NOTHING } = event;
    const refused = callFault(id, operation);
    if (refused) {
      this.#fail({ name: "WorkflowFatalError", ...refused, isFinal: true });
      return;
    }
    const known = this.#turn.state.steps.get(id);
    if (!known) {
      code.held.set(id, { operation, input });
    } else if (!isSame(known.operation, operation)) {
      this.#diverged(`${id} is ${known.operation.op}`, `${id} is ${operation.op}`);
      return;
    } else if (!code.called.has(id)) {
      code.called.add(id);
      if (known.phase === "held" && !this.#turn.isHeld) this.#steps.launch(known);
      const undo = this.#turn.state.steps.get(undoId(id));
      if (undo?.phase === "held") this.#steps.launch(undo);
    }
    this.go();
  }

  /** Tells what can be told, and begins what may begin. */
  go(): void {
    const code = this.#code();
    const { state } = this.#turn;
    if (!code.isLive || state.pausedAtMs !== undefined) return;
    for (;;) {
      const next = code.order[code.answered];
      const outcome = next === undefined ? undefined : state.steps.get(next)?.outcome;
      if (next === undefined || !outcome || !code.called.has(next)) break;
      code.answered += 1;
      this.#turn.emit({ do: "answerStep", session: code.session, step: next, outcome });
    }
    if (this.#turn.isHeld || this.#missing()) return;
    for (const [id, { operation, input }] of code.held) {
      code.held.delete(id);
      if (!this.#begin(id, operation, input)) return;
    }
  }

  completed(step: StepState, outcome: Outcome): void {
    const code = this.#code();
    step.phase = "done";
    step.outcome = outcome;
    code.order.push(step.id);
    code.losses = 0;
    if (code.isLive) this.go();
    else this.wake();
  }

  /** An attempt needs a session that has called its step. */
  mayLaunch(step: StepState): boolean {
    const code = this.#code();
    const { operation } = step;
    if (operation.op !== "do" && operation.op !== "rollback") return true;
    if (!code.isLive) this.wake();
    return code.called.has(operation.op === "do" ? step.id : operation.step);
  }

  /** What the code returned or threw; undefined while it does not count. */
  ended(event: RunEvent & { type: "codeEnded" }): Outcome | undefined {
    const code = this.#code();
    if (event.session !== code.session || !code.isLive) return undefined;
    const { ending, undo } = this.#turn.state;
    if (ending) {
      this.#missRollback();
      return undefined;
    }
    // What has failed may have to be undone: the session's rollbacks are called then.
    code.isLive = !event.outcome.ok && undo.length > 0;
    const missing = this.#missing();
    if (!missing || !event.outcome.ok) return event.outcome;
    this.#diverged(`the step ${missing}`, "the code's end");
    return undefined;
  }

  idle(event: RunEvent & { type: "codeIdle" }): void {
    const code = this.#code();
    if (event.session !== code.session || !code.isLive) return;
    if (this.#turn.state.ending) this.#missRollback();
    if (this.#turn.isHeld) return;
    const missing = this.#missing();
    if (missing) {
      const [found] = code.held.keys();
      // It may wait for something that is no step, and call the missing one later.
      if (!found && (event.quietMs ?? STRANGE_WAIT_MS) < STRANGE_WAIT_MS) return;
      this.#diverged(`the step ${missing}`, found ? `the step ${found}` : "no step");
      return;
    }
    const open = [...this.#turn.state.steps.values()].filter(({ phase }) => phase !== "done");
    const isWaiting = open.every(({ phase }) => phase !== "running" && phase !== "held");
    if (open.length === 0 || !isWaiting) return;
    code.isLive = false;
    this.#turn.emit({ do: "parkCode", session: code.session });
  }

  lost(event: RunEvent & { type: "codeLost" }): void {
    const code = this.#code();
    if (event.session !== code.session || !code.isLive) return;
    code.isLive = false;
    const isShort = this.#turn.atMs - code.sessionAtMs < SHORT_SESSION_MS;
    code.losses = isShort ? code.losses + 1 : 0;
    if (code.losses <= WORKFLOW_LIMITS.codeLossesMax) {
      this.wake();
      return;
    }
    const times = String(code.losses);
    const message = `the code was lost ${times} times after it began, without finishing a step`;
    this.#fail({ name: "WorkflowFatalError", message, code: "INSTANCE_LOST", isFinal: true });
  }

  /** After a pause. */
  resume(): void {
    const code = this.#code();
    if (!code.isLive) {
      this.wake();
      return;
    }
    for (const id of code.called) {
      const step = this.#turn.state.steps.get(id);
      if (step?.phase === "held") this.#steps.launch(step);
    }
    this.go();
  }

  /** Forgets a step and those that began after it; without one, the last failure. */
  rewind(from: string | undefined): void {
    const { steps } = this.#turn.state;
    const code = this.#code();
    const ids = [...steps.keys()];
    const last = code.order.at(-1);
    const failed = last !== undefined && steps.get(last)?.outcome?.ok === false ? [last] : [];
    const gone = new Set(from === undefined ? failed : ids.slice(ids.indexOf(from)));
    for (const id of gone) steps.delete(id);
    code.order = code.order.filter((id) => !gone.has(id));
    code.isLive = false;
    this.wake();
  }

  /** The code has gone as far as it goes, and never said how the step is rolled back. */
  #missRollback(): void {
    for (const step of this.#turn.state.steps.values()) {
      if (step.phase !== "held" || step.operation.op !== "rollback") continue;
      const message = `the code no longer has ${step.operation.step}, which is to be rolled back`;
      this.#steps.giveUp(step, {
        name: "RollbackMissing",
        message,
        code: "ROLLBACK_MISSING",
        isFinal: true,
      });
      return;
    }
  }

  #begin(id: string, operation: StepOperation, input: Held): boolean {
    const { steps } = this.#turn.state;
    if (steps.size >= WORKFLOW_LIMITS.codeMaxSteps) {
      const max = String(WORKFLOW_LIMITS.codeMaxSteps);
      const message = `${id} is one step more than the ${max} of a run`;
      this.#fail({ name: "WorkflowFatalError", message, code: "QUOTA_EXCEEDED", isFinal: true });
      return false;
    }
    const isPast = operation.op === "sleep" && (operation.forMs ?? 0) < 0;
    const step = this.#steps.add(id, isPast ? { op: "sleep", forMs: 0 } : operation, input);
    const code = this.#code();
    code.called.add(id);
    code.losses = 0;
    if (isPast) this.completed(step, { ok: false, error: PAST });
    else this.#steps.launch(step);
    return true;
  }

  /** A step of the journal that this session has not called, or not heard of. */
  #missing(): string | undefined {
    const { steps } = this.#turn.state;
    const { called, order, answered } = this.#code();
    if (answered < order.length) return order[answered];
    if (called.size >= steps.size) return undefined;
    return [...steps.keys()].find((id) => !called.has(id));
  }

  #diverged(expected: string, found: string): void {
    this.#fail({
      name: "WorkflowFatalError",
      message: `the code went another way than its journal: expected ${expected}, found ${found}`,
      code: "PLAN_DIVERGED",
      isFinal: true,
    });
  }

  #code(): CodeState {
    const { code } = this.#turn.state;
    assert(code, "a run in code form has its sessions");
    return code;
  }
}

/** Of a sleep until a time that has passed; one that was begun before it passed is over then. */
const PAST: RunError = {
  name: "Error",
  message: "You can't sleep until a time in the past, time-traveler",
};

/** What is wrong with a call: it comes from an isolate that is not ours. */
function callFault(
  id: string,
  asked: StepOperation,
): { message: string; code: string } | undefined {
  const isSleep = (asked as StepOperation | null)?.op === "sleep" && "forMs" in asked;
  const operation = isSleep ? { ...asked, forMs: Math.max(Number(asked.forMs), 0) } : asked;
  if (id.length > WORKFLOW_LIMITS.stepNameMaxCharacters) {
    const message = `a step's name has ${String(id.length)} characters: ${id.slice(0, 40)}…`;
    return { message, code: "REQUEST_INVALID" };
  }
  try {
    validateStepCall(id, operation);
    return undefined;
  } catch (thrown) {
    const { message, code } = toIsolaError(thrown, `call the step ${id}`);
    return { message, code };
  }
}

/** Whether code asks for what the journal knows. Lengths of sleeps may differ: clocks go on. */
function isSame(known: StepOperation, asked: StepOperation): boolean {
  if (known.op !== asked.op) return false;
  if (known.op === "event" && asked.op === "event") return known.type === asked.type;
  if (known.op === "invoke" && asked.op === "invoke") return known.workflow === asked.workflow;
  return true;
}
