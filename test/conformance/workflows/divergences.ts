/**
 * Where Isola answers otherwise than the engine bundled with workerd, each with its reason. The
 * test holds both sides to what stands here.
 */
export interface Divergence {
  /** Part of what each answers. */
  readonly bundled: unknown;
  readonly isola: unknown;
  readonly reason: string;
}

const INVALID = 'Step config for "x" is in a invalid format';
const SEE = "See https://developers.cloudflare.com/workflows/build/sleeping-and-retrying/";

export const DIVERGENCES: Readonly<Record<string, Divergence>> = {
  unknownOption: {
    bundled: { output: ["WorkflowFatalError", `${INVALID}. ${SEE}`] },
    isola: {
      output: [
        "WorkflowFatalError",
        `${INVALID}: no option retry; known: retries, timeout, sensitive`,
      ],
    },
    reason: "the message names the option that is wrong, and those that there are",
  },
  zeroTimeout: {
    bundled: { output: ["WorkflowFatalError", `${INVALID}. ${SEE}`] },
    isola: { output: ["WorkflowFatalError", `${INVALID}: timeout: 0 is no time to run in`] },
    reason: "the message says what is wrong with which option",
  },
  unserialisable: {
    bundled: { status: "errored", error: { name: "DataCloneError" } },
    isola: { status: "errored", error: { name: "WorkflowFatalError" } },
    reason: "the documented error for results that cannot be kept, with the path of what cannot",
  },
  eventToEnded: {
    bundled: null,
    isola: [
      "WorkflowError",
      '(instance.cannot_sendEvent) Cannot sendEvent instance with status "complete"',
    ],
    reason: "an event that nobody can take any more is refused, not swallowed (G8)",
  },
  raceOfLongWaits: {
    bundled: { status: "waiting", isLate: true },
    isola: { status: "complete", output: "event" },
    reason: "there a wait of more than a minute ends the run in memory before the next one begins",
  },
};
