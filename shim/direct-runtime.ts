import { readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Kernel } from "../src/sys/kernel.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import type { Cgroup } from "./cgroup.ts";
import { within } from "./time.ts";

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** A container as its OCI runtime knows it, and the process that the runtime has made for it. */
export interface DirectContainer {
	/** The runtime's own directory of the container: `<root>/<id>`. */
	readonly state: string;
	readonly pid: number;
	/** Resolves when the process has ended. */
	readonly ended: Promise<void>;
}

type RuntimeKind = "crun" | "runc";
type FifoCalls = Pick<Kernel, "open" | "close" | "read" | "write" | "poll">;

/**
 * Does what `crun start` and `runc start` do, without the process (7 to 9 ms of a container's life). The init that
 * `create` has left waits at `exec.fifo`: that of runc opens it to write a byte and goes on once there is a reader; that
 * of crun reads a byte. Both commands do no more than this for a container without hooks (libcontainer's Container.exec,
 * crun's libcrun_container_start_internal). False where that is not known to hold, and nothing was done: the caller
 * has the runtime do it, which also words what is wrong.
 */
export async function startDirectly(
	kernel: FifoCalls,
	container: DirectContainer,
	timeoutMs: number,
): Promise<boolean> {
	const kind = runtimeKind(container);
	if (kind === undefined) return false;
	const fifo = execFifo(container.state);
	try {
		if (kind === "crun") return startCrun(kernel, fifo);
		return await startRunc(kernel, fifo, container.ended, timeoutMs);
	} catch (reason) {
		// ENXIO: no init waits at the other end
		if (failedWith(reason, "ENOENT", "ENXIO", "EPIPE")) return false;
		throw reason;
	}
}

function startCrun(kernel: FifoCalls, fifo: string): boolean {
	const descriptor = kernel.open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC, 0);
	try {
		// Then, not before: where the FIFO is gone the container was surely started (crun does it in the other order).
		kernel.write(descriptor, Buffer.alloc(1), 1);
		rmSync(fifo);
		return true;
	} finally {
		kernel.close(descriptor);
	}
}

async function startRunc(kernel: FifoCalls, fifo: string, ended: Promise<void>, timeoutMs: number): Promise<boolean> {
	const descriptor = kernel.open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
	const passed = Promise.withResolvers<boolean>();
	let open = true;
	const look = (): void => {
		if (!open) return;
		try {
			passed.resolve(kernel.read(descriptor, Buffer.alloc(1), 1) === 1);
		} catch (reason) {
			if (!failedWith(reason, "EAGAIN", "EINTR")) passed.reject(reason);
		}
	};
	const poll = kernel.poll(descriptor, look);
	try {
		void ended.then(() => {
			look(); // of a short life the byte may still wait in the FIFO
			passed.resolve(false);
		});
		const hasPassed = (await within(timeoutMs, passed.promise)) ?? false;
		if (hasPassed) rmSync(fifo);
		return hasPassed;
	} finally {
		open = false;
		poll.close();
		kernel.close(descriptor);
	}
}

/** Where the init of crun or runc waits for its start. */
export const execFifo = (state: string): string => join(state, "exec.fifo");

/** crun and runc both take the FIFO away when the init goes on to its program; of other runtimes nothing is known. */
export const removesFifoAtStart = (container: Pick<DirectContainer, "state" | "pid">): boolean =>
	runtimeKind(container) !== undefined;

/**
 * Does what `crun delete` and `runc delete` do with a container without hooks whose processes have all ended: removes
 * its control groups and the runtime's directory of it. Saves 8 to 10 ms. False where that is not known to be all, or
 * where a group is still in use or has groups below it: the caller has the runtime do it, for which a half done removal
 * is no obstacle.
 */
export function deleteDirectly(container: DirectContainer, cgroup: Cgroup): boolean {
	if (!removeGroups(container, cgroup)) return false;
	removeState(container);
	return true;
}

/** The second half of {@link deleteDirectly}, when {@link removeGroups} has done the first. */
export const removeState = ({ state }: DirectContainer): void => rmSync(state, { recursive: true, force: true });

/** False as of {@link deleteDirectly}. */
export function removeGroups(container: DirectContainer, cgroup: Cgroup): boolean {
	if (runtimeKind(container) === undefined) return false;
	try {
		for (const directory of cgroup.own()) removeGroup(directory);
	} catch (reason) {
		if (failedWith(reason, "EBUSY", "ENOTEMPTY")) return false;
		throw reason;
	}
	return true;
}

function removeGroup(directory: string): void {
	try {
		rmdirSync(directory);
	} catch (reason) {
		if (!failedWith(reason, "ENOENT")) throw reason;
	}
}

/** By the file in which each keeps a container's state; undefined for any other runtime, or another layout of these. */
function runtimeKind({ state, pid }: Pick<DirectContainer, "state" | "pid">): RuntimeKind | undefined {
	const runc = stateFile(join(state, "state.json"));
	if (runc?.init_process_pid === pid && "cgroup_paths" in runc && runc.intel_rdt_path === "") return "runc";
	const crun = stateFile(join(state, "status"));
	if (crun?.pid === pid && "cgroup-path" in crun && crun["systemd-cgroup"] === false) return "crun";
	return undefined;
}

function stateFile(path: string): Readonly<Record<string, unknown>> | undefined {
	try {
		const parsed: unknown = JSON.parse(readFileSync(path, "utf8"));
		return typeof parsed === "object" && parsed !== null ? (parsed as Readonly<Record<string, unknown>>) : undefined;
	} catch (reason) {
		if (failedWith(reason, "ENOENT", "ENOTDIR") || reason instanceof SyntaxError) return undefined;
		throw reason;
	}
}
