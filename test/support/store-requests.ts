/** Requests to the store as they are on the wire. */
import { type Answer, type CallInit, HttpCaller } from "./http-calls.ts";
import type { TestPlatform } from "./platform.ts";

export interface StoreHttp {
  /** @param path below the namespace's `store/`. */
  ask(method: string, path: string, init?: StoreAsk): Promise<Answer>;
  /** A new job; answers its id. */
  job(options?: object): Promise<string>;
  /** Open connections end. */
  close(): void;
}

export interface StoreAsk extends CallInit {
  readonly token?: string;
}

export function storeHttp(platform: TestPlatform, namespace = "default"): StoreHttp {
  const http = new HttpCaller(platform.adminUrl);
  const ask: StoreHttp["ask"] = async (method, path, init = {}) => {
    const { token = platform.adminToken, headers, ...rest } = init;
    return http.call(`/v1/namespaces/${namespace}/store/${path}`, {
      ...rest,
      method,
      headers: { authorization: `Bearer ${token}`, ...headers },
    });
  };
  return {
    ask,
    job: async (options = {}) => {
      const answer = await ask("POST", "jobs", { json: { name: "test", ...options } });
      if (answer.status !== 201) throw new Error(answer.text);
      return (answer.json as { readonly jobId: string }).jobId;
    },
    close: () => http.close(),
  };
}

/** Path of an object in the default bucket. */
export function objectPath(job: string, key: string, query = ""): string {
  return `jobs/${job}/buckets/default/objects/${encodeURIComponent(key)}${query}`;
}
