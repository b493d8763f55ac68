/**
 * One row of the error catalogue. Whose fault: `caller` sent something wrong, `function` is tenant
 * code, `platform` is us or the machine.
 */
export type Fault = "caller" | "function" | "operator" | "platform";

export interface ErrorEntry {
  readonly status: number;
  readonly retryable: boolean;
  readonly fault: Fault;
  readonly meaning: string;
  readonly fix: string;
}

export function entry(
  status: number,
  retryable: boolean,
  fault: Fault,
  meaning: string,
  fix: string,
): ErrorEntry {
  return { status, retryable, fault, meaning, fix };
}
