import { closeSync, openSync } from "node:fs";
import { DeleteResponse, TaskDefinition } from "../src/gen/containerd/runtime/task/v2/shim.ts";
import { StandbyDefinition } from "../src/gen/troupe/shim/v1/shim.ts";
import type { Kernel } from "../src/sys/kernel.ts";
import { unmountAll } from "../src/sys/mounts.ts";
import { connect } from "../src/ttrpc/client.ts";
import type { Arguments } from "./arguments.ts";
import { Cgroup } from "./cgroup.ts";
import { type ContainerRecord, readRecord, removeRecord } from "./container-record.ts";
import { tryConnect } from "./ensure-standby.ts";
import { type Exit, fromWire } from "./exit.ts";
import { type Log, reasonOf } from "./log.ts";
import { OciRuntime } from "./oci-runtime.ts";
import { Reaper } from "./reaper.ts";
import { runtimesEnded } from "./runtime-under-way.ts";
import type { Places, Settings } from "./settings.ts";
import { now, toTimestamp } from "./time.ts";

const politeMs = 2_000;
const killed = 128 + 9;

/**
 * The shim's delete contract: with or without a shim that serves, nothing of the container is left afterwards. Answers
 * with a marshalled containerd.task.v2.DeleteResponse for standard output.
 */
export async function deleteBundle(
	kernel: Kernel,
	{ id, namespace }: Arguments,
	bundle: string,
	places: Places,
	settings: Settings,
	log: Log,
): Promise<Uint8Array> {
	const record = readRecord(bundle);
	const answered = record === undefined ? undefined : await deleteThroughShard(record, namespace, places, log);
	if (answered !== undefined) return DeleteResponse.encode(answered).finish();
	await runtimesEnded(kernel, [bundle]).get(bundle);
	const exits = await forget(places, namespace, id, log);
	if (record !== undefined) await discard(kernel, record, bundle, settings, log);
	unmountAll(kernel, `${bundle}/rootfs`);
	removeRecord(bundle);
	const exit = exits.find(({ execId }) => execId === "");
	const saved = record?.init.exit;
	return DeleteResponse.encode({
		pid: record?.init.pid ?? 0,
		exitStatus: exit?.status ?? saved?.status ?? killed,
		exitedAt: toTimestamp(exit?.at ?? (saved === undefined ? now() : BigInt(saved.at))),
	}).finish();
}

/** The shard may live although the daemon could not reach it: then it must forget the container too. */
async function deleteThroughShard(record: ContainerRecord, namespace: string, places: Places, log: Log) {
	const options = { timeoutMs: politeMs, namespace };
	try {
		const client = await connect(places.shardSocket(record.shard), { timeoutMs: politeMs });
		try {
			const task = client.service(TaskDefinition);
			const { id } = record;
			if ((await task.state({ id }, options)).exitStatus === 0)
				await task.kill({ id, signal: 9, all: true }, options).catch((reason: unknown) => {
					log("debug", "nothing to kill", { id, reason: reasonOf(reason) });
				});
			await task.wait({ id }, options);
			return await task.delete({ id }, options);
		} finally {
			client.close();
		}
	} catch (reason) {
		log("debug", "no shard deletes it", { id: record.id, reason: reasonOf(reason) });
		return undefined;
	}
}

/** What the standby saw of the container, before it stops to look. */
async function forget(places: Places, namespace: string, id: string, log: Log): Promise<readonly Exit[]> {
	try {
		const client = await tryConnect(places);
		if (client === undefined) return [];
		try {
			const standby = client.service(StandbyDefinition);
			const { exits } = await standby.forget({ namespace, containerId: id }, { timeoutMs: politeMs });
			return exits.map(fromWire);
		} finally {
			client.close();
		}
	} catch (reason) {
		log("warning", "the standby does not answer", { reason: reasonOf(reason) });
		return [];
	}
}

async function discard(
	kernel: Kernel,
	record: ContainerRecord,
	bundle: string,
	settings: Settings,
	log: Log,
): Promise<void> {
	const nothing = openSync("/dev/null", "r+");
	const reaper = new Reaper(kernel, () => {}, log);
	const onChild = () => reaper.sweep();
	process.on("SIGCHLD", onChild);
	const alive = setInterval(onChild, 1_000); // a signal handler does not keep the event loop alive
	try {
		const runtime = new OciRuntime(record.runtime, {
			kernel,
			reaper,
			nothing,
			environment: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
			timeoutMs: settings.runtimeTimeoutMs,
		});
		await runtime.run(record.id, bundle, ["delete", "--force", record.id]);
	} catch (reason) {
		log("warning", "the OCI runtime does not delete the container", { id: record.id, reason: reasonOf(reason) });
		for (const pid of Cgroup.fromRecord(record.cgroup).pids()) kernel.kill(pid, 9);
	} finally {
		clearInterval(alive);
		process.off("SIGCHLD", onChild);
		closeSync(nothing);
	}
}
