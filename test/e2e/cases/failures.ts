/** Functions that fail, and what their caller is told. */
import { expect } from "vitest";
import { pause } from "../../support/platform.ts";
import { until } from "../../support/until.ts";
import type { CaseGroup } from "./case.ts";

const BREAKS = `
  const later = (ms, run) => setTimeout(run, ms);
  const ways = {
    error: () => { throw new RangeError("secret detail"); },
    string: () => { throw "just a string"; },
    nothing: () => { throw undefined; },
    object: () => { throw { code: "CELL_LOST", status: 502 }; },
    forged: () => {
      throw Object.assign(new Error("x"), { code: "RATE_LIMITED", name: "IsolaError" });
    },
    hostile: () => {
      throw { get message() { throw new Error("again"); }, toString() { throw 1; } };
    },
    proxy: () => { throw new Proxy({}, { get() { throw new Error("trap"); } }); },
    huge: () => { throw new Error("m".repeat(1_000_000)); },
    unicode: () => { throw new Error("ünïcodé \\u0000 \\ud800 😀\\r\\nx-forged: 1"); },
    rejects: () => Promise.reject(new TypeError("rejected")),
    never: () => new Promise(() => {}),
    late: () => { later(20, () => { throw new Error("in a timer"); }); return "answered"; },
    orphan: () => { Promise.reject(new Error("nobody waits")); return "answered"; },
    stack: () => { const deep = () => deep() + 1; return deep(); },
    thenable: () => ({ then(resolve) { resolve("thenable"); resolve("twice"); } }),
    badThenable: () => ({ then() { throw new Error("in then"); } }),
    abort: () => { throw new DOMException("gone", "AbortError"); },
  };
  export default ({ way }) => ways[way]();`;

const BROKEN_HTTP = `
  export default {
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/throws") throw new Error("in fetch");
      if (pathname === "/undefined") return undefined;
      if (pathname === "/object") return { status: 200 };
      if (pathname === "/used") { const r = new Response("x"); await r.text(); return r; }
      if (pathname === "/twice") {
        const r = new Response("once");
        return Promise.resolve(r).finally(() => Promise.resolve(new Response("twice")));
      }
      if (pathname === "/error") return Response.error();
      return new Response("fine");
    },
  };`;

export const failureCases: CaseGroup = {
  topic: "functions that fail",
  prepare: async (platform) => {
    await platform.deploy("breaks", BREAKS, { timeoutMs: 1_500 });
    await platform.deploy("broken-http", BROKEN_HTTP);
  },
  cases: {
    "whatever is thrown is a FUNCTION_ERROR without its message": async (platform) => {
      const ways = ["error", "string", "nothing", "object", "forged", "hostile", "proxy", "huge"];
      for (const way of [...ways, "unicode", "rejects", "stack", "badThenable", "abort"]) {
        const answer = await platform.call(`breaks?way=${way}`);
        expect([way, answer.status, answer.code]).toEqual([way, 500, "FUNCTION_ERROR"]);
        expect(answer.headers["x-forged"]).toBeUndefined();
        const { error } = answer.json as { error: { message: string; callId: string } };
        expect(error.callId).toBe(answer.headers["x-call-id"]);
        expect(error.message).toContain("breaks");
        expect(error.message).toContain(error.callId);
        expect(answer.text).not.toMatch(/secret detail|just a string|rejected|main\.js/);
      }
    },

    "a platform token shows what was thrown": async (platform) => {
      const headers = { authorization: `Bearer ${platform.adminToken}` };
      const answer = await platform.call("breaks?way=error", { headers });
      expect(answer.json).toMatchObject({
        error: { detail: { name: "RangeError", message: "secret detail" } },
      });
      expect(answer.text).toMatch(/main\.js:\d+/);
      const text = await platform.call("breaks?way=string", { headers });
      expect(text.json).toMatchObject({ error: { detail: { message: "just a string" } } });
    },

    "the logs always show it": async (platform) => {
      const answer = await platform.call("breaks?way=error");
      const callId = answer.headers["x-call-id"];
      await pause(400);
      const lines = (await platform.client.logs({ function: "breaks" })).filter(
        (line) => line.callId === callId,
      );
      expect(lines.map(({ level }) => level)).toEqual(["error"]);
      expect(lines[0]?.text).toMatch(/RangeError: secret detail\n +at /);
      // Frames of the platform are none of the author's.
      expect(lines[0]?.text).not.toContain("isola-shim");
    },

    "a function that never answers is told so, at once or at its deadline": async (platform) => {
      const answer = await platform.call("breaks?way=never");
      expect(["TIMEOUT", "FUNCTION_ERROR"]).toContain(answer.code);
      const callId = answer.headers["x-call-id"];
      // What only the runtime knows of a call is in its logs.
      await until(async () => {
        const lines = await platform.client.logs({ function: "breaks" });
        const own = lines.filter((line) => line.callId === callId);
        return answer.code === "TIMEOUT" || own.some(({ text }) => text.includes("never answer"));
      });
      expect((await platform.call("breaks?way=thenable")).json).toBe("thenable");
    },

    "what fails beside the answer does not touch it, nor the next call": async (platform) => {
      for (const way of ["late", "orphan"]) {
        expect((await platform.call(`breaks?way=${way}`)).json).toBe("answered");
        await pause(50);
        expect((await platform.call(`breaks?way=${way}`)).json).toBe("answered");
      }
    },

    "an answer that is no Response is the function's fault": async (platform) => {
      for (const path of ["throws", "undefined", "object"]) {
        const answer = await platform.call(`broken-http/${path}`);
        const code = path === "throws" ? "FUNCTION_ERROR" : "RESULT_INVALID";
        expect([path, answer.status, answer.code]).toEqual([path, 500, code]);
      }
      for (const path of ["used", "error"]) {
        const answer = await platform.call(`broken-http/${path}`);
        expect([path, answer.status, answer.code]).toEqual([path, 500, "FUNCTION_ERROR"]);
      }
      expect((await platform.call("broken-http/twice")).text).toBe("once");
      expect((await platform.call("broken-http")).text).toBe("fine");
    },
  },
};
