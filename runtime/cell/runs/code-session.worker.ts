/** One session of code as the shard sees it: what is ordered, what was said, who asks for it. */
import { RpcTarget } from "cloudflare:workers";
import type {
  CodeBridge,
  CodeError,
  CodeOrder,
  CodeOutcome,
  CodeReport,
} from "../../contract/index.ts";
import type { Held, RunHome, RunReport } from "../../../workflow/index.ts";
import { checkReports } from "./code-reports.ts";
import { lossOf } from "./held-values.ts";
import type { EffectOf } from "./performers.ts";

type Settle = (report: RunReport) => void;
type Hear = (session: Session, reports: readonly CodeReport[]) => void;

export class Session {
  readonly run: RunHome;
  readonly number: number;
  readonly callId: string;
  /** Attempts that the isolate has not settled, by step and token. */
  readonly attempts = new Map<string, Settle>();
  isOver = false;
  /** Outcomes that were told when it began: the run answers them once more. */
  known = 0;
  /** Who hears what the isolate says, where it is not the run. */
  hear: Hear | undefined;
  /** What the isolate said and is not heard yet: values are held first. */
  readonly inbox: CodeReport[] = [];
  isHearing = false;
  #orders: CodeOrder[] = [];
  #open: ((orders: readonly CodeOrder[]) => void) | undefined;
  #isFlushing = false;
  /** Orders whose values are read still; what comes after them waits (X3). */
  #reading: Promise<void> | undefined;

  constructor(run: RunHome, number: number, callId: string) {
    this.run = run;
    this.number = number;
    this.callId = callId;
  }

  /** Goes out with what else is ordered in this turn. */
  order(order: CodeOrder): void {
    this.#orders.push(order);
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  /** An order with a value that may have to be read first. */
  orderRead(order: CodeOrder | Promise<CodeOrder>): void {
    if (!(order instanceof Promise) && !this.#reading) {
      this.order(order);
      return;
    }
    const reading = Promise.all([order, this.#reading]).then(([read]) => {
      if (this.#reading === reading) this.#reading = undefined;
      this.order(read);
    });
    this.#reading = reading;
  }

  /** The isolate waits for orders; whoever waited before gets none. */
  next(): Promise<readonly CodeOrder[]> {
    this.#open?.([]);
    return new Promise((resolve) => {
      this.#open = resolve;
      if (this.#orders.length > 0) this.#flush();
    });
  }

  #flush(): void {
    const open = this.#open;
    if (!open || this.#orders.length === 0) return;
    this.#open = undefined;
    const orders = this.#orders;
    this.#orders = [];
    open(orders);
  }
}

export class BridgeTarget extends RpcTarget implements CodeBridge {
  readonly #session: Session;
  readonly #hear: Hear;

  constructor(session: Session, hear: Hear) {
    super();
    this.#session = session;
    this.#hear = hear;
  }

  async exchange(reports: readonly CodeReport[]): Promise<readonly CodeOrder[]> {
    this.#hear(this.#session, checkReports(reports));
    return this.#session.next();
  }
}

/** Who knows what a value is. Errors: `VALUE_LOST`, `COLD_UNAVAILABLE`. */
export interface ValueReader {
  resolve(run: RunHome, held: Held): Promise<unknown>;
}

/** An answer for the code; a value that is kept elsewhere is read first. */
export function answerOrder(
  reader: ValueReader,
  run: RunHome,
  { step, outcome }: Pick<EffectOf<"answerStep">, "step" | "outcome">,
): CodeOrder | Promise<CodeOrder> {
  const answer = (told: CodeOutcome): CodeOrder => ({ type: "answer", step, outcome: told });
  if (!outcome.ok) return answer({ ok: false, error: toCode(outcome.error) });
  const { output } = outcome;
  if ("value" in output) return answer({ ok: true, output: output.value });
  return reader.resolve(run, output).then(
    (value) => answer({ ok: true, output: value }),
    (thrown: unknown) => {
      return answer({ ok: false, error: toCode(lossOf(thrown, `read the result of ${step}`)) });
    },
  );
}

export function toCode({ name, message, code, isFinal }: CodeError): CodeError {
  return { name, message, ...(code !== undefined && { code }), ...(isFinal && { isFinal }) };
}
