/** What the two forms of the approval have in common. */
export interface Expense {
  readonly who: string;
  readonly amount: number;
}

/** Payload of the event `decision`. */
export interface Decision {
  readonly approved: boolean;
  readonly by: string;
}

/** Above it somebody has to look. */
export const FREE_UP_TO = 100;

export const BY_RULE: Decision = { approved: true, by: "rule" };

export const NOBODY: Decision = { approved: false, by: "nobody, in time" };

export const PATIENCE_MS = 7 * 24 * 60 * 60 * 1_000;
