import { DaemonError } from "../../errors/daemon-error.ts";
import { ContainersDefinition } from "../../gen/containerd/services/containers/v1/containers.ts";
import { TasksDefinition } from "../../gen/containerd/services/tasks/v1/tasks.ts";
import { type ActorNode, actorNode, actorTree, journalledTransitions, stateText } from "../actor-node.ts";
import { withDaemon } from "../daemon-connection.ts";
import { failure } from "../failure.ts";
import { age, milliseconds } from "../human.ts";
import { print } from "../table.ts";
import type { Target } from "../target.ts";
import { statusText } from "../task-status.ts";

/** `troupe inspect`: a container, its task, its spec, and what its actor does and waits for. */
export async function inspect(target: Target, id: string): Promise<void> {
	const [{ container }, task] = await withDaemon(target, (daemon) =>
		Promise.all([
			daemon.service(ContainersDefinition).get({ id }),
			daemon
				.service(TasksDefinition)
				.get({ containerId: id })
				.then(({ process }) => process)
				.catch((error: unknown) => {
					if (error instanceof DaemonError && error.code === "NotFound") return undefined;
					throw error;
				}),
		]),
	);
	const actor = await actorOf(target, id);
	const spec = container?.spec === undefined ? undefined : JSON.parse(Buffer.from(container.spec.value).toString());
	print(target.output, { container: { ...container, spec }, task, actor }, () => {
		const created = milliseconds(container?.createdAt);
		return [
			`Container  ${id} in namespace ${target.namespace}`,
			`Image      ${container?.image}`,
			`Runtime    ${container?.runtime?.name}`,
			`Snapshot   ${container?.snapshotKey} (${container?.snapshotter})`,
			...(created === undefined ? [] : [`Created    ${new Date(created).toISOString()}`]),
			`Task       ${statusText(task)}${task === undefined || task.pid === 0 ? "" : `, pid ${task.pid}`}`,
			...(spec?.process?.args === undefined ? [] : [`Command    ${JSON.stringify(spec.process.args)}`]),
			...actorLines(actor),
		].join("\n");
	});
}

type Actor = Awaited<ReturnType<typeof actorNode>> | { readonly problem: string } | undefined;

/** The actor of a container's task. The rest is worth printing when the inspection API does not answer. */
async function actorOf(target: Target, id: string): Promise<Actor> {
	try {
		const { actors } = await actorTree(target);
		const found = actors.find((node) => isTaskOf(node, target.namespace, id));
		if (found === undefined) return undefined;
		const [node, journalled] = await Promise.all([
			actorNode(target, found.path),
			journalledTransitions(target, found.path),
		]);
		return node.node === "actor" && journalled.length > 0 ? { ...node, transitions: journalled } : node;
	} catch (reason) {
		return { problem: failure(reason).line };
	}
}

const isTaskOf = (node: ActorNode, namespace: string, id: string): boolean =>
	node.node === "actor" && node.kind === "task" && node.identity.id === id && node.identity.namespace === namespace;

function actorLines(actor: Actor, now = Date.now()): string[] {
	if (actor === undefined) return ["Actor      none: the container has no task"];
	if ("problem" in actor) return [`Actor      ${actor.problem}`];
	if (actor.node !== "actor") return [];
	const { mailbox, deadlines, transitions, waiting, lastMessage } = actor;
	return [
		`Actor      ${actor.path}`,
		`  state    ${stateText(actor.state)}, since ${age(now - actor.since)}${lastMessage === undefined ? "" : `, last message ${lastMessage.type}`}`,
		`  mailbox  ${mailbox.system + mailbox.user} of ${mailbox.capacity}, ${actor.stashed} stashed, ${actor.openRequests} open requests`,
		...waiting.map(({ lane, type, since }) => `  waiting  ${type} (${lane}) since ${age(now - since)}`),
		...deadlines.map(({ name, due }) => `  deadline ${name} in ${age(due - now)}`),
		...(actor.restarts === 0 ? [] : [`  restarts ${actor.restarts}`]),
		...(actor.lastError === undefined ? [] : [`  error    ${actor.lastError.problem}`]),
		...transitions.map(
			({ time, from, to, message }) =>
				`  ${new Date(time).toISOString()}  ${stateText(from)} -> ${stateText(to)}  (${message})`,
		),
	];
}
