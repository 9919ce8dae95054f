/** The events of /tasks/…, as containerd publishes them (api/events/task.proto, runtime/events.go). */
import {
	TaskCheckpointed,
	TaskCreate,
	TaskDelete,
	TaskExecAdded,
	TaskExecStarted,
	TaskExit,
	TaskOOM,
	TaskPaused,
	TaskResumed,
	TaskStart,
} from "../../src/gen/containerd/events/task.ts";
import type { Timestamp } from "../../src/gen/google/protobuf/timestamp.ts";
import { StdioLost } from "../../src/gen/troupe/v1/events.ts";
import { stageEvent } from "../../src/metadata/stage-event.ts";
import type { Transaction } from "../../src/metadata/store/store.ts";

const codecs = {
	"/tasks/create": ["containerd.events.TaskCreate", TaskCreate],
	"/tasks/start": ["containerd.events.TaskStart", TaskStart],
	"/tasks/exit": ["containerd.events.TaskExit", TaskExit],
	"/tasks/delete": ["containerd.events.TaskDelete", TaskDelete],
	"/tasks/oom": ["containerd.events.TaskOOM", TaskOOM],
	"/tasks/exec-added": ["containerd.events.TaskExecAdded", TaskExecAdded],
	"/tasks/exec-started": ["containerd.events.TaskExecStarted", TaskExecStarted],
	"/tasks/paused": ["containerd.events.TaskPaused", TaskPaused],
	"/tasks/resumed": ["containerd.events.TaskResumed", TaskResumed],
	"/tasks/checkpointed": ["containerd.events.TaskCheckpointed", TaskCheckpointed],
} as const;

export type TaskTopic = keyof typeof codecs;
type MessageOf<Topic extends TaskTopic> = ReturnType<(typeof codecs)[Topic][1]["fromPartial"]>;

/** Whether the task actors publish this topic themselves: what a shim says under it is taken, not passed on. */
export const isTaskTopic = (topic: string): topic is TaskTopic => Object.hasOwn(codecs, topic);

/** Publishes in the batch that makes the event true. Type URLs are bare names. */
export function publishTaskEvent<Topic extends TaskTopic>(
	transaction: Transaction,
	namespace: string,
	topic: Topic,
	event: Partial<MessageOf<Topic>>,
): void {
	const [typeUrl, generated] = codecs[topic];
	const codec = generated as unknown as {
		fromPartial(fields: unknown): MessageOf<Topic>;
		encode(message: MessageOf<Topic>): { finish(): Uint8Array };
	};
	stageEvent(transaction, namespace, topic, typeUrl, codec, codec.fromPartial(event));
}

/** Ours, not containerd's: its clients see it only where a shim's death has cost something, and pass over what they do not know. */
export const publishStdioLost = (transaction: Transaction, namespace: string, event: StdioLost): void =>
	stageEvent(transaction, namespace, "/troupe/stdio-lost", "troupe.v1.StdioLost", StdioLost, event);

const second = 1_000_000_000n;
export const timestampOf = (nanoseconds: bigint): Timestamp => ({
	seconds: nanoseconds / second,
	nanos: Number(nanoseconds % second),
});
export const nanosecondsOf = ({ seconds, nanos }: Timestamp): bigint => seconds * second + BigInt(nanos);
