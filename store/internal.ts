/** What tests of the store's parts may see. */
export { Bulk } from "./bulk.ts";
export { SortedKeys } from "./sorted-keys.ts";
export { Wheel } from "./wheel.ts";
export { Meter } from "./meter.ts";
export { sameStored } from "./same-value.ts";
