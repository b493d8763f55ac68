/** The host form of the platform: start and stop, and what this system can do for it. */
export type { BucketOptions } from "./cold-process.ts";
export { runDoctor } from "./doctor.ts";
export { startPlatform, type Platform, type PlatformOptions } from "./platform.ts";
export type { PlatformEvent } from "./surroundings.ts";
