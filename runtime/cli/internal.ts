/** What tests reach of this room. */
export { bundleFunction } from "./bundle.ts";
export { codeFrame } from "./build-error.ts";
export { COMMANDS } from "./commands/index.ts";
export { parseConfigFile } from "./config-file.ts";
export { findFunctions } from "./functions-folder.ts";
export type { Io } from "./io.ts";
export { nodeFetch } from "./node-fetch.ts";
export { showProgress } from "./render/progress.ts";
export { optionsList, runProgram } from "./program.ts";
export { exitStatusOf, renderError } from "./render/errors.ts";
export { logText } from "./render/log-lines.ts";
export { bytes, span, table } from "./render/text.ts";
export { SourceMaps } from "./source-maps.ts";
