import type { ShimLinkContext } from "../../machines/shim-link.machine.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { ShimConnection } from "./shim-connection.ts";
import type { Resident, ShimsOptions } from "./shims.ts";
import type { Shard } from "./standby.ts";

/** What a dead shim has left, and those who look after it. */
export interface Estate
	extends Pick<ShimsOptions, "standby" | "shardSize" | "residents" | "deleteBinary" | "warn" | "now"> {
	/** Who lived in the shim or was about to; asked anew each time. */
	residentsOf(): readonly Resident[];
	/** Connects to a shard of the same namespace and group. */
	open(shard: Shard): Promise<ShimConnection>;
	/** Lets a shard go if nobody lives in it. */
	release(shim: string): void;
}

const adoptMs = 20_000;

/**
 * Has a fresh shard adopt the containers of a dead one, and tells them their new home. Rejects with Unavailable if some have
 * to wait for another attempt; the others have been told.
 */
export async function inherit(estate: Estate, link: ShimLinkContext, signal: AbortSignal): Promise<void> {
	const { namespace, group } = link;
	const { standby, shardSize, residents, warn } = estate;
	// Without a container's name: these are adopted, not on their way to be created there.
	const heir = await standby.shardFor({ namespace, group, containerId: "", shardSize, fresh: true });
	const { shard } = await estate.open(heir);
	// Asked now: while the heir started, one may have gone and another of its name have come elsewhere.
	const left = estate.residentsOf();
	const containers = left.map(({ id, bundle }) => ({ containerId: id, bundle }));
	const answers = await shard.adopt({ containers }, { timeoutMs: adoptMs, signal });
	const homes = new Map<string, string>();
	const losses = new Map<string, readonly string[]>();
	const waiting = new Map<string, string>();
	for (const { containerId, problem, again, shardId, address, lost } of answers.containers) {
		if (lost.length > 0) losses.set(containerId, lost);
		if (problem !== "") warn({ namespace, container: containerId, problem }, "a container could not be adopted");
		if (again) waiting.set(containerId, problem);
		// An heir of an earlier attempt has it, which was broken off before anybody was told; or the dead one lives.
		else if (shardId === link.shim) waiting.set(containerId, "its shard lives, but does not answer");
		else if (shardId !== heir.shim) {
			await estate.open({ shim: shardId, address, pid: 0 });
			homes.set(containerId, shardId);
		}
	}
	// Those that cannot be adopted ever, too: the heir says that it does not know them. Asked anew: one may have been discarded
	// meanwhile and another of its name been created elsewhere, of which the heir knows nothing.
	const asked = new Set(left.map(({ id }) => id));
	const told = estate.residentsOf().filter(({ id }) => asked.has(id) && !waiting.has(id));
	await Promise.all(
		told.map(async ({ id }) => {
			await residents.tell({ namespace, id }, { type: "shim.adopted", shim: homes.get(id) ?? heir.shim });
			const lost = losses.get(id);
			if (lost !== undefined) await residents.tell({ namespace, id }, { type: "stdio.lost", lost });
		}),
	);
	estate.release(heir.shim);
	const [first] = waiting;
	if (first !== undefined)
		throw new DaemonError("Unavailable", { kind: "shim", namespace, id: link.shim }, `${first[0]}: ${first[1]}`);
}

/** Has a foreign shim's binary remove what its dead process has left, and tells the containers their end. */
export async function bury(estate: Estate, link: ShimLinkContext, signal: AbortSignal): Promise<void> {
	const { namespace } = link;
	const { deleteBinary, residents, warn, now } = estate;
	for (const { id, bundle } of estate.residentsOf()) {
		const buried = await deleteBinary({ ...link, shim: id, bundle }, signal).catch((reason: unknown) => {
			warn({ namespace, id, reason: String(reason) }, "a dead shim left more than its binary can remove");
			return { exitStatus: 255, exitedAt: undefined, unknown: true };
		});
		if (!estate.residentsOf().some((resident) => resident.id === id)) continue; // gone meanwhile
		const { exitStatus, unknown } = buried;
		const exitedAt = buried.exitedAt ?? BigInt(now()) * 1_000_000n;
		await residents.tell({ namespace, id }, { type: "shim.buried", exitStatus, exitedAt, unknown });
	}
}
