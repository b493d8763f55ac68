/** Calls a function and prints its answer as it comes; a platform error or status ≥ 400 fails. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { type InvokeInit, type IsolaClient, errorOf } from "../../client/index.ts";
import { IsolaError } from "../../contract/index.ts";
import { type Command, type CommandContext, required } from "../command.ts";
import { readAll } from "../io.ts";

export const invokeCommand: Command = {
  name: "invoke",
  summary: "call a function",
  arguments: "<function> [-]",
  async run(context, name, dash) {
    const called = required(name, "function");
    const body = await readInput(context, dash);
    const headers = new Headers();
    for (const header of context.option("header")) {
      const colon = header.indexOf(":");
      headers.append(header.slice(0, colon).trim(), header.slice(colon + 1).trim());
    }
    const method = context.option("method") ?? (body === undefined ? "GET" : "POST");
    if (body !== undefined && ["GET", "HEAD"].includes(method.toUpperCase())) {
      throw new IsolaError("USAGE", {
        attempted: `call ${called}`,
        found: `input together with method ${method}`,
        required: "a method with a body, such as POST",
        fix: "leave --method out, or put the input into the query with --path '?name=value'",
      });
    }
    if (typeof body === "string" && !headers.has("content-type")) {
      headers.set("content-type", isJson(body) ? "application/json" : "text/plain");
    }
    const path = context.option("path");
    const init = {
      method,
      headers,
      path: path === "/" ? "" : path,
      ...(body === undefined ? {} : { body }),
    };
    if (!context.option("isAsync") && context.option("wait")) throw waitAlone(called);
    const client = context.client();
    const response = context.option("isAsync")
      ? await begin(context, client, called, init)
      : await client.invoke(called, init);
    if (response) await printResponse(context, called, response);
  },
};

/** Begins a run; its id is the result, or what came of it where that is waited for. */
async function begin(
  context: CommandContext,
  client: IsolaClient,
  name: string,
  init: InvokeInit,
): Promise<Response | undefined> {
  const begun = await client.invokeAsync(name, init);
  const id = begun.headers.get("x-run-id");
  if (id === null) return begun;
  await begun.body?.cancel();
  if (!context.option("wait")) {
    context.print(id);
    return undefined;
  }
  return context.progress(`waiting for run ${id}`, resultOf(client, id));
}

/** Asks until the run has ended, over restarts of the platform's parts. */
async function resultOf(client: IsolaClient, id: string): Promise<Response> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)) {
    const response = await client.result(id, { headers: { prefer: WAIT } });
    const code = response.headers.get("x-isola-error") ?? "";
    if (response.status !== 202 && !AWAY.has(code)) return response;
    await response.body?.cancel();
    await new Promise((resume) => setTimeout(resume, pauseMs));
  }
}

const FIRST_PAUSE_MS = 50;
const LAST_PAUSE_MS = 1_000;
/** How long one question may wait. */
const WAIT = "wait=20";
const AWAY: ReadonlySet<string> = new Set(["CELL_RESTARTING", "CELL_LOST"]);

function waitAlone(name: string): IsolaError {
  return new IsolaError("USAGE", {
    attempted: `call ${name}`,
    found: "--wait without --async",
    required: "--async --wait, or neither: a call waits for its answer",
  });
}

type Input = string | ReadableStream | Uint8Array<ArrayBuffer>;

async function readInput(context: CommandContext, dash: string | undefined) {
  const text = context.option("input");
  const file = context.option("dataFile");
  const given = [text !== undefined, file !== undefined, dash !== undefined].filter(Boolean);
  if (given.length > 1 || (dash !== undefined && dash !== "-")) {
    throw new IsolaError("USAGE", {
      attempted: "read the input",
      found: given.length > 1 ? "more than one input" : JSON.stringify(dash),
      required: "one of --data JSON, --data-file FILE, or - for standard input",
    });
  }
  if (text !== undefined) return text;
  if (dash !== undefined) return inputOf(await readAll(context.io.stdin));
  if (file === undefined) return undefined;
  const stats = await stat(file).catch(() => undefined);
  if (stats?.isFile() !== true) {
    throw new IsolaError("USAGE", {
      attempted: "read the input",
      found: `no file ${file}`,
      required: "a file that can be read",
      fix: "check --data-file",
    });
  }
  const isLarge = stats.size > 1024 * 1024;
  if (isLarge) return Readable.toWeb(createReadStream(file)) as unknown as ReadableStream;
  return inputOf(await readAll(createReadStream(file)));
}

/** Text where it is text, so that its type can be told; bytes otherwise. */
function inputOf(bytes: Buffer): Input {
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : new Uint8Array(bytes);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

async function printResponse(context: CommandContext, name: string, response: Response) {
  if (context.option("include")) {
    context.print(`${String(response.status)} ${response.statusText}`.trimEnd());
    for (const [header, value] of response.headers) context.print(`${header}: ${value}`);
    context.print("");
  }
  // The platform's own word: an error like any other, not the function's answer.
  if (response.headers.has("x-isola-error")) {
    throw await errorOf(response, `call function ${name}`, response.url);
  }
  let last = "\n";
  if (response.body !== null) {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      if (chunk.length > 0) last = String.fromCharCode(chunk.at(-1) ?? 10);
      if (!context.io.stdout.write(chunk)) {
        await new Promise((resume) => context.io.stdout.once("drain", resume));
      }
    }
  }
  // A terminal's next prompt gets a line of its own; a pipe gets the bytes as they are.
  if (context.io.stdout.isTTY === true && last !== "\n") context.print("");
  if (response.ok || (response.status >= 300 && response.status < 400)) return;
  throw new IsolaError("FUNCTION_ERROR", {
    attempted: `call function ${name}`,
    found: `status ${String(response.status)}`,
    required: "a status below 400",
    fix: "the answer above is the function's own",
  });
}
