/** One transition: the state that it changes, and the effects that it gathers. */
import type { Effect, HistoryEntry, RunEvent, RunState } from "./model.ts";

export class Turn {
  readonly state: RunState;
  effects: Effect[] = [];
  atMs = 0;
  random = 0;

  constructor(state: RunState) {
    this.state = state;
  }

  begin({ atMs, random }: RunEvent): void {
    this.effects = [];
    this.atMs = atMs;
    this.random = random;
  }

  emit(effect: Effect): void {
    this.effects.push(effect);
  }

  note(entry: Omit<HistoryEntry, "atMs">): void {
    this.effects.push({ do: "history", entry: { atMs: this.atMs, ...entry } });
  }

  /** Nothing new starts: the run is paused, ends, or has ended. */
  get isHeld(): boolean {
    const { pausedAtMs, ending, ended } = this.state;
    return pausedAtMs !== undefined || ending !== undefined || ended !== undefined;
  }
}
