/**
 * s3rver as a program: `s3-server-program.ts <folder> <bucket>` writes its port as a line and ends
 * with its standard input. It runs with `--openssl-legacy-provider`, since its tokens for the next
 * page of a list are made with DES.
 */
import S3rver from "@20minutes/s3rver";

const [, , directory = "", name = ""] = process.argv;
const server = new S3rver({
  port: 0,
  address: "127.0.0.1",
  silent: true,
  directory,
  configureBuckets: [{ name }],
});
const { port } = await server.run();
console.log(port);
process.stdin.resume().once("end", () => process.exit(0));
