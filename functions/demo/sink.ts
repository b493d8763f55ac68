/**
 * The sink of the film pipeline, a program of its own: SQLite behind HTTP. `sink.ts <file> <port>`
 * prints its port, then a line for each batch that arrives; it ends with its standard input, and
 * may be killed and started again over the same file.
 *
 * A batch is one transaction, known by its key: what arrives again changes nothing but a count. A
 * film is known by title and day; of two the one with more votes stays.
 */
import { once } from "node:events";
import { type IncomingMessage, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { json } from "node:stream/consumers";
import type { GroupRow, Movie, Rejection } from "../etl/records.ts";

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS batches (key TEXT PRIMARY KEY, arrivals INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS films (id TEXT PRIMARY KEY, title TEXT NOT NULL,
    releasedOn TEXT NOT NULL, genre TEXT NOT NULL, budgetUsd INTEGER NOT NULL,
    grossUsd INTEGER NOT NULL, imdb REAL, imdbVotes INTEGER NOT NULL, tomatoes REAL,
    loads INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS rejects (position INTEGER PRIMARY KEY, title TEXT NOT NULL,
    reasons TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS groups (kind TEXT, name TEXT, films INTEGER NOT NULL,
    returnRatio REAL NOT NULL, imdbMean REAL, PRIMARY KEY (kind, name)) STRICT`;
const ARRIVED = `INSERT INTO batches VALUES (?, 1)
  ON CONFLICT DO UPDATE SET arrivals = arrivals + 1 RETURNING arrivals`;
const FILM = `INSERT INTO films VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
  ON CONFLICT DO UPDATE SET loads = loads + 1, imdbVotes = max(imdbVotes, excluded.imdbVotes),
  imdb = CASE WHEN excluded.imdbVotes > imdbVotes THEN excluded.imdb ELSE imdb END`;
const REJECT = "INSERT OR REPLACE INTO rejects VALUES (?, ?, ?)";
const GROUP = "INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?, ?)";
const ACCOUNT = `SELECT
  (SELECT count(*) FROM batches) AS batches, (SELECT sum(arrivals) FROM batches) AS arrivals,
  (SELECT count(*) FROM rejects) AS rejects, (SELECT count(*) FROM groups) AS groups,
  count(*) AS films, coalesce(sum(loads), 0) AS loads, coalesce(sum(grossUsd), 0) AS grossUsd
  FROM films`;
const BEST = `SELECT name, returnRatio FROM groups
  WHERE kind = 'genre' AND films >= 30 ORDER BY returnRatio DESC LIMIT 3`;

interface BatchBody {
  readonly films: readonly Movie[];
  readonly rejected: readonly Rejection[];
}

class Sink {
  readonly #database: DatabaseSync;

  constructor(file: string) {
    this.#database = new DatabaseSync(file);
    this.#database.exec(SCHEMA);
  }

  /** Answers by method and path; undefined: there is nothing. */
  async answer(request: IncomingMessage): Promise<unknown> {
    const { method, url = "" } = request;
    const key = /^\/batches\/(\w+)$/.exec(url)?.[1];
    if (method === "GET" && url === "/account") return this.#account();
    if (method !== "PUT") return undefined;
    if (key !== undefined) return this.#batch(key, (await json(request)) as BatchBody);
    return url === "/groups" ? this.#groups((await json(request)) as GroupRow[]) : undefined;
  }

  #batch(key: string, { films, rejected }: BatchBody): unknown {
    const isNew = this.#atOnce(() => {
      const { arrivals } = this.#database.prepare(ARRIVED).get(key) as { arrivals: number };
      if (arrivals > 1) return false;
      const film = this.#database.prepare(FILM);
      for (const { id, title, releasedOn, genre, ...rest } of films) {
        const { budgetUsd, grossUsd, imdb, imdbVotes, tomatoes } = rest;
        const votes = imdbVotes ?? 0;
        film.run(id, title, releasedOn, genre, budgetUsd, grossUsd, imdb, votes, tomatoes);
      }
      const reject = this.#database.prepare(REJECT);
      for (const { position, title, reasons } of rejected) {
        reject.run(position, title, reasons.join(" "));
      }
      return true;
    });
    console.log(`batch ${key} ${isNew ? "new" : "known"}`);
    return { isNew };
  }

  #groups(rows: readonly GroupRow[]): unknown {
    return this.#atOnce(() => {
      const group = this.#database.prepare(GROUP);
      for (const { kind, name, films, returnRatio, imdbMean } of rows) {
        group.run(kind, name, films, returnRatio, imdbMean);
      }
      return { groups: rows.length };
    });
  }

  #account(): unknown {
    const best = this.#database.prepare(BEST).all();
    return { ...this.#database.prepare(ACCOUNT).get(), best };
  }

  #atOnce<T>(work: () => T): T {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const made = work();
      this.#database.exec("COMMIT");
      return made;
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}

const [, , file = ":memory:", port = "0"] = process.argv;
const sink = new Sink(file);
const server = createServer((request, response) => {
  sink.answer(request).then(
    (body) => {
      response.writeHead(body === undefined ? 404 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(body ?? null));
    },
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
});
server.listen(Number(port), "127.0.0.1");
await once(server, "listening");
console.log(`port ${String((server.address() as AddressInfo).port)}`);
process.stdin.resume().once("end", () => process.exit(0));
