/** The text of a bundled program; the build makes it (runtime/host/worker-bundle.ts). */
declare module "*?bundle" {
  const code: string;
  export default code;
}
