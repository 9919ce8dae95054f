import { assign, setup } from "xstate";
import { effect, type KernelFact, kernelEffects, type Refusal } from "./effect.ts";

export interface ShimLinkInput {
	/** `shard`: one of our own, whose containers live on with an heir. `binary`: any shim v2 binary, buried by its `delete`. */
	readonly kind: "shard" | "binary";
	readonly namespace: string;
	/** Shard id, or the id of the container that a binary's shim was started for. */
	readonly shim: string;
	/** Containers of one group share shards; empty for the namespace's common ones. */
	readonly group: string;
	/** Runtime name or path of the binary. */
	readonly runtime: string;
	/** Where it listens, if it runs already: `unix:///…`. Empty: it must be started. */
	readonly address: string;
	readonly pid: number;
	/** Working directory of the start: the bundle for which it is started; empty for a shard. */
	readonly bundle: string;
	/** Options of the runtime: a protobuf Any for the shim's `start`. */
	readonly options: Uint8Array;
}

export interface ShimLinkContext extends ShimLinkInput {
	/** Version of the task API (2 or 3). */
	readonly version: number;
	/** Connections that failed since the last that stood. */
	readonly failures: number;
	/** The request that the present state serves. */
	readonly asked: string;
	/** Requests that wait for a connection. */
	readonly waiting: readonly string[];
	readonly refusal?: Refusal | undefined;
}

export type ShimLinkRequest =
	/** Answered when calls can be made. */
	| { type: "connect"; request: string }
	/** Lets the shim go: nothing lives in it any more. */
	| { type: "retire"; request: string };

export type ShimLinkFact =
	| { type: "shim.booted"; address: string; version: number; pid: number }
	| ({ type: "boot.failed" } & Refusal)
	| { type: "link.up"; pid: number }
	/** `dead`: nobody listens there and the process is no more; another try is of no use. */
	| { type: "link.failed"; dead: boolean; problem: string }
	/** The connection has ended. */
	| { type: "link.down" }
	/** What lived in it has another home, or is buried. */
	| { type: "estate.settled" }
	| { type: "estate.refused"; problem: string };

/** Milliseconds, but for `attempts`. */
export const shimLinkLimits = {
	boot: 30_000,
	/** containerd's `io.containerd.timeout.shim.load`: 5 s. */
	connect: 5_000,
	/** First pause before another connection; doubles with each failure up to `backoffMost`. */
	backoff: 100,
	backoffMost: 10_000,
	/** Connections that may fail in a row before a living process is given up. */
	attempts: 6,
	settle: 60_000,
	again: 10_000,
	/** containerd's `io.containerd.timeout.shim.shutdown`: 3 s. */
	retire: 3_000,
} as const;

type Deadline = "boot" | "connect" | "backoff" | "settle" | "again" | "retire";
type Now = { context: ShimLinkContext };
type Given<Event> = { context: ShimLinkContext; event: Event };

const wait = (name: Deadline) => ({ type: "setDeadline", params: { name, ms: shimLinkLimits[name] } }) as const;
const waited = (name: Deadline) => ({ type: "clearDeadline", params: { name } }) as const;
const passes = (name: Deadline) =>
	({ type: "isDeadline", params: ({ event }: Given<{ name: string }>) => ({ name, passed: event.name }) }) as const;
const noteRefusal = { type: "noteRefusal", params: ({ event }: Given<Refusal>) => event } as const;
const unavailable = {
	type: "noteRefusal",
	params: ({ event }: Given<{ problem: string }>) => ({ code: "Unavailable", problem: event.problem }),
} as const;
const refusalOf = (code: string, problem: string) => ({ type: "noteRefusal", params: { code, problem } }) as const;
const replyAsked = { type: "reply", params: ({ context }: Now) => ({ request: context.asked }) } as const;
/** Too late to connect: whoever asks finds another shim. */
const refuseConnect = {
	type: "refuse",
	params: ({ event }: Given<{ request: string }>) => ({
		request: event.request,
		code: "Unavailable",
		problem: "the shim is gone",
	}),
} as const;
/** A container came meanwhile. */
const refuseRetire = {
	type: "refuse",
	params: ({ context }: Now) => ({ request: context.asked, code: "FailedPrecondition", problem: "the shim is in use" }),
} as const;
const addressOf = ({ context: { address } }: Now) => ({ address });

const orders = setup({
	types: {
		input: {} as ShimLinkInput,
		context: {} as ShimLinkContext,
		events: {} as ShimLinkRequest | ShimLinkFact | KernelFact,
		meta: {} as { stash?: readonly ShimLinkRequest["type"][] }, // requests held until the state changes
	},
	guards: {
		isDeadline: (_, { name, passed }: { name: Deadline; passed: string }) => name === passed,
		isShard: ({ context }) => context.kind === "shard",
		isRunning: ({ context }) => context.address !== "",
		isHopeless: ({ context }, { dead }: { dead: boolean }) => dead || context.failures + 1 >= shimLinkLimits.attempts,
		shardStays: ({ context }, { name, passed }: { name: Deadline; passed: string }) =>
			name === passed && context.kind === "shard",
		isHopelesslyLate: ({ context }, { name, passed }: { name: Deadline; passed: string }) =>
			name === passed && context.failures + 1 >= shimLinkLimits.attempts,
	},
	actions: {
		...kernelEffects,
		/** Runs the shim's `start`. `shim.booted` or `boot.failed`. */
		bootShim: effect(),
		/** `link.up` or `link.failed`; later, once, `link.down`. */
		connectShim: effect<{ address: string }>(),
		closeConnection: effect(),
		/** What lives in it may make calls (again) and ask for its state. */
		tellConnected: effect(),
		tellLost: effect(),
		/** Finds an heir for its containers, or buries them. `estate.settled` or `estate.refused`. */
		settleEstate: effect(),
		/** Shutdown: a shim in which nothing lives then ends, which ends the connection. */
		askShimToRetire: effect(),
		noteAsked: assign((_, { request }: { request: string }) => ({ asked: request })),
		noteBoot: assign((_, { address, version, pid }: { address: string; version: number; pid: number }) => ({
			address,
			version,
			pid,
		})),
		notePid: assign((_, { pid }: { pid: number }) => ({ pid })),
		addWaiting: assign(({ context }, { request }: { request: string }) => ({ waiting: [...context.waiting, request] })),
		dropWaiting: assign(({ context }, { request }: { request: string }) => ({
			waiting: context.waiting.filter((other) => other !== request),
		})),
		emptyWaiting: assign({ waiting: [] }),
		noteFailure: assign(({ context }) => ({ failures: context.failures + 1 })),
		forgetFailures: assign({ failures: 0 }),
		noteRefusal: assign((_, { code, problem }: Refusal) => ({ refusal: { code, problem } })),
	},
});

const replyToWaiting = orders.enqueueActions(({ context, enqueue }) => {
	for (const request of context.waiting) enqueue({ type: "reply", params: { request } });
});
const refuseWaiting = orders.enqueueActions(({ context, enqueue }) => {
	const { code, problem } = context.refusal ?? { code: "Unavailable", problem: "the shim is gone" };
	for (const request of context.waiting) enqueue({ type: "refuse", params: { request, code, problem } });
});

/**
 * The daemon's connection to one shim process, which lives longer than both the daemon and the connection. A dead shim's
 * containers live on (ours) or are buried with it (other binaries): both are settled before the link is gone.
 */
export const shimLinkMachine = orders.extend({ actions: { replyToWaiting, refuseWaiting } }).createMachine({
	id: "shim-link",
	initial: "new",
	context: ({ input }) => ({ ...input, version: 3, failures: 0, asked: "", waiting: [] }),
	on: {
		connect: { actions: { type: "addWaiting", params: ({ event }) => event } },
		"request.cancelled": { actions: { type: "dropWaiting", params: ({ event }) => event } },
		"link.down": {},
	},
	states: {
		new: {
			on: {
				connect: [
					{
						guard: "isRunning",
						target: "connecting",
						actions: { type: "addWaiting", params: ({ event }) => event },
					},
					{ target: "starting", actions: { type: "addWaiting", params: ({ event }) => event } },
				],
				restored: [{ guard: "isRunning", target: "connecting" }, { target: "gone" }],
			},
		},
		starting: {
			entry: ["bootShim", wait("boot")],
			exit: waited("boot"),
			meta: { stash: ["retire"] },
			on: {
				"shim.booted": { target: "connecting", actions: { type: "noteBoot", params: ({ event }) => event } },
				"boot.failed": { target: "gone", actions: noteRefusal },
				"deadline.passed": {
					guard: passes("boot"),
					target: "gone",
					actions: refusalOf("DeadlineExceeded", "the shim did not start in time"),
				},
				restored: { target: "gone", actions: refusalOf("Unavailable", "the daemon was restarted") },
			},
		},
		connecting: {
			entry: [{ type: "connectShim", params: addressOf }, wait("connect")],
			exit: waited("connect"),
			meta: { stash: ["retire"] },
			on: {
				"link.up": "connected",
				"link.failed": [
					{
						guard: { type: "isHopeless", params: ({ event }) => event },
						target: "lost",
						actions: unavailable,
					},
					{ target: "backoff", actions: "noteFailure" },
				],
				"deadline.passed": [
					{
						guard: { type: "isHopelesslyLate", params: ({ event }) => ({ name: "connect", passed: event.name }) },
						target: "lost",
						actions: refusalOf("DeadlineExceeded", "the shim took no connection in time"),
					},
					{ guard: passes("connect"), target: "backoff", actions: "noteFailure" },
				],
				restored: { target: "connecting", reenter: true },
			},
		},
		connected: {
			entry: ["forgetFailures", "replyToWaiting", "emptyWaiting", "tellConnected"],
			on: {
				connect: { actions: { type: "reply", params: ({ event }) => ({ request: event.request }) } },
				"link.up": {},
				"link.down": "connecting",
				retire: { target: "retiring", actions: { type: "noteAsked", params: ({ event }) => event } },
				restored: "connecting",
			},
		},
		backoff: {
			entry: {
				type: "setDeadline",
				params: ({ context: { failures } }) => ({
					name: "backoff",
					ms: Math.min(shimLinkLimits.backoff * 2 ** (failures - 1), shimLinkLimits.backoffMost),
				}),
			},
			exit: waited("backoff"),
			meta: { stash: ["retire"] },
			on: {
				"deadline.passed": { guard: passes("backoff"), target: "connecting" },
				restored: "connecting",
			},
		},
		/** The process is no more. Its containers must not be forgotten: an heir is sought until there is one. */
		lost: {
			entry: ["closeConnection", "tellLost", "refuseWaiting", "emptyWaiting", "settleEstate", wait("settle")],
			exit: waited("settle"),
			meta: { stash: ["retire"] },
			on: {
				connect: { actions: refuseConnect },
				"estate.settled": "gone",
				"estate.refused": "mourning",
				"deadline.passed": { guard: passes("settle"), target: "mourning" },
				restored: { target: "lost", reenter: true },
			},
		},
		/** No heir yet. */
		mourning: {
			entry: wait("again"),
			exit: waited("again"),
			meta: { stash: ["retire"] },
			on: {
				connect: { actions: refuseConnect },
				"estate.settled": "gone",
				"deadline.passed": { guard: passes("again"), target: "lost" },
				restored: "lost",
			},
		},
		retiring: {
			entry: ["askShimToRetire", wait("retire")],
			exit: waited("retire"),
			meta: { stash: ["connect"] },
			on: {
				"link.down": [
					// a container may have come at the last moment, and be what kept it from ending by itself
					{ guard: "isShard", target: "lost", actions: replyAsked },
					{ target: "gone", actions: replyAsked },
				],
				"deadline.passed": [
					{
						guard: { type: "shardStays", params: ({ event }) => ({ name: "retire", passed: event.name }) },
						target: "connected",
						actions: refuseRetire,
					},
					{ guard: passes("retire"), target: "gone", actions: replyAsked },
				],
				restored: "connecting",
			},
		},
		gone: { type: "final", entry: ["closeConnection", "refuseWaiting"] },
	},
});
