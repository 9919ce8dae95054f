import { type ShimLinkContext, shimLinkLimits, shimLinkMachine } from "../../machines/shim-link.machine.ts";
import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ScopeOf } from "../kernel/actor-definition.ts";
import { defineActor } from "../kernel/actor-logic.ts";
import type { Scope } from "../kernel/scope.ts";
import { type ShimClient, type ShimConnection, shimConnection } from "../shims/shim-connection.ts";

/** What a link needs from outside; src/daemon's shims give it, tests a script. */
export interface ShimLinkWorld {
	/** Rejects when nobody listens (Unavailable) or nobody answers (DeadlineExceeded). */
	connect(address: string, timeoutMs: number): Promise<ShimClient>;
	/** Starts a shim binary for the link. */
	boot(link: ShimLinkContext, signal: AbortSignal): Promise<{ readonly version: number; readonly address: string }>;
	/** Calls can be made from now on; what lives in the shim is told. */
	connected(link: ShimLinkContext, connection: ShimConnection, signal: AbortSignal): Promise<void>;
	disconnected(link: ShimLinkContext): void;
	lost(link: ShimLinkContext): void;
	/** Resolves when every container of a dead shim has an heir or is buried. */
	settle(link: ShimLinkContext, signal: AbortSignal): Promise<void>;
}

type LinkScope = ScopeOf<typeof shimLinkMachine>;

export const shimKey = ({ namespace = "", id }: ObjectIdentity): string => `v1/${namespace}/shim/${id}`;

/** The actor of machines/shim-link.machine.ts: durable, so that a restarted daemon finds its shims again. */
export function shimLinkActor(world: ShimLinkWorld) {
	/** By path: the connection of the present incarnation. */
	const connections = new Map<string, ShimConnection>();

	const close = ({ path, context }: LinkScope): void => {
		const connection = connections.get(path);
		if (connection === undefined) return;
		connections.delete(path);
		world.disconnected(context);
		connection.close();
	};

	return defineActor({
		kind: "shim",
		machine: shimLinkMachine,
		durable: { schema: 1, key: shimKey },
		effects: {
			bootShim(_, scope) {
				world.boot(scope.context, scope.signal).then(
					({ version, address }) => scope.send({ type: "shim.booted", version, address, pid: 0 }),
					(reason: unknown) => scope.send({ type: "boot.failed", ...refusalOf(reason, scope) }),
				);
			},
			connectShim({ address }, scope) {
				close(scope);
				void connect(address, scope);
			},
			closeConnection: (_, scope) => close(scope),
			tellConnected(_, scope) {
				const connection = connections.get(scope.path);
				// It may have ended again already: then its end is on the way as a message.
				if (connection !== undefined) void world.connected(scope.context, connection, scope.signal);
			},
			tellLost: (_, { context }) => world.lost(context),
			settleEstate(_, scope) {
				world.settle(scope.context, scope.signal).then(
					() => scope.send({ type: "estate.settled" }),
					(reason: unknown) =>
						scope.send({ type: "estate.refused", problem: DaemonError.from(reason, scope.identity).message }),
				);
			},
			askShimToRetire(_, scope) {
				const { shim: id, namespace } = scope.context;
				const timeoutMs = shimLinkLimits.retire * 0.9;
				const shutdown = connections.get(scope.path)?.task.shutdown({ id, now: false }, { timeoutMs, namespace });
				// Whatever it answers: one that ends closes the connection, one that does not is in use.
				shutdown?.catch(() => undefined);
			},
		},
		terminate: close,
	});

	async function connect(address: string, scope: LinkScope): Promise<void> {
		let client: ShimClient;
		try {
			client = await world.connect(address, shimLinkLimits.connect * 0.9);
		} catch (reason) {
			const { code, problem } = refusalOf(reason, scope);
			// Unix sockets answer at once: refused or absent means that no process listens.
			scope.send({ type: "link.failed", dead: code === "Unavailable" || code === "NotFound", problem });
			return;
		}
		const connection = shimConnection(client, scope.context.version);
		if (scope.signal.aborted) {
			connection.close();
			return;
		}
		connections.set(scope.path, connection);
		void client.closed.then(() => {
			if (connections.get(scope.path) !== connection) return;
			connections.delete(scope.path);
			world.disconnected(scope.context);
			scope.send({ type: "link.down" });
		});
		scope.send({ type: "link.up", pid: scope.context.pid });
	}
}

export const refusalOf = (reason: unknown, { identity }: Pick<Scope, "identity">) => {
	const { code, problem } = DaemonError.from(reason, identity);
	return { code, problem };
};
