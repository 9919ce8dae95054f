import type { ErrorCode } from "./error-code.ts";

/** What an error happened to. `kind` is the field's word: task, container, image, snapshot, content, lease … */
export interface ObjectIdentity {
	readonly kind: string;
	readonly namespace?: string;
	readonly id: string;
}

/** An error as plain data: what crosses a worker's or a process's border without losing code and identity. */
export interface ErrorRecord {
	readonly code: ErrorCode;
	readonly object: ObjectIdentity;
	readonly problem: string;
	readonly cause?: string;
}

/**
 * The one error class of Troupe: `code` says how to react, `object` to what it happened, `cause` why.
 * The message reads `task "web" in namespace "k8s.io": not found`.
 */
export class DaemonError extends Error {
	override readonly name = "DaemonError";
	readonly code: ErrorCode;
	readonly object: ObjectIdentity;
	/** The message without the object's identity. */
	readonly problem: string;

	constructor(code: ErrorCode, object: ObjectIdentity, problem: string, options?: ErrorOptions) {
		super(`${describe(object)}: ${problem}`, options);
		this.code = code;
		this.object = object;
		this.problem = problem;
	}

	/** The only door for values of unknown origin (a catch, a rejected promise). A DaemonError passes unchanged. */
	static from(reason: unknown, object: ObjectIdentity, code?: ErrorCode): DaemonError {
		if (reason instanceof DaemonError) return reason;
		const problem = reason instanceof Error ? reason.message : String(reason);
		return new DaemonError(code ?? codeOf(reason), object, problem, { cause: reason });
	}

	toRecord(): ErrorRecord {
		const { code, object, problem, cause } = this;
		return { code, object, problem, ...(cause === undefined ? {} : { cause: String(cause) }) };
	}

	static fromRecord(record: ErrorRecord): DaemonError {
		const options = record.cause === undefined ? {} : { cause: record.cause };
		return new DaemonError(record.code, record.object, record.problem, options);
	}
}

export const describe = ({ kind, namespace, id }: ObjectIdentity): string =>
	`${kind} ${JSON.stringify(id)}${namespace === undefined ? "" : ` in namespace ${JSON.stringify(namespace)}`}`;

/** What errno values and aborts mean to a caller; anything else is Unknown, as in containerd. */
function codeOf(reason: unknown): ErrorCode {
	if (!(reason instanceof Error)) return "Unknown";
	if (reason.name === "AbortError") return "Canceled";
	if (reason.name === "TimeoutError") return "DeadlineExceeded";
	switch ((reason as NodeJS.ErrnoException).code) {
		case "ENOENT":
			return "NotFound";
		case "EEXIST":
			return "AlreadyExists";
		case "ENOSPC":
		case "EDQUOT":
		case "EMFILE":
		case "ENFILE":
			return "ResourceExhausted";
		case "EACCES":
		case "EPERM":
			return "PermissionDenied";
		case "ECONNREFUSED":
		case "ECONNRESET":
		case "EPIPE":
			return "Unavailable";
		case "ETIMEDOUT":
			return "DeadlineExceeded";
		default:
			return "Unknown";
	}
}
