/**
 * A ledger of its own process: what was done outside, kept in SQLite, so that nothing that dies
 * forgets it. `POST /<step>` with an Idempotency-Key notes an effect, once for a key, and answers
 * how often the key came; `GET /` answers all of it.
 */
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";

const [file = ":memory:"] = process.argv.slice(2);
const database = new DatabaseSync(file);
database.exec(`CREATE TABLE effects (
  key TEXT PRIMARY KEY, step TEXT NOT NULL, tries INTEGER NOT NULL
) WITHOUT ROWID`);
const note = database.prepare(
  `INSERT INTO effects (key, step, tries) VALUES (?, ?, 1)
   ON CONFLICT (key) DO UPDATE SET tries = tries + 1 RETURNING tries`,
);
const all = database.prepare("SELECT key, step, tries FROM effects ORDER BY key");

const server = createServer((request, response) => {
  request.resume();
  const key = request.headers["idempotency-key"];
  const answer =
    request.method === "POST" && typeof key === "string"
      ? note.get(key, (request.url ?? "").slice(1))
      : all.all();
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(answer));
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`${String(typeof address === "object" ? address?.port : "")}\n`);
});
