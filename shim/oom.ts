import { closeSync, openSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Kernel, Poll } from "../src/sys/kernel.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import type { Cgroup } from "./cgroup.ts";

export type OomCalls = Pick<Kernel, "eventfd" | "read" | "close" | "poll">;

const EFD_CLOEXEC_NONBLOCK = 0o2004000;
/** The eventfd of v1 is signalled before the counter moves. */
const settleMs = 5;

/** How often the kernel killed something in the group for lack of memory: the truth, notifications only say "look". */
export function oomKills(cgroup: Cgroup): number {
	const file = cgroup.version === 1 ? "memory.oom_control" : "memory.events";
	return Number(/^oom_kill (\d+)$/m.exec(cgroup.read("memory", file) ?? "")?.[1] ?? 0);
}

/** Watches one container's group. `onKill` is called once per increase of the counter. */
export class OomWatch {
	readonly #cgroup: Cgroup;
	readonly #onKill: () => void;
	#seen: number;
	#stop: () => void = () => {};

	constructor(kernel: OomCalls, cgroup: Cgroup, onKill: () => void, seen: number = oomKills(cgroup)) {
		this.#cgroup = cgroup;
		this.#onKill = onKill;
		this.#seen = seen;
		const directory = cgroup.directory("memory");
		if (directory === undefined) return;
		try {
			this.#stop = cgroup.version === 1 ? this.#watchEventfd(kernel, directory) : this.#watchFile(directory);
		} catch (reason) {
			// The group has gone already, or its controller is off: the look at the exit remains.
			if (!failedWith(reason, "ENOENT", "ENODEV", "EINVAL", "ENOSPC", "EMFILE")) throw reason;
		}
	}

	/** Kills counted so far: kept in the container's record, so that an adopter does not report them again. */
	get seen(): number {
		return this.#seen;
	}

	/** Before an exit is reported: an OOM kill of which no notification has come yet is reported first. */
	look(): void {
		const kills = oomKills(this.#cgroup);
		if (kills <= this.#seen) return;
		this.#seen = kills;
		this.#onKill();
	}

	close(): void {
		this.#stop();
		this.#stop = () => {};
	}

	/** cgroup-v1/memory.rst, "OOM Control". Removing the group signals the eventfd too: then the counter is gone. */
	#watchEventfd(kernel: OomCalls, directory: string): () => void {
		const event = kernel.eventfd(0, EFD_CLOEXEC_NONBLOCK);
		let poll: Poll | undefined;
		try {
			const control = openSync(join(directory, "memory.oom_control"), "r");
			try {
				writeFileSync(join(directory, "cgroup.event_control"), `${event} ${control}`);
			} finally {
				closeSync(control);
			}
			const count = Buffer.alloc(8);
			poll = kernel.poll(event, () => {
				try {
					kernel.read(event, count, 8);
				} catch (reason) {
					if (!failedWith(reason, "EAGAIN")) throw reason;
				}
				setTimeout(() => this.look(), settleMs).unref();
			});
			poll.unref();
		} catch (reason) {
			kernel.close(event);
			throw reason;
		}
		const watching = poll;
		return () => {
			watching.close();
			kernel.close(event);
		};
	}

	/** cgroup-v2.rst: a change of memory.events is a file-modified event. */
	#watchFile(directory: string): () => void {
		const watcher = watch(join(directory, "memory.events"), { persistent: false }, () => this.look());
		watcher.on("error", () => watcher.close()); // the group has gone
		return () => watcher.close();
	}
}
