import { DaemonError, describe } from "../errors/daemon-error.ts";
import { type CallOptions, connect, type ServiceClient, type TtrpcClient } from "../ttrpc/client.ts";
import type { ServiceDefinition } from "../ttrpc/service.ts";
import { type Target, ttrpcAddress } from "./target.ts";

/** Milliseconds that a call may take unless it says otherwise. */
const callTimeoutMs = 60_000;

/** The daemon, as commands see it. Errors are DaemonErrors with the daemon's code and words. */
export class DaemonConnection {
	readonly #target: Target;
	#client: TtrpcClient;
	#reopening: Promise<void> | undefined;

	private constructor(target: Target, client: TtrpcClient) {
		this.#target = target;
		this.#client = client;
	}

	/** Rejects with Unavailable when nobody listens. */
	static async open(target: Target): Promise<DaemonConnection> {
		return new DaemonConnection(target, await dial(target));
	}

	/**
	 * Opens the connection anew, for at most `limitMs`: a daemon that was restarted is back within seconds. Calls that
	 * failed together share the new connection.
	 */
	reopen(limitMs: number): Promise<void> {
		this.#reopening ??= this.#redial(Date.now() + limitMs).finally(() => {
			this.#reopening = undefined;
		});
		return this.#reopening;
	}

	async #redial(end: number): Promise<void> {
		this.#client.close();
		for (;;) {
			try {
				this.#client = await dial(this.#target);
				return;
			} catch (reason) {
				if (Date.now() >= end) throw reason;
				await new Promise((resolve) => setTimeout(resolve, redialMs));
			}
		}
	}

	/** A service of the daemon, in the target's namespace. A timeout of Infinity is none. */
	service<const D extends ServiceDefinition>(definition: D): ServiceClient<D> {
		const { namespace } = this.#target;
		let bound: { client: TtrpcClient; methods: Record<string, Method> } | undefined;
		const methods = Object.keys(definition.methods).map((name): [string, Method] => [
			name,
			(request, { timeoutMs = callTimeoutMs, ...options } = {}) => {
				if (bound?.client !== this.#client)
					bound = { client: this.#client, methods: this.#client.service(definition) as Record<string, Method> };
				const limit = timeoutMs === Number.POSITIVE_INFINITY ? {} : { timeoutMs };
				const method = bound.methods[name] as Method;
				return method(request, { namespace, ...limit, ...options }).catch((reason) => {
					throw identified(reason);
				});
			},
		]);
		return Object.fromEntries(methods) as ServiceClient<D>;
	}

	close(): void {
		this.#client.close();
	}
}

const describedObject = /^([a-zA-Z][\w ]*) ("(?:[^"\\]|\\.)*")(?: in namespace ("(?:[^"\\]|\\.)*"))?: (.*)$/s;

/**
 * ttrpc carries an error's code and text. The text begins with the object's identity (see `describe`), once for each
 * process that it came through (shim, daemon): here it is an identity again, and said once.
 */
function identified(reason: unknown): unknown {
	if (!(reason instanceof DaemonError)) return reason;
	const [, kind, id, namespace, problem] = describedObject.exec(reason.problem) ?? [];
	if (kind === undefined || id === undefined || problem === undefined) return reason;
	const object = {
		kind,
		id: JSON.parse(id) as string,
		...(namespace === undefined ? {} : { namespace: JSON.parse(namespace) as string }),
	};
	const again = `${describe(object)}: `;
	return new DaemonError(reason.code, object, problem.replaceAll(again, ""), { cause: reason });
}

/** Milliseconds between two attempts to reach a daemon that is starting. */
const redialMs = 100;

async function dial(target: Target): Promise<TtrpcClient> {
	try {
		return await connect(ttrpcAddress(target));
	} catch (reason) {
		throw unreachable(target, reason);
	}
}

type Method = (request: never, options?: CallOptions) => Promise<unknown>;

/** Opens a connection for one piece of work. */
export async function withDaemon<T>(target: Target, work: (daemon: DaemonConnection) => Promise<T>): Promise<T> {
	const daemon = await DaemonConnection.open(target);
	try {
		return await work(daemon);
	} finally {
		daemon.close();
	}
}

/** What a user can do about a daemon that does not answer. */
export function unreachable(target: Target, reason: unknown): DaemonError {
	const code =
		(reason instanceof Error ? ((reason.cause as NodeJS.ErrnoException | undefined)?.code ?? "") : "") ||
		codeOf(reason);
	const advice =
		code === "EACCES" || code === "EPERM"
			? "permission denied: run as root"
			: code === "ENOENT" || code === "ECONNREFUSED"
				? "nobody listens there: start trouped, or name its socket with --address or TROUPE_ADDRESS"
				: reason instanceof Error
					? reason.message
					: String(reason);
	return new DaemonError("Unavailable", { kind: "daemon", id: target.address }, advice, { cause: reason });
}

const codeOf = (reason: unknown): string => (reason as NodeJS.ErrnoException | undefined)?.code ?? "";
