/**
 * The port through which everything above (the Tasks service, the CRI, the live stream, the CLI's inspection) reaches
 * running containers. Fields mirror containerd's Tasks API (proto/containerd/services/tasks/v1); times are nanoseconds
 * since 1970; errors are DaemonErrors. Events are published by the task actors themselves, in the batch that makes them
 * true: a caller publishes nothing.
 */

/** A protobuf Any that is carried byte for byte. `typeUrl` is the bare full name, without a prefix. */
export interface AnyValue {
	readonly typeUrl: string;
	readonly value: Uint8Array;
}

export interface TaskIdentity {
	readonly namespace: string;
	/** The container's id. */
	readonly id: string;
}

/** A process of a task: its init, or one that was added by exec. */
export interface ProcessIdentity extends TaskIdentity {
	/** Empty for the init process. */
	readonly execId: string;
}

/** How long the caller waits, and its cancellation. What was asked for may still happen after either. */
export interface TaskCall {
	/** Milliseconds from now; the port's own limit when absent. The call then rejects with DeadlineExceeded. */
	readonly deadlineMs?: number;
	readonly signal?: AbortSignal;
}

export interface Mount {
	readonly type: string;
	readonly source: string;
	/** Relative to the container's root; empty for the root itself. */
	readonly target: string;
	readonly options: readonly string[];
}

/** FIFO paths or URIs (`binary://`, `file://`); empty for none. With a terminal there is no stderr. */
export interface Stdio {
	readonly stdin: string;
	readonly stdout: string;
	readonly stderr: string;
	readonly terminal: boolean;
}

export interface Runtime {
	/** `io.containerd.runc.v2`, `io.containerd.troupe.v2`, or an absolute path of a shim binary. */
	readonly name: string;
	/** Options of the runtime, from the container record or the request. */
	readonly options?: AnyValue | undefined;
}

export interface TaskCreation extends TaskIdentity {
	/** The OCI runtime spec as JSON text: written to the bundle's config.json as it is. */
	readonly spec: Uint8Array;
	readonly runtime: Runtime;
	readonly rootfs: readonly Mount[];
	readonly stdio: Stdio;
	/** A directory with a checkpoint image to restore from; empty for a fresh start. */
	readonly checkpoint: string;
	/** The CRI sandbox this container belongs to; empty for none. Shims may be grouped by it. */
	readonly sandboxId?: string;
}

export interface ExecCreation extends ProcessIdentity {
	/** `types.containerd.io/opencontainers/runtime-spec/1/Process`: JSON bytes of an OCI process. */
	readonly spec: AnyValue;
	readonly stdio: Stdio;
}

/** Words of containerd.v1.types.Status in lower case. */
export type TaskStatus = "unknown" | "created" | "running" | "stopped" | "paused" | "pausing";

export interface ProcessState extends ProcessIdentity, Stdio {
	/** 0 until the runtime has made it (an exec has a pid only after start). */
	readonly pid: number;
	readonly status: TaskStatus;
	/** The exit; both 0 while it has not exited. */
	readonly exitStatus: number;
	readonly exitedAt: bigint;
	readonly bundle: string;
}

export interface ProcessExit {
	/** 0-255; 128 + n after signal n; 255 when nobody who knew it is left. */
	readonly exitStatus: number;
	readonly exitedAt: bigint;
}

export interface DeletedProcess extends ProcessIdentity, ProcessExit {
	readonly pid: number;
}

export interface ProcessInfo {
	readonly pid: number;
	/** `containerd.runc.v1.ProcessDetails` for an exec. */
	readonly info?: AnyValue | undefined;
}

/**
 * Common errors: NotFound (no such task or exec), FailedPrecondition (its state cannot take the request; the text names the
 * state), Unavailable (its shim is lost and nobody has adopted the container yet), ResourceExhausted (its mailbox is full),
 * DeadlineExceeded, Canceled.
 */
export interface Tasks {
	/**
	 * Makes the bundle, mounts the root and has the OCI runtime create the container. Resolves with the pid of the init, which
	 * is blocked before its program. AlreadyExists if the container has a task.
	 */
	create(task: TaskCreation, call: TaskCall): Promise<{ readonly pid: number }>;
	/** Starts the init (empty execId) or an added exec. Its start event precedes its exit event. */
	start(process: ProcessIdentity, call: TaskCall): Promise<{ readonly pid: number }>;
	/** Deletes a stopped (or created) task, its execs and its bundle. A running one: FailedPrecondition. */
	delete(task: TaskIdentity, call: TaskCall): Promise<DeletedProcess>;
	/** Deletes a stopped (or never started) exec; with an empty execId the same as delete. */
	deleteProcess(process: ProcessIdentity, call: TaskCall): Promise<DeletedProcess>;
	/** Adds a process to a running task; AlreadyExists if the exec id is taken. */
	exec(process: ExecCreation, call: TaskCall): Promise<void>;
	/** Answers from the actor's own state; never waits for a shim. */
	get(process: ProcessIdentity, call: TaskCall): Promise<ProcessState>;
	/** The init processes of one namespace. */
	list(namespace: string, call: TaskCall): Promise<readonly ProcessState[]>;
	/** Sends a signal to the init, an exec, or all processes. NotFound, "process already finished", for a stopped one. */
	kill(
		process: ProcessIdentity,
		kill: { readonly signal: number; readonly all: boolean },
		call: TaskCall,
	): Promise<void>;
	pause(task: TaskIdentity, call: TaskCall): Promise<void>;
	resume(task: TaskIdentity, call: TaskCall): Promise<void>;
	pids(task: TaskIdentity, call: TaskCall): Promise<readonly ProcessInfo[]>;
	resizePty(
		process: ProcessIdentity,
		size: { readonly width: number; readonly height: number },
		call: TaskCall,
	): Promise<void>;
	/** Closes the shim's end of stdin, so that the process reads an end of file once every client has closed too. */
	closeIo(process: ProcessIdentity, io: { readonly stdin: boolean }, call: TaskCall): Promise<void>;
	/** Dumps the task into the directory `path` (criu). */
	checkpoint(
		task: TaskIdentity,
		checkpoint: { readonly path: string; readonly options?: AnyValue | undefined },
		call: TaskCall,
	): Promise<void>;
	/** Changes resource limits: `resources` is `…/runtime-spec/1/LinuxResources` as JSON bytes. */
	update(
		task: TaskIdentity,
		update: { readonly resources: AnyValue; readonly annotations: Readonly<Record<string, string>> },
		call: TaskCall,
	): Promise<void>;
	/** `io.containerd.cgroups.v1.Metrics` or `io.containerd.cgroups.v2.Metrics`, by the host's mode. */
	metrics(task: TaskIdentity, call: TaskCall): Promise<AnyValue>;
	/** Resolves with the exit, at once if it has happened; works from `created` on. Without deadlineMs it has no limit. */
	wait(process: ProcessIdentity, call: TaskCall): Promise<ProcessExit>;
}
