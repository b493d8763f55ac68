import type { ScopeCallOptions } from "../contract/index.ts";

/** A call between functions as the calling isolate asks for it; nothing in it is trusted. */
export interface SubCallRequest {
  readonly name: string;
  readonly input: unknown;
  readonly options: ScopeCallOptions;
}
