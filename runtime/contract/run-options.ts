/** Options of `isola runs` and of asynchronous calls, for the table in `options.ts`. */
import { GRAPH_FORMATS, RUN_STATUSES } from "./run-admin.ts";

export const RUN_VERBS = [
  "runs list",
  "runs show",
  "runs history",
  "runs watch",
  "runs graph",
  "runs pause",
  "runs resume",
  "runs terminate",
  "runs restart",
  "runs send-event",
  "runs replay",
];

/** `latest`, or `function=version`. */
const VERSION = /^(latest|[a-z0-9-]{1,63}=(latest|[1-9]\d{0,9}))$/;

export const RUN_OPTIONS = {
  ofFunction: {
    type: "text",
    value: "name",
    flag: "function",
    help: "only runs of this function",
    commands: ["runs list"],
  },
  runStatus: {
    type: "choice",
    flag: "status",
    choices: RUN_STATUSES,
    help: "only runs in this status",
    commands: ["runs list"],
  },
  deadLetters: {
    type: "switch",
    help: "only runs that failed and that nobody has replayed",
    commands: ["runs list"],
  },
  replayKey: {
    type: "text",
    flag: "key",
    value: "text",
    help: "a repeat under the same key is the same run",
    commands: ["runs replay"],
  },
  format: {
    type: "choice",
    choices: GRAPH_FORMATS,
    default: "mermaid",
    help: "form of the graph",
    commands: ["runs graph"],
  },
  definitionInput: {
    type: "text",
    flag: "input",
    value: "json",
    help: "of a workflow: the input that its graph may depend on",
    commands: ["runs graph"],
  },
  rollback: {
    type: "switch",
    help: "undo what was done, too",
    commands: ["runs terminate"],
  },
  from: {
    type: "text",
    value: "step",
    defaultText: "a new run with the same input",
    help: "step from which the run itself goes on; failed = where it stopped",
    commands: ["runs restart"],
  },
  versions: {
    type: "list",
    flag: "version",
    value: "latest|function=version",
    pattern: VERSION,
    form: "latest, or function=version",
    help: "versions with which it goes on; repeatable",
    commands: ["runs restart"],
  },
  payload: {
    type: "text",
    value: "json",
    help: "what the event carries",
    commands: ["runs send-event"],
  },
  eventId: {
    type: "text",
    flag: "id",
    value: "id",
    help: "an event of the same id is taken once",
    commands: ["runs send-event"],
  },
  isAsync: {
    type: "switch",
    flag: "async",
    help: "begin a run and print its id",
    commands: ["invoke"],
  },
  wait: {
    type: "switch",
    help: "with --async: wait for the run's end and print its result",
    commands: ["invoke"],
  },
} as const;
