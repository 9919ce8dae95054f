import { TaskDefinition as TaskV2Definition } from "../../src/gen/containerd/runtime/task/v2/shim.ts";
import { TaskDefinition } from "../../src/gen/containerd/runtime/task/v3/shim.ts";
import { ShardDefinition } from "../../src/gen/troupe/shim/v1/shim.ts";
import type { ServiceClient } from "../../src/ttrpc/client.ts";
import type { ServiceDefinition } from "../../src/ttrpc/service.ts";

/** The task API of a shim; versions 2 and 3 differ in the service's name only. */
export type TaskClient = ServiceClient<typeof TaskDefinition>;
export type ShardClient = ServiceClient<typeof ShardDefinition>;

/** What a connection must offer; src/ttrpc's client does. */
export interface ShimClient {
	service<const D extends ServiceDefinition>(definition: D): ServiceClient<D>;
	readonly closed: Promise<void>;
	close(): void;
}

/** Calls to one shim, as long as it is connected. */
export interface ShimConnection {
	readonly task: TaskClient;
	/** Troupe's own part; a foreign shim answers Unimplemented. */
	readonly shard: ShardClient;
	close(): void;
}

/** `version` is the task API's that the shim told at its start: 2 or 3. */
export const shimConnection = (client: ShimClient, version: number): ShimConnection => ({
	task: client.service(version >= 3 ? TaskDefinition : { ...TaskDefinition, fullName: TaskV2Definition.fullName }),
	shard: client.service(ShardDefinition),
	close: () => client.close(),
});
