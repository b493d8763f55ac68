/**
 * Runs in mount and network namespaces of its own, as root: a DNS server whose every second answer
 * is this machine, a web server that must not be reached, and the egress worker. Prints what
 * happened as JSON. Arguments: configuration file, rounds.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { workerdPath } from "../../runtime/host/internal.ts";

const [, , configFile = "", rounds = "20"] = process.argv;
const PUBLIC = [93, 184, 216, 34];
const PRIVATE = [127, 0, 0, 1];

const folder = mkdtempSync(join(tmpdir(), "isola-dns-"));
execFileSync("ip", ["link", "set", "lo", "up"]);
writeFileSync(join(folder, "resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
execFileSync("mount", ["--bind", join(folder, "resolv.conf"), "/etc/resolv.conf"]);

const given: string[] = [];
const dns = createSocket("udp4");
dns.on("message", (query, peer) => {
  const type = query.readUInt16BE(query.length - 4);
  // A answers turn about; AAAA has none, so the A answer counts.
  const address = given.length % 2 === 0 ? PUBLIC : PRIVATE;
  const answer = Buffer.from(query);
  answer.writeUInt16BE(0x8180, 2);
  const isA = query.includes(Buffer.from([0, 0, 1, 0, 1]));
  answer.writeUInt16BE(isA && type !== 28 ? 1 : 0, 6);
  if (isA) given.push(address.join("."));
  const record = Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address]);
  dns.send(isA ? Buffer.concat([answer, record]) : answer, peer.port, peer.address);
});
dns.bind(53, "127.0.0.1");
await once(dns, "listening");

let reached = 0;
const web = createServer((_, response) => {
  reached += 1;
  response.end("reached");
});
web.listen(8_099, "127.0.0.1");
await once(web, "listening");

const child: ChildProcess = spawn(workerdPath(), ["serve", configFile], {
  stdio: ["ignore", "ignore", "pipe"],
});
let said = "";
child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));

function ask(host: string): Promise<string> {
  const headers = { "x-isola-target": `http://${host}:8099/`, "x-isola-egress": '"public"' };
  return new Promise((resolve) => {
    const outgoing = request({ host: "127.0.0.1", port: 8_098, headers }, (incoming) => {
      incoming.resume();
      incoming.on("end", () => resolve(String(incoming.headers["x-isola-error"] ?? "passed")));
    });
    outgoing.setTimeout(2_000, () => outgoing.destroy());
    outgoing.on("error", () => resolve("none"));
    outgoing.end();
  });
}

await sleep(500);
const answers: string[] = [];
for (let round = 0; round < Number(rounds); round += 1) {
  answers.push(await ask(`name${String(round >> 1)}.rebind.example`));
}
child.kill("SIGKILL");
rmSync(folder, { recursive: true, force: true });
const refused = [...said.matchAll(/connecting to \S+ is not allowed/g)].length;
console.log(JSON.stringify({ answers, given, reached, refused }));
process.exit(0);
