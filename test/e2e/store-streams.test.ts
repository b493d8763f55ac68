/** Bodies of objects: large, broken off, announced wrongly, and random ones (issue's bad input). */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Layout, processTree } from "../../runtime/host/internal.ts";
