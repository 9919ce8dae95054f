import type { TaskFact } from "../../machines/task-messages.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import { TaskExit, TaskOOM } from "../../src/gen/containerd/events/task.ts";
import type { Envelope } from "../../src/gen/containerd/types/event.ts";
import { isTaskTopic, nanosecondsOf } from "../task/task-events.ts";
import type { ProcessIdentity, TaskIdentity } from "./tasks.ts";

type ExitFact = Extract<TaskFact, { type: "process.exited" }>;
type OomFact = Extract<TaskFact, { type: "process.oomed" }>;
/** The part of an actor's reference that facts need. */
interface Receiver<Fact> {
	tell(fact: Fact): Promise<void>;
}

/** Finds the actors that facts are for. */
export interface FactReceivers {
	task(task: TaskIdentity): Receiver<ExitFact | OomFact> | undefined;
	process(process: ProcessIdentity): Receiver<ExitFact> | undefined;
}

/**
 * Takes an event that a shim has forwarded. Resolves with true when what it causes is durable: the acknowledgement, after
 * which the shim forgets it. Rejects when it was not taken, so that the shim repeats it. Resolves with false for what is not
 * about tasks. Of a task's events only exits and OOMs are news: the others the task's actor publishes itself, when the shim
 * answers, so that nobody hears them twice.
 */
export async function takeFact(envelope: Envelope, receivers: FactReceivers): Promise<boolean> {
	const { topic, namespace, event, timestamp } = envelope;
	if (!isTaskTopic(topic)) return false;
	const value = event?.value ?? new Uint8Array();
	if (topic === "/tasks/exit") {
		const { containerId, id, pid, exitStatus, exitedAt, unknown } = decode(TaskExit, value, topic);
		const at = exitedAt ?? timestamp ?? { seconds: 0n, nanos: 0 };
		const exit = { type: "process.exited" as const, pid, exitStatus, exitedAt: nanosecondsOf(at), unknown };
		const container = { namespace, id: containerId };
		const process = receivers.process({ ...container, execId: id });
		const init = id === containerId ? receivers.task(container) : undefined;
		// An exec may have its container's id: the pid tells whose exit it is.
		await Promise.all([tell(process, exit), tell(init, exit)]);
	} else if (topic === "/tasks/oom") {
		const { containerId } = decode(TaskOOM, value, topic);
		const at = timestamp === undefined ? 0n : nanosecondsOf(timestamp);
		await tell(receivers.task({ namespace, id: containerId }), { type: "process.oomed", at });
	}
	return true;
}

/** What nobody here knows (any more) is acknowledged: it was told, or its creation was never answered. */
async function tell<Fact>(receiver: Receiver<Fact> | undefined, fact: Fact): Promise<void> {
	try {
		await receiver?.tell(fact);
	} catch (reason) {
		if (reason instanceof DaemonError && reason.code === "NotFound") return;
		throw reason;
	}
}

function decode<T>(codec: { decode(input: Uint8Array): T }, value: Uint8Array, topic: string): T {
	try {
		return codec.decode(value);
	} catch (reason) {
		throw DaemonError.from(reason, { kind: "event", id: topic }, "InvalidArgument");
	}
}
