import { ContainerCreate, ContainerDelete, ContainerUpdate } from "../gen/containerd/events/container.ts";
import { ContentCreate, ContentDelete } from "../gen/containerd/events/content.ts";
import { ImageCreate, ImageDelete, ImageUpdate } from "../gen/containerd/events/image.ts";
import { NamespaceCreate, NamespaceDelete, NamespaceUpdate } from "../gen/containerd/events/namespace.ts";
import { SandboxCreate, SandboxExit, SandboxStart } from "../gen/containerd/events/sandbox.ts";
import { SnapshotCommit, SnapshotPrepare, SnapshotRemove } from "../gen/containerd/events/snapshot.ts";
import * as task from "../gen/containerd/events/task.ts";
import { StdioLost } from "../gen/troupe/v1/events.ts";
import { type JsonValue, jsonOf } from "./json-value.ts";

interface Decoder {
	decode(input: Uint8Array): unknown;
}

/** Every message that containerd or Troupe publishes, by the bare full name that its Any carries. Image events have their own package. */
const decoders = new Map<string, Decoder>([
	["containerd.events.ContainerCreate", ContainerCreate],
	["containerd.events.ContainerUpdate", ContainerUpdate],
	["containerd.events.ContainerDelete", ContainerDelete],
	["containerd.events.ContentCreate", ContentCreate],
	["containerd.events.ContentDelete", ContentDelete],
	["containerd.services.images.v1.ImageCreate", ImageCreate],
	["containerd.services.images.v1.ImageUpdate", ImageUpdate],
	["containerd.services.images.v1.ImageDelete", ImageDelete],
	["containerd.events.NamespaceCreate", NamespaceCreate],
	["containerd.events.NamespaceUpdate", NamespaceUpdate],
	["containerd.events.NamespaceDelete", NamespaceDelete],
	["containerd.events.SandboxCreate", SandboxCreate],
	["containerd.events.SandboxStart", SandboxStart],
	["containerd.events.SandboxExit", SandboxExit],
	["containerd.events.SnapshotPrepare", SnapshotPrepare],
	["containerd.events.SnapshotCommit", SnapshotCommit],
	["containerd.events.SnapshotRemove", SnapshotRemove],
	["containerd.events.TaskCreate", task.TaskCreate],
	["containerd.events.TaskStart", task.TaskStart],
	["containerd.events.TaskDelete", task.TaskDelete],
	["containerd.events.TaskExit", task.TaskExit],
	["containerd.events.TaskOOM", task.TaskOOM],
	["containerd.events.TaskExecAdded", task.TaskExecAdded],
	["containerd.events.TaskExecStarted", task.TaskExecStarted],
	["containerd.events.TaskPaused", task.TaskPaused],
	["containerd.events.TaskResumed", task.TaskResumed],
	["containerd.events.TaskCheckpointed", task.TaskCheckpointed],
	["troupe.v1.StdioLost", StdioLost],
]);

/** The payload of an event as JSON; undefined for a type that is not known, or bytes that are not the type. */
export function decodePayload(typeUrl: string, value: Uint8Array): JsonValue | undefined {
	const decoder = decoders.get(typeUrl.slice(typeUrl.lastIndexOf("/") + 1));
	if (decoder === undefined) return undefined;
	try {
		return jsonOf(decoder.decode(value));
	} catch {
		return undefined; // a publisher's mistake: its bytes are shown as they are
	}
}
