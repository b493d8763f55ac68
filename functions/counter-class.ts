/**
 * A class with `fetch` and RPC methods. It counts within its isolate: an example of what a warm
 * isolate keeps, and nothing to rely on, since an isolate may leave at any time.
 */
import { WorkerEntrypoint } from "cloudflare:workers";

let total = 0;

export default class Counter extends WorkerEntrypoint {
  override fetch(request: Request): Response {
    if (request.method === "POST") total += 1;
    return Response.json({ total });
  }

  add(amount: number): number {
    if (!Number.isSafeInteger(amount)) throw new TypeError("amount must be an integer");
    total += amount;
    return total;
  }

  read(): number {
    return total;
  }
}
