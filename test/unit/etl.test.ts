/** The film pipeline over the whole real dataset, step by step, with its exact counts. */
import { readFileSync } from "node:fs";
import { array, assert, asyncProperty, integer, jsonValue } from "fast-check";
import { describe, expect, it } from "vitest";
import { addUp, aggregate, groupRows } from "../../functions/etl/aggregate.ts";
import { clean } from "../../functions/etl/clean.ts";
import { cutRecords } from "../../functions/etl/source.ts";
import { factsOf } from "../../functions/etl/survey.ts";
import { validate } from "../../functions/etl/validate.ts";
import type { Batch, Movie, RawMovie, Reason } from "../../functions/etl/records.ts";

const source = readFileSync("node_modules/vega-datasets/data/movies.json", "utf8");
const batches = await batchesOf(new TextEncoder().encode(source));
const facts = factsOf(batches.flatMap(({ records }) => records));
const validated = batches.map((batch) => validate(batch));
const cleaned = validated.map(({ accepted }) => clean(accepted, facts));
const movies = cleaned.flatMap((part) => part.movies);
const partials = cleaned.map((part) => aggregate(part.movies));
const groups = groupRows(addUp(partials));

async function batchesOf(bytes: Uint8Array): Promise<Batch[]> {
  const found: Batch[] = [];
  for (let nextByte = 0, offset = 0, isEnd = false; !isEnd;) {
    const part = await cutRecords(inChunks(bytes.subarray(nextByte), [65_536]), nextByte, 500);
    const records = part.records as readonly RawMovie[];
    if (records.length > 0) found.push({ offset, records });
    offset += records.length;
    ({ nextByte, isEnd } = part);
  }
  return found;
}

const cut = (text: string) => cutRecords(inChunks(new TextEncoder().encode(text), [3]), 0, 10);

/** A stream of chunks of these sizes, over and over. */
function inChunks(bytes: Uint8Array, sizes: readonly number[]): ReadableStream<Uint8Array> {
  let [at, turn] = [0, 0];
  return new ReadableStream({
    pull(controller) {
      const end = at + (sizes[turn % sizes.length] ?? 1);
      if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.slice(at, end));
      [at, turn] = [end, turn + 1];
    },
  });
}

const countBy = (names: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
};

const film: RawMovie = {
  Title: "Film",
  "US Gross": 1,
  "Worldwide Gross": 2,
  "Production Budget": 3,
  "Release Date": "Feb 29 2000",
  "IMDB Rating": 5.5,
  "IMDB Votes": 100,
};

const reasonsFor = (change: Readonly<Record<string, unknown>>): readonly Reason[] => {
  const batch = { offset: 0, records: [{ ...film, ...change }] };
  return validate(batch).rejected.flatMap(({ reasons }) => reasons);
};

const cleanOne = (change: Readonly<Record<string, unknown>>): Movie | undefined =>
  clean([{ ...film, ...change }], facts).movies[0];

describe("a batch cut from a stream", () => {
  it("goes on behind the one before, and keeps every record", () => {
    expect(batches.map(({ records }) => records.length)).toEqual([
      500, 500, 500, 500, 500, 500, 201,
    ]);
    expect(batches.at(-1)?.offset).toBe(3000);
    expect(batches.flatMap(({ records }) => records)).toEqual(JSON.parse(source));
  });

  it("is the same wherever the stream is cut, and whatever the records are", async () => {
    const anything = array(jsonValue(), { maxLength: 8 });
    const sizes = array(integer({ min: 1, max: 9 }), { minLength: 1 });
    await assert(
      asyncProperty(anything, sizes, integer({ min: 1, max: 9 }), async (records, by, max) => {
        const bytes = new TextEncoder().encode(JSON.stringify(records, null, by[0]));
        const found: unknown[] = [];
        for (let nextByte = 0, isEnd = false; !isEnd;) {
          const part = await cutRecords(inChunks(bytes.subarray(nextByte), by), nextByte, max);
          expect(part.records.length).toBeLessThanOrEqual(max);
          found.push(...part.records);
          ({ nextByte, isEnd } = part);
        }
        expect(found).toEqual(JSON.parse(JSON.stringify(records)));
      }),
    );
  });

  it("is refused of what is no list of records, or ends in the middle", async () => {
    await expect(cut('{"a":1}')).rejects.toThrow(/array of records/);
    await expect(cut("[1,,2]")).rejects.toThrow(SyntaxError);
    await expect(cut('[{"a":1},{"b"')).rejects.toThrow(/ends after 9 bytes/);
  });
});

describe("the survey", () => {
  it("finds the ratings that films of similar titles share", () => {
    expect(facts.sharedRatings).toHaveLength(30);
    expect(facts.sharedRatings).toContain("7.6/132720");
    // Hitman and Taxman: the same numbers by chance.
    expect(facts.sharedRatings).not.toContain("6.8/520");
  });
});

describe("validate", () => {
  it("rejects 187 of the 3,201 films, each with its reasons", () => {
    const rejected = validated.flatMap((part) => part.rejected);
    expect(rejected).toHaveLength(187);
    expect(countBy(rejected.flatMap(({ reasons }) => reasons))).toEqual({
      "title-missing": 1,
      "budget-unknown": 1,
      "gross-unknown": 54,
      "rating-missing": 152,
    });
  });

  it("names the place in the source", () => {
    const rejected = validated.flatMap((part) => part.rejected);
    expect(rejected.find(({ position }) => position === 1271)).toEqual({
      position: 1271,
      title: "Baby Mama",
      reasons: ["budget-unknown"],
    });
  });

  it("accepts a whole record, also with a number as title", () => {
    expect(reasonsFor({})).toEqual([]);
    expect(reasonsFor({ Title: 1941 })).toEqual([]);
  });

  it.each<[Readonly<Record<string, unknown>>, Reason]>([
    [{ Title: "  " }, "title-missing"],
    [{ "Release Date": "Feb 29 1999" }, "date-invalid"],
    [{ "Release Date": "Feb 30 2000" }, "date-invalid"],
    [{ "Release Date": "1998-06-12" }, "date-invalid"],
    [{ "Release Date": "Jan 00 1998" }, "date-invalid"],
    [{ "Production Budget": "3" }, "budget-unknown"],
    [{ "Worldwide Gross": -1 }, "gross-unknown"],
    [{ "IMDB Rating": null }, "rating-missing"],
    [{ "IMDB Rating": 10.1 }, "rating-out-of-range"],
    [{ "Rotten Tomatoes Rating": "80" }, "rating-out-of-range"],
  ])("rejects %j as %s", (change, reason) => {
    expect(reasonsFor(change)).toEqual([reason]);
  });

  it("rejects what is no record at all", () => {
    const batch = { offset: 7, records: [null, 3, []] as unknown as readonly RawMovie[] };
    const { rejected } = validate(batch);
    expect(rejected.map(({ position }) => position)).toEqual([7, 8, 9]);
    expect(rejected.every(({ reasons }) => reasons[0] === "not-a-record")).toBe(true);
  });
});

describe("clean", () => {
  it("notes every change it makes", () => {
    const kinds = cleaned.flatMap((part) => part.corrections.map(({ kind }) => kind));
    expect(countBy(kinds)).toEqual({
      "title-number": 8,
      "title-encoding": 18,
      "title-article": 1,
      "title-spaces": 2,
      "year-in-future": 15,
      "us-gross-zero": 16,
      "rating-shared": 57,
      "genre-missing": 231,
      "mpaa-missing": 549,
      "director-quotes": 1,
    });
  });

  it("brings back years that were expanded to the future", () => {
    expect(movies.every(({ releasedOn }) => releasedOn < "2012")).toBe(true);
    expect(movies.find(({ title }) => title === "Gone with the Wind")?.releasedOn).toBe(
      "1939-12-15",
    );
  });

  it.each([
    ["LÈon", "Léon"],
    ["The Naked Gun 2Ω: The Smell of Fear", "The Naked Gun 2½: The Smell of Fear"],
    ["I Love You Ö Don't Touch Me!", "I Love You … Don't Touch Me!"],
    ["Alien³", "Alien³"],
    ["Ri¢hie Ri¢h", "Ri¢hie Ri¢h"],
    ["Barbarians, The", "The Barbarians"],
    ["Halloween:  The Curse", "Halloween: The Curse"],
    [1941, "1941"],
  ])("writes the title %j as %j", (before, after) => {
    expect(cleanOne({ Title: before })?.title).toBe(after);
  });

  it("withholds a rating that two films share, rather than guess whose it is", () => {
    const remakes = movies.filter(({ title }) => title === "King Kong");
    expect(remakes.map(({ imdb, imdbVotes }) => [imdb, imdbVotes])).toEqual([
      [null, null],
      [null, null],
    ]);
  });

  it("writes an unknown amount as null, never as 0", () => {
    expect(cleanOne({ "US Gross": 0 })?.usGrossUsd).toBeNull();
    expect(cleanOne({})?.runningMinutes).toBeNull();
  });
});

describe("aggregate", () => {
  it("keeps 3,014 films under as many keys", () => {
    expect(movies).toHaveLength(3014);
    expect(new Set(movies.map(({ id }) => id)).size).toBe(3014);
  });

  it("counts every film once by genre and once by decade", () => {
    const total = (kind: string): number =>
      groups
        .filter((row) => row.kind === kind)
        .map(({ films }) => films)
        .reduce((sum, films) => sum + films, 0);
    expect([total("genre"), total("decade")]).toEqual([3014, 3014]);
    expect(groups).toHaveLength(24);
    expect(groups.find(({ name }) => name === "western")).toEqual({
      kind: "genre",
      name: "western",
      films: 35,
      budgetUsd: 904_016_946,
      grossUsd: 1_300_464_151,
      returnRatio: 1.44,
      imdbMean: 69,
      tomatoesMean: 65,
    });
  });

  it("adds the sums of batches up to those of the whole, in any order", () => {
    expect(groupRows(addUp(partials.toReversed()))).toEqual(groupRows(aggregate(movies)));
  });
});
