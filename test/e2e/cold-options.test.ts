/** The bucket of the cold tier as the command line takes it, and what doctor says of it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isola } from "../support/isola-command.ts";
import { BUCKET, CREDENTIALS, type S3Server, startS3Server } from "../support/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const SECRET = "not-the-secret";

let s3: S3Server;
beforeAll(async () => {
  s3 = await startS3Server();
});
afterAll(() => s3.stop());

const environment = (changes: Readonly<Record<string, string>> = {}) => ({
  ISOLA_S3_ENDPOINT: s3.url,
  ISOLA_S3_BUCKET: BUCKET,
  ISOLA_S3_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
  ISOLA_S3_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
  ...changes,
});

interface Item {
  readonly name: string;
  readonly ok: boolean;
  readonly found: string;
}

async function doctorSays(env: Readonly<Record<string, string>>): Promise<Item | undefined> {
  const cwd = temporaryFolder();
  const { status, stdout, stderr } = await isola(["doctor", "--json"], { cwd, env });
  expect(status, stderr).toBe(0);
  expect(stdout + stderr).not.toContain(SECRET);
  const { items } = JSON.parse(stdout) as { readonly items: readonly Item[] };
  return items.find(({ name }) => name === "cold tier");
}

describe("isola doctor", () => {
  it("says that no bucket is configured, and that one can be used", async () => {
    expect(await doctorSays({})).toMatchObject({ ok: true, found: "none configured" });
    expect(await doctorSays(environment())).toMatchObject({
      ok: true,
      found: `${s3.url}, bucket ${BUCKET}: can be used`,
    });
    expect(s3.keys()).toEqual([]);
  });

  it("says what a bucket refuses, without the secret", async () => {
    const env = environment({ ISOLA_S3_SECRET_ACCESS_KEY: SECRET });
    const wrong = await doctorSays(env);
    expect(wrong).toMatchObject({ ok: false });
    expect(wrong?.found).toContain("write: 403 SignatureDoesNotMatch");
    const missing = await doctorSays(environment({ ISOLA_S3_BUCKET: "nowhere" }));
    expect(missing?.found).toContain("write: 404 NoSuchBucket");
    await s3.goDown();
    const away = await doctorSays(environment());
    await s3.comeBack();
    expect(away?.found).toContain("write: connect ECONNREFUSED");
  });
});

describe("the options of the bucket", () => {
  it.each([
    [{ ISOLA_S3_SECRET_ACCESS_KEY: "" }, "no secretAccessKey"],
    [{ ISOLA_S3_BUCKET: "", ISOLA_S3_ACCESS_KEY_ID: "" }, "no bucket, no accessKeyId"],
    [{ ISOLA_S3_ENDPOINT: "ftp://x" }, "an http or https address"],
    [{ ISOLA_S3_ENDPOINT: "http://user:word@host" }, "without credentials"],
    [{ ISOLA_S3_BUCKET: "../other" }, "a bucket's name"],
    [{ ISOLA_S3_PREFIX: "a b" }, "letters, digits"],
  ])("are refused before anything starts: %j", async (changes, said) => {
    const env = environment(changes);
    const { status, stderr } = await isola(["start"], { cwd: temporaryFolder(), env });
    expect(status).toBe(2);
    expect(stderr).toContain(said);
    expect(stderr).not.toContain(CREDENTIALS.secretAccessKey);
  });

  it("know no flag for credentials", async () => {
    const flag = ["--s3-secret-access-key", SECRET];
    const { status, stderr } = await isola(["start", ...flag], { cwd: temporaryFolder() });
    expect(status).toBe(2);
    expect(stderr).toContain("unknown option");
  });
});
