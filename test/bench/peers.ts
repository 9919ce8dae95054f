import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as dial } from "node:net";
import { join, resolve } from "node:path";

/** A daemon under measurement: what serves containerd's API on `socket`, and how its own CLI is called. */
export interface Peer {
	readonly name: "containerd" | "troupe";
	readonly socket: string;
	/** Runtime name that a container of this peer asks for. */
	readonly runtime: string;
	/** argv prefix of its command line client. */
	readonly cli: readonly string[];
	readonly pid: number;
	/** Every process that belongs to it now: the daemon and its shims. */
	processes(): number[];
	stop(): Promise<void>;
}

const repository = resolve(import.meta.dirname, "../..");

/** Debian's containerd on a root of its own, without CRI. */
export async function startContainerd(directory: string, namespace: string): Promise<Peer> {
	const socket = join(directory, "containerd.sock");
	mkdirSync(directory, { recursive: true });
	const config = join(directory, "config.toml");
	writeFileSync(
		config,
		[
			"version = 2",
			`root = "${directory}/root"`,
			`state = "${directory}/state"`,
			'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
			"[grpc]",
			`  address = "${socket}"`,
			"[debug]",
			'  level = "error"',
			"",
		].join("\n"),
	);
	const child = start("containerd", ["--config", config], directory);
	await listening(socket, child, directory);
	return peer(
		"containerd",
		child,
		socket,
		"io.containerd.runc.v2",
		["ctr", "--address", socket, "--namespace", namespace],
		(argv) => argv.some((word) => word.endsWith("containerd-shim-runc-v2")) && argv.includes(socket),
	);
}

/** Our daemon on a root of its own. */
export async function startTroupe(directory: string, namespace: string): Promise<Peer> {
	const socket = join(directory, "troupe.sock");
	mkdirSync(directory, { recursive: true });
	const config = join(directory, "config.toml");
	writeFileSync(
		config,
		`version = 3\nroot = "${directory}/root"\nstate = "${directory}/state"\n[grpc]\naddress = "${socket}"\n[stream]\naddress = ""\n[debug]\nlevel = "error"\n`,
	);
	const child = start(join(repository, "bin/trouped"), ["--config", config], directory);
	await listening(socket, child, directory);
	return peer(
		"troupe",
		child,
		socket,
		"io.containerd.troupe.v2",
		[join(repository, "bin/troupe"), "--address", socket, "--namespace", namespace],
		(argv) => argv.some((word) => word.endsWith("shim.mjs")) && argv.some((word) => word.startsWith(directory)),
	);
}

function start(program: string, args: string[], directory: string): ChildProcess {
	const log = openSync(join(directory, "log"), "a");
	const child = spawn(program, args, { stdio: ["ignore", log, log] });
	closeSync(log);
	return child;
}

function peer(
	name: Peer["name"],
	child: ChildProcess,
	socket: string,
	runtime: string,
	cli: string[],
	isShim: (argv: string[]) => boolean,
): Peer {
	const pid = child.pid ?? 0;
	return {
		name,
		socket,
		runtime,
		cli,
		pid,
		processes: () => [
			pid,
			...allProcesses().filter((candidate) => candidate !== pid && isShim(commandLine(candidate))),
		],
		async stop() {
			if (child.exitCode !== null) return;
			const shims = this.processes().filter((candidate) => candidate !== pid);
			const ended = once(child, "exit");
			child.kill("SIGTERM");
			await ended;
			// shims outlive their daemon; those that are left have no container any more
			for (const shim of shims) if (isShim(commandLine(shim))) process.kill(shim, "SIGKILL");
		},
	};
}

/** Resolves when the socket takes connections; fails with the log when the daemon ends first. */
async function listening(socket: string, child: ChildProcess, directory: string): Promise<void> {
	const deadline = Date.now() + 30_000;
	for (;;) {
		if (child.exitCode !== null || Date.now() > deadline)
			throw new Error(`${child.spawnfile} did not come up:\n${readFileSync(join(directory, "log"), "utf8")}`);
		const connected = await new Promise<boolean>((settle) => {
			const probe = dial(socket)
				.once("connect", () => {
					probe.destroy();
					settle(true);
				})
				.once("error", () => settle(false));
		});
		if (connected) return;
		await new Promise((retry) => setTimeout(retry, 20));
	}
}

const allProcesses = (): number[] => readdirSync("/proc").map(Number).filter(Number.isInteger);

function commandLine(pid: number): string[] {
	try {
		return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
	} catch {
		return []; // ended while we looked
	}
}

/** Proportional set size of the processes, in bytes (proc(5), smaps_rollup). */
export function pss(pids: readonly number[]): number {
	let total = 0;
	for (const pid of pids) {
		const match = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
		total += Number(match?.[1] ?? 0) * 1024;
	}
	return total;
}

export const removeTree = (directory: string): void => rmSync(directory, { recursive: true, force: true });
