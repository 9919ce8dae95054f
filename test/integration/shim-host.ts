/**
 * A stage for the shim without a daemon: a fresh bundle of the shim, temporary state, a server that takes its events, and
 * real containers of busybox. `dispose` ends what was started and proves that nothing is left.
 */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import {
	copyFileSync,
	existsSync,
	globSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { TaskDefinition } from "../../src/gen/containerd/runtime/task/v2/shim.ts";
import { EventsDefinition } from "../../src/gen/containerd/services/ttrpc/events/v1/events.ts";
import type { Envelope } from "../../src/gen/containerd/types/event.ts";
import { Any } from "../../src/gen/google/protobuf/any.ts";
import { ShardDefinition, StandbyDefinition } from "../../src/gen/troupe/shim/v1/shim.ts";
import { parentOf } from "../../src/sys/pidfd.ts";
import { connect, type TtrpcClient } from "../../src/ttrpc/client.ts";
import { implementation, serve, type TtrpcServer } from "../../src/ttrpc/server.ts";
import { eventually, within } from "../fixtures/deadline.ts";

const repository = resolve(import.meta.dirname, "../..");
export const namespace = "shim-test";

/** Polls a condition until it holds; for what sends no event. */
export async function until<T>(what: string, look: () => T | undefined | false, ms = 10_000): Promise<T> {
	for (const end = Date.now() + ms; ; await new Promise((resolve) => setTimeout(resolve, 10))) {
		const seen = look();
		if (seen !== undefined && seen !== false) return seen;
		if (Date.now() > end) assert.fail(`not within ${ms} ms: ${what}`);
	}
}

export interface BundleOptions {
	readonly terminal?: boolean;
	/** Bytes. */
	readonly memory?: number;
	/** Shares the host's pid namespace. */
	readonly hostPids?: boolean;
	readonly annotations?: Record<string, string>;
}

export class ShimHost {
	readonly directory: string;
	readonly sockets: string;
	readonly environment: NodeJS.ProcessEnv;
	readonly address: string;
	/** Acknowledged events, in the order of arrival. */
	readonly events: Envelope[] = [];
	/** While set the server refuses, as a daemon whose disk is full. */
	refusing = false;
	#server: TtrpcServer | undefined;
	readonly #clients = new Set<TtrpcClient>();

	private constructor(directory: string, environment: NodeJS.ProcessEnv) {
		this.directory = directory;
		this.sockets = join(directory, "s");
		this.address = join(directory, "d.sock");
		this.environment = {
			...process.env,
			TTRPC_ADDRESS: `${this.address}.ttrpc`,
			TROUPE_SHIM_STATE: join(directory, "state"),
			TROUPE_SHIM_SOCKETS: this.sockets,
			...environment,
		};
	}

	static async start(environment: NodeJS.ProcessEnv = {}): Promise<ShimHost> {
		const directory = mkdtempSync(join(tmpdir(), "troupe-shim-"));
		const host = new ShimHost(directory, environment);
		await build({
			absWorkingDir: repository,
			entryPoints: ["shim/main.ts"],
			bundle: true,
			minify: true,
			platform: "node",
			format: "esm",
			target: "node26",
			outfile: join(directory, "dist/shim.mjs"),
		});
		mkdirSync(join(directory, "bin"));
		copyFileSync(join(repository, "bin/containerd-shim-troupe-v2"), host.program);
		symlinkSync(join(repository, "node_modules"), join(directory, "node_modules"));
		makeRoot(join(directory, "root"));
		await host.startDaemon();
		return host;
	}

	get program(): string {
		return join(this.directory, "bin/containerd-shim-troupe-v2");
	}

	/** The daemon's part: the server that takes events. */
	async startDaemon(): Promise<void> {
		this.#server = await serve(`${this.address}.ttrpc`, [
			implementation(EventsDefinition, {
				forward: ({ envelope }) => {
					if (this.refusing) throw new Error("not now");
					if (envelope !== undefined) this.events.push(envelope);
					return {};
				},
			}),
		]);
	}

	async stopDaemon(): Promise<void> {
		await this.#server?.close();
		this.#server = undefined;
	}

	bundle(id: string, args: readonly string[], options: BundleOptions = {}): string {
		const bundle = join(this.directory, "bundles", namespace, id);
		mkdirSync(join(bundle, "rootfs"), { recursive: true });
		writeFileSync(join(bundle, "config.json"), JSON.stringify(spec(this, id, args, options)));
		return bundle;
	}

	/** The start contract, as a daemon calls it: with the runtime options on standard input. */
	async startShim(id: string, bundle: string, options?: Any): Promise<string> {
		const input = options === undefined ? new Uint8Array(0) : Any.encode(options).finish();
		const { stdout, stderr } = await this.run(["-id", id, "start"], bundle, input);
		assert.equal(stderr.toString(), "");
		return stdout.toString();
	}

	run(
		words: readonly string[],
		directory: string,
		input = new Uint8Array(0),
	): Promise<{ stdout: Buffer; stderr: Buffer }> {
		const flags = ["-namespace", namespace, "-address", this.address, "-publish-binary", "/bin/true"];
		const running = promisify(execFile)(this.program, [...flags, ...words], {
			cwd: directory,
			env: this.environment,
			timeout: 30_000,
			encoding: "buffer",
		});
		running.child.stdin?.end(input);
		return running;
	}

	async connect(address: string): Promise<TtrpcClient> {
		const client = await connect(address);
		this.#clients.add(client);
		return client;
	}

	async standby() {
		const { stdout } = await this.run(["standby"], "/");
		return (await this.connect(stdout.toString())).service(StandbyDefinition);
	}

	/** A shard's services for a container that does not exist yet. */
	async shard(id: string, bundle: string, options?: Any) {
		const address = await this.startShim(id, bundle, options);
		const client = await this.connect(address);
		return { address, client, ...services(client) };
	}

	topics(id: string): readonly string[] {
		return this.events.filter((event) => containerOf(event) === id).map(({ topic }) => topic);
	}

	exits(id: string): readonly TaskExit[] {
		return this.events
			.filter(({ topic }) => topic === "/tasks/exit")
			.flatMap(({ event }) => (event === undefined ? [] : [TaskExit.decode(event.value)]))
			.filter(({ containerId }) => containerId === id);
	}

	/** Ends the shims and proves that no process, mount, control group, socket or file is left. */
	async dispose(): Promise<void> {
		try {
			await this.#end();
		} catch (reason) {
			for (const pid of this.processes()) process.kill(pid, "SIGKILL");
			throw reason;
		} finally {
			for (const client of this.#clients) client.close();
			await this.stopDaemon();
		}
	}

	async #end(): Promise<void> {
		const running = this.processes();
		if (running.length > 0) {
			const standby = await this.standby();
			const { shards } = await standby.listShards({});
			for (const { address } of shards) {
				const client = await this.connect(address);
				const gone = client.closed;
				const { containers } = await client.service(ShardDefinition).info({});
				assert.deepEqual(containers, [], "containers left in a shard");
				await client.service(TaskDefinition).shutdown({}, { timeoutMs: 10_000 });
				await within(10_000, `the shard at ${address} ends`, () => gone);
			}
			await eventually(10_000, "the standby has seen all shards end", async () =>
				(await standby.listShards({})).shards.length === 0 ? true : undefined,
			);
			await standby.shutdown({}, { timeoutMs: 10_000 });
		}
		for (const client of this.#clients) client.close();
		await this.stopDaemon();
		await until("no process is left", () => this.processes().length === 0);
		const mounts = readFileSync("/proc/self/mountinfo", "utf8");
		assert.ok(!mounts.includes(this.directory), "mounts are left");
		assert.deepEqual(globSync(join(this.sockets, "*")), [], "sockets are left");
		assert.deepEqual(globSync(join(this.directory, "state/journal/*")), [], "journals are left");
		assert.deepEqual(globSync(join(this.directory, "state/oci/*/*")), [], "state of the OCI runtime is left");
		const groups = globSync(`/sys/fs/cgroup/**/${this.cgroup}/*/`);
		assert.deepEqual(groups, [], "control groups are left");
		for (const group of globSync(`/sys/fs/cgroup/**/${this.cgroup}`)) execFileSync("rmdir", [group]);
		rmSync(this.directory, { recursive: true });
	}

	/** Name of the control group above this host's containers. */
	get cgroup(): string {
		return `troupe-${this.directory.split("-").at(-1)?.toLowerCase()}`;
	}

	/** Shim processes of this host, and their descendants. */
	processes(): readonly number[] {
		const pids = globSync("/proc/[0-9]*").map((path) => Number(path.slice("/proc/".length)));
		const own = new Set(pids.filter((pid) => pid !== process.pid && commandLine(pid).includes(`${this.directory}/`)));
		for (const pid of pids) if (own.has(parentOf(pid) ?? 0)) own.add(pid);
		return [...own];
	}
}

export const services = (client: TtrpcClient) => ({
	task: client.service(TaskDefinition),
	own: client.service(ShardDefinition),
});

export function commandLine(pid: number): string {
	try {
		return readFileSync(`/proc/${pid}/cmdline`, "utf8");
	} catch {
		return ""; // it has ended
	}
}

/** Field 1 of all task events is the container's id. */
function containerOf({ event }: Envelope): string {
	const value = event?.value ?? new Uint8Array(0);
	return Buffer.from(value.subarray(2, 2 + (value[1] ?? 0))).toString();
}

function makeRoot(root: string): void {
	for (const directory of ["bin", "proc", "dev", "sys", "tmp", "etc"])
		mkdirSync(join(root, directory), { recursive: true });
	copyFileSync("/bin/busybox", join(root, "bin/busybox"));
	for (const name of ["sh", "echo", "cat", "sleep", "stty", "dd", "true", "ls", "head", "tail", "kill", "trap", "seq"])
		symlinkSync("busybox", join(root, "bin", name));
}

function spec(host: ShimHost, id: string, args: readonly string[], options: BundleOptions): object {
	const namespaces = ["ipc", "uts", "mount", ...(options.hostPids ? [] : ["pid"])].map((type) => ({ type }));
	return {
		ociVersion: "1.0.2",
		hostname: "shim-test",
		annotations: options.annotations ?? {},
		root: { path: join(host.directory, "root"), readonly: true },
		process: processSpec(args, options.terminal ?? false),
		mounts: [
			{ destination: "/proc", type: "proc", source: "proc" },
			{ destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"] },
			{
				destination: "/dev/pts",
				type: "devpts",
				source: "devpts",
				options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
			},
			{ destination: "/tmp", type: "tmpfs", source: "tmpfs" },
		],
		linux: {
			cgroupsPath: `/${host.cgroup}/${id}`,
			namespaces,
			resources: options.memory === undefined ? {} : { memory: { limit: options.memory } },
		},
	};
}

export const processSpec = (args: readonly string[], terminal: boolean) => ({
	terminal,
	user: { uid: 0, gid: 0 },
	args,
	env: ["PATH=/bin"],
	cwd: "/",
	noNewPrivileges: true,
	rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
});

/** The Any of an exec. */
export const execSpec = (args: readonly string[], terminal = false) => ({
	typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process",
	value: Buffer.from(JSON.stringify(processSpec(args, terminal))),
});

export const mkfifo = (path: string): string => {
	if (!existsSync(path)) execFileSync("mkfifo", [path]);
	return path;
};
