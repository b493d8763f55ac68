/**
 * A replay of an open run's journal by other code, before that code is deployed: whether it would
 * go on where the journal ends. It works on a copy of the run's state; nothing is carried out.
 */
import { assert } from "../../runtime/contract/index.ts";
import type { Effect, RunEvent, RunState } from "./model.ts";
import { Run } from "./run.ts";

type Answer = Extract<Effect, { readonly do: "answerStep" }>;
type Report = Extract<RunEvent, { readonly type: "stepCalled" | "codeEnded" | "codeIdle" }>;
/** What code reports, without what the coordinator adds. */
export type ReplayReport = Report extends infer Event
  ? Event extends Report
    ? Omit<Event, "atMs" | "random" | "session">
    : never
  : never;

/** `failed`: the code failed by something that is no step, which cannot be judged here. */
export type ReplayVerdict =
  | { readonly is: "agrees" | "failed" }
  | { readonly is: "diverges"; readonly message: string };

export class CodeReplay {
  readonly #run: Run;
  readonly #known: ReadonlySet<string>;

  /** @param state of an open run in code form that has begun; it is copied. */
  constructor(state: RunState) {
    const copy = structuredClone(state);
    const { code } = copy;
    assert(code, "a run in code form has its sessions");
    delete copy.pausedAtMs;
    code.isLive = true;
    code.losses = 0;
    this.#run = new Run(copy);
    this.#known = new Set(copy.steps.keys());
    this.#run.apply({ type: "codeLost", session: code.session, ...this.#now() });
  }

  /** What the code is told next. */
  apply(report: ReplayReport): readonly Answer[] {
    const { code } = this.#run.state;
    if (!code || this.verdict) return [];
    const event = { ...report, session: code.session, ...this.#now() } as RunEvent;
    const effects = this.#run.apply(event);
    return effects.filter((effect): effect is Answer => effect.do === "answerStep");
  }

  /** Undefined: it is not over. */
  get verdict(): ReplayVerdict | undefined {
    const { ended, ending, code } = this.#run.state;
    const error = ending?.error ?? ended?.error;
    if (error?.code === "PLAN_DIVERGED") return { is: "diverges", message: error.message };
    if (error) return { is: "failed" };
    if (ended || ending) return { is: "agrees" };
    const isHeard = code?.answered === code?.order.length;
    const isCalled = [...this.#known].every((id) => code?.called.has(id));
    return isHeard && isCalled ? { is: "agrees" } : undefined;
  }

  #now(): { readonly atMs: number; readonly random: number } {
    return { atMs: this.#run.state.startedAtMs, random: 0 };
  }
}

/** Runs with the same steps in the same order of outcomes are one shape. */
export function shapeOf({ steps, code }: RunState): string {
  return `${[...steps.keys()].join("\n")}\n\n${code?.order.join("\n") ?? ""}`;
}

/** Whether other code can be judged by it: it is open, has begun and is not ending. */
export function canReplay({ form, code, ended, ending, isQueued }: RunState): boolean {
  return form === "code" && code !== undefined && !ended && !ending && isQueued !== true;
}
