import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DaemonError } from "../src/errors/daemon-error.ts";
import type { CreateTaskRequest } from "../src/gen/containerd/runtime/task/v2/shim.ts";
import type { Options } from "../src/gen/containerd/types/runc/options/oci.ts";
import { mountAll, unmountAll } from "../src/sys/mounts.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import { Container, type ContainerContext } from "./container.ts";
import { type RuntimeRecord, removeRecord } from "./container-record.ts";
import { requireCriu } from "./criu.ts";
import { parseExactly } from "./exact-json.ts";
import { reasonOf } from "./log.ts";
import { findExecutable, OciRuntime } from "./oci-runtime.ts";
import { ContainerProcess } from "./process.ts";
import { runtimeOptions } from "./runtime-options.ts";

/** The parts of an OCI spec that the shim looks at. */
interface SpecPart {
	readonly process?: { readonly oomScoreAdj?: number };
	readonly hooks?: object;
	readonly linux?: {
		readonly namespaces?: readonly { readonly type: string; readonly path?: string }[];
		readonly intelRdt?: object;
	};
}

/** No hooks for the runtime to run at start and delete, and nothing to remove beside control groups. */
const isPlain = ({ hooks = {}, linux }: SpecPart): boolean =>
	Object.values(hooks).every((list) => Array.isArray(list) && list.length === 0) && linux?.intelRdt === undefined;

/** crun and runc then wait at start for the container's word that it is ready (sd_notify). */
const hasNotifySocket = ({ environment }: ContainerContext): boolean =>
	environment.some((variable) => variable.startsWith("NOTIFY_SOCKET="));

/**
 * Mounts the root and has the OCI runtime create the container; its init waits before its program. `register` is called
 * before there is a process: whoever creates must know the container when an exit comes early.
 */
export async function createContainer(
	request: CreateTaskRequest,
	context: ContainerContext,
	timeoutMs: number | undefined,
	register: (container: Container) => void,
): Promise<Container> {
	const { id, bundle } = request;
	const identity = { kind: "task", namespace: context.namespace, id };
	const spec = readSpec(bundle, identity);
	const options = runtimeOptions(request.options);
	// containerd 1.x looks into the options only of runtimes whose names it knows.
	const checkpoint = request.checkpoint === "" ? options.criuImagePath : request.checkpoint;
	const runtime = new OciRuntime(runtimeOf(options, context), context);
	if (checkpoint !== "") requireCriu(identity);
	const { stdin, stdout, stderr, terminal } = request;
	const paths = { stdin, stdout, stderr, terminal };
	const status = checkpoint === "" ? "created" : "restorable";
	const init = new ContainerProcess(context.kernel, "", paths, status, identity);
	const ownPidNamespace = spec.linux?.namespaces?.some(({ type, path }) => type === "pid" && !path) ?? false;
	const direct = checkpoint === "" && isPlain(spec) && !runtime.record.systemdCgroup && !hasNotifySocket(context);
	const container = new Container({ id, bundle, runtime, ownPidNamespace, direct, checkpoint, init }, context);
	clampOomScore(bundle, spec);
	register(container);
	return container.take(async () => {
		try {
			container.save();
			if (request.rootfs.length > 0) {
				mkdirSync(container.rootfs, { recursive: true, mode: 0o711 });
				mountAll(context.kernel, request.rootfs, container.rootfs);
			}
			if (checkpoint === "") {
				await container.make(init, createCommand(container), timeoutMs);
				container.findCgroup();
			}
			container.save();
		} catch (reason) {
			await undo(container);
			throw DaemonError.from(reason, identity);
		}
		const io = { stdin, stdout, stderr, terminal };
		container.publish("TaskCreate", { containerId: id, bundle, rootfs: request.rootfs, io, checkpoint, pid: init.pid });
		return container;
	});
}

function createCommand({ id, bundle, runtime: { record } }: Container): readonly string[] {
	const noPivot = record.noPivotRoot ? ["--no-pivot"] : [];
	const noKeyring = record.noNewKeyring ? ["--no-new-keyring"] : [];
	return ["create", "--bundle", bundle, ...noPivot, ...noKeyring, id];
}

/** Takes back what a failed creation has done; what cannot be taken back is logged and left to `delete`. */
async function undo(container: Container): Promise<void> {
	const { kernel, log, standby } = container.context;
	container.leave();
	const steps: readonly (() => unknown)[] = [
		() => container.discard(),
		() => container.oom?.close(),
		() => container.init.stdio?.close(),
		() => container.init.letGo(),
		() => standby.releaseProcess(container.id, ""),
		() => unmountAll(kernel, container.rootfs),
		() => container.removeProcessFiles(""),
		() => removeRecord(container.bundle),
	];
	for (const step of steps)
		try {
			await step();
		} catch (reason) {
			log("warning", "a failed creation is not wholly undone", { id: container.id, reason: reasonOf(reason) });
		}
}

function readSpec(bundle: string, identity: { kind: string; id: string }): SpecPart {
	try {
		return parseExactly(readFileSync(join(bundle, "config.json"), "utf8")) as SpecPart;
	} catch (reason) {
		throw DaemonError.from(reason, { ...identity }, failedWith(reason, "ENOENT") ? "NotFound" : "InvalidArgument");
	}
}

function runtimeOf(options: Options, context: ContainerContext): RuntimeRecord {
	const { ioUid: uid, ioGid: gid, criuWorkPath } = options;
	const name = options.binaryName === "" ? context.defaultRuntime : options.binaryName;
	const file = name === undefined ? undefined : findExecutable(name);
	if (file === undefined)
		throw new DaemonError("FailedPrecondition", { kind: "OCI runtime", id: name ?? "crun, runc" }, "not installed");
	return {
		file,
		root: join(options.root === "" ? context.runtimeRoot : options.root, context.namespace),
		systemdCgroup: options.systemdCgroup,
		noPivotRoot: options.noPivotRoot,
		noNewKeyring: options.noNewKeyring,
		...(uid === 0 && gid === 0 ? {} : { ioOwner: { uid, gid } }),
		...(criuWorkPath === "" ? {} : { criuWorkPath }),
	};
}

const CAP_SYS_RESOURCE = 1n << 24n;

/**
 * Without CAP_SYS_RESOURCE nobody may lower oom_score_adj below his own, and runc then fails with "can't get final
 * child's PID from pipe": the value is raised to ours (containerd's restrict_oom_score_adj).
 */
function clampOomScore(bundle: string, spec: SpecPart): void {
	const wanted = spec.process?.oomScoreAdj;
	if (wanted === undefined || !existsSync("/proc/self/oom_score_adj")) return;
	const own = Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
	const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
	if (wanted >= own || (BigInt(`0x${capabilities}`) & CAP_SYS_RESOURCE) !== 0n) return;
	const clamped = { ...spec, process: { ...spec.process, oomScoreAdj: own } };
	writeFileSync(join(bundle, "config.json"), JSON.stringify(clamped), { mode: 0o600 });
}
