/** The registry in workerd: the actor and the client that asks it. */
export { type RegistryClient, createRegistryClient, registryFile } from "./client.worker.ts";
export { Registry } from "./registry.worker.ts";
