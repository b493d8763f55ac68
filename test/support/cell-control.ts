/** What the host says to a cell, said by a test. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { Layout } from "../../runtime/host/internal.ts";
import { readAnswer } from "./http-calls.ts";
import type { TestPlatform } from "./platform.ts";

/** Asks the control socket of a cell. */
export async function askCell(
  platform: TestPlatform,
  slot: number,
  path: string,
  body?: unknown,
): Promise<unknown> {
  const socketPath = new Layout(platform.dataDir).cellControl(slot);
  const sent = request({ socketPath, path, method: body === undefined ? "GET" : "POST" });
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  return (await readAnswer(response)).json;
}
