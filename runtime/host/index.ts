/** The host form of the platform: start and stop, and what this system can do. */
export { startPlatform, type Platform, type PlatformOptions } from "./platform.ts";
export type { PlatformEvent } from "./surroundings.ts";
