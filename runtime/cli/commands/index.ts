/** The verbs of `isola`, in the order of its help. */
import type { Command } from "../command.ts";
import { benchCommand } from "./bench.ts";
import { cellsCommand } from "./cells.ts";
import { deployCommand } from "./deploy.ts";
import { describeCommand } from "./describe.ts";
import { devCommand } from "./dev.ts";
import { doctorCommand } from "./doctor.ts";
import { initCommand } from "./init.ts";
import { invokeCommand } from "./invoke.ts";
import { listCommand } from "./list.ts";
import { logsCommand } from "./logs.ts";
import { namespaceCommands } from "./namespace.ts";
import { promoteCommand } from "./promote.ts";
import { releaseCommand } from "./release.ts";
import { removeCommand } from "./remove.ts";
import { rollbackCommand } from "./rollback.ts";
import { schedulesCommand } from "./schedules.ts";
import { runCommands } from "./runs.ts";
import { secretCommands } from "./secret.ts";
import { startCommand } from "./start.ts";
import { statusCommand } from "./status.ts";
import { stopCommand } from "./stop.ts";
import { storeCommands } from "./store.ts";
import { tokenCommands } from "./token.ts";
import { usageCommand } from "./usage.ts";
import { versionsCommand } from "./versions.ts";

export const COMMANDS: readonly Command[] = [
  startCommand,
  devCommand,
  initCommand,
  deployCommand,
  listCommand,
  describeCommand,
  removeCommand,
  versionsCommand,
  rollbackCommand,
  promoteCommand,
  releaseCommand,
  invokeCommand,
  logsCommand,
  schedulesCommand,
  ...runCommands,
  ...storeCommands,
  ...secretCommands,
  ...namespaceCommands,
  ...tokenCommands,
  usageCommand,
  cellsCommand,
  statusCommand,
  stopCommand,
  doctorCommand,
  benchCommand,
];
