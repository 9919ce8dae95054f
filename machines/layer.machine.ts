import { assign, setup } from "xstate";
import { effect, type KernelFact, kernelEffects, type Refusal } from "./effect.ts";

export interface LayerInput {
	/** Digest of the blob as the registry sends it. */
	digest: string;
	/** Digest of the uncompressed tar, from the image's config. */
	diffId: string;
	/** False to fetch the blob only. */
	unpack: boolean;
}

export interface LayerContext extends LayerInput {
	/** Open `want` requests: every pull that waits for this layer. */
	wanted: readonly string[];
	/** Bytes of the blob on disk; a broken download goes on from here. */
	offset: number;
	/** Downloads that broke since bytes last arrived. */
	failures: number;
	refusal?: Refusal;
}

type Request = { type: "want"; request: string };

export type LayerFact =
	/** The layer is here already, unpacked (or fetched, where nothing is to be unpacked). */
	| { type: "layer.present" }
	| { type: "blob.present" }
	| { type: "blob.missing"; offset: number }
	/** Told about once a second, not for each chunk. */
	| { type: "bytes.arrived"; offset: number }
	/** The blob is committed: size and digest are right, it is on disk. */
	| { type: "blob.committed" }
	/** The download broke; `retry` says whether another try can help. */
	| ({ type: "fetch.broke"; offset: number; retry: boolean } & Refusal)
	| { type: "layer.unpacked"; diffId: string }
	| ({ type: "unpack.failed" } & Refusal)
	| { type: "work.stopped" };

export const layerLimits = {
	lookMs: 10_000,
	/** No byte for this long: the connection is given up and a new one continues (containerd's stall timeout: 5 min). */
	stallMs: 60_000,
	/** First wait after a broken download; doubles with each. */
	backoffMs: 500,
	downloads: 5,
	unpackMs: 1_800_000,
	stopMs: 10_000,
} as const;

/** For a pull that comes while the work of a cancelled one is being stopped. */
const justStopped: Refusal = { code: "Unavailable", problem: "its download was being cancelled, ask again" };

const orders = setup({
	types: {
		input: {} as LayerInput,
		context: {} as LayerContext,
		events: {} as Request | LayerFact | KernelFact,
	},
	guards: {
		isDeadline: ({ event }, { name }: { name: string }) => event.type === "deadline.passed" && event.name === name,
		isLastWanter: ({ context, event }) =>
			event.type === "request.cancelled" && context.wanted.length === 1 && context.wanted[0] === event.request,
		mayTryAgain: ({ context, event }) =>
			(event.type !== "fetch.broke" || event.retry) && context.failures + 1 < layerLimits.downloads,
		blobIsEnough: ({ context }) => !context.unpack,
		isOtherContent: ({ context, event }) => event.type === "layer.unpacked" && event.diffId !== context.diffId,
	},
	actions: {
		...kernelEffects,
		lookForLayer: effect(),
		/** Streams the blob from `offset` into the content store and, beside it, into the extraction. */
		fetchBlob: effect<{ offset: number }>(),
		/**
		 * Starts the extraction of a blob that is on disk, or goes on with the one that ran beside the download. Only now is its
		 * success told (`layer.unpacked`); its failure is told at once.
		 */
		unpackBlob: effect(),
		abandonDownload: effect(),
		/** Stops the download and the extraction; answered by `work.stopped`. */
		stopWork: effect(),
		addWanter: assign({
			wanted: ({ context, event }) => (event.type === "want" ? [...context.wanted, event.request] : context.wanted),
		}),
		forgetWanter: assign({
			wanted: ({ context, event }) =>
				event.type === "request.cancelled"
					? context.wanted.filter((request) => request !== event.request)
					: context.wanted,
		}),
		noteOffset: assign(({ event }) => ("offset" in event ? { offset: event.offset } : {})),
		noteProgress: assign({ failures: 0 }),
		noteFailure: assign({ failures: ({ context }) => context.failures + 1 }),
		noteRefusal: assign((_, refusal: Refusal) => ({ refusal: { code: refusal.code, problem: refusal.problem } })),
	},
});

const replyToAll = orders.enqueueActions(({ context, enqueue }) => {
	for (const request of context.wanted) enqueue({ type: "reply", params: { request } });
});
const refuseAll = orders.enqueueActions(({ context, enqueue }) => {
	const { code, problem } = context.refusal ?? justStopped;
	for (const request of context.wanted) enqueue({ type: "refuse", params: { request, code, problem } });
});

/**
 * One layer, fetched and unpacked once however many pulls want it. Extraction runs beside the download and needs no other
 * layer. The actor ends with its answer; the next pull's actor finds the layer present.
 */
export const layerMachine = orders.extend({ actions: { replyToAll, refuseAll } }).createMachine({
	id: "layer",
	initial: "new",
	context: ({ input }) => ({ ...input, wanted: [], offset: 0, failures: 0 }),
	on: {
		want: { actions: "addWanter" },
		"request.cancelled": [
			{ guard: "isLastWanter", target: ".stopping", actions: "forgetWanter" },
			{ actions: "forgetWanter" },
		],
		"unpack.failed": {
			target: ".failing",
			actions: { type: "noteRefusal", params: ({ event }) => event },
		},
	},
	states: {
		new: { on: { want: { target: "looking", actions: "addWanter" } } },
		looking: {
			entry: ["lookForLayer", { type: "setDeadline", params: { name: "look", ms: layerLimits.lookMs } }],
			exit: { type: "clearDeadline", params: { name: "look" } },
			on: {
				"layer.present": "ready",
				"blob.present": [{ guard: "blobIsEnough", target: "ready" }, { target: "unpacking" }],
				"blob.missing": { target: "fetching", actions: "noteOffset" },
				"deadline.passed": {
					guard: { type: "isDeadline", params: { name: "look" } },
					target: "failing",
					actions: {
						type: "noteRefusal",
						params: { code: "DeadlineExceeded", problem: "the content store did not answer" },
					},
				},
			},
		},
		fetching: {
			entry: [
				{ type: "fetchBlob", params: ({ context }) => ({ offset: context.offset }) },
				{ type: "setDeadline", params: { name: "stall", ms: layerLimits.stallMs } },
			],
			exit: { type: "clearDeadline", params: { name: "stall" } },
			on: {
				"bytes.arrived": {
					actions: [
						"noteOffset",
						"noteProgress",
						{ type: "setDeadline", params: { name: "stall", ms: layerLimits.stallMs } },
					],
				},
				"blob.committed": [{ guard: "blobIsEnough", target: "ready" }, { target: "unpacking" }],
				"fetch.broke": [
					{ guard: "mayTryAgain", target: "backoff", actions: ["noteOffset", "noteFailure"] },
					{ target: "failing", actions: { type: "noteRefusal", params: ({ event }) => event } },
				],
				"deadline.passed": [
					{
						guard: { type: "isDeadline", params: { name: "stall" } },
						target: "stalled",
					},
				],
			},
		},
		/** Nothing arrives: the connection is closed; what its end reports decides how to go on. */
		stalled: {
			entry: ["abandonDownload", { type: "setDeadline", params: { name: "abandon", ms: layerLimits.stopMs } }],
			exit: { type: "clearDeadline", params: { name: "abandon" } },
			on: {
				"blob.committed": [{ guard: "blobIsEnough", target: "ready" }, { target: "unpacking" }],
				"fetch.broke": [
					{ guard: "mayTryAgain", target: "backoff", actions: ["noteOffset", "noteFailure"] },
					{ target: "failing", actions: { type: "noteRefusal", params: ({ event }) => event } },
				],
				"deadline.passed": {
					guard: { type: "isDeadline", params: { name: "abandon" } },
					target: "failing",
					actions: {
						type: "noteRefusal",
						params: { code: "DeadlineExceeded", problem: "the download stalled and could not be stopped" },
					},
				},
			},
		},
		backoff: {
			entry: {
				type: "setDeadline",
				params: ({ context }) => ({ name: "backoff", ms: layerLimits.backoffMs * 2 ** (context.failures - 1) }),
			},
			exit: { type: "clearDeadline", params: { name: "backoff" } },
			on: { "deadline.passed": { guard: { type: "isDeadline", params: { name: "backoff" } }, target: "fetching" } },
		},
		unpacking: {
			entry: ["unpackBlob", { type: "setDeadline", params: { name: "unpack", ms: layerLimits.unpackMs } }],
			exit: { type: "clearDeadline", params: { name: "unpack" } },
			on: {
				"layer.unpacked": [
					{
						guard: "isOtherContent",
						target: "failing",
						actions: {
							type: "noteRefusal",
							params: ({ context, event }) => ({
								code: "FailedPrecondition",
								problem: `unpacked to ${event.diffId}, the image says ${context.diffId}`,
							}),
						},
					},
					{ target: "ready" },
				],
				"deadline.passed": {
					guard: { type: "isDeadline", params: { name: "unpack" } },
					target: "failing",
					actions: { type: "noteRefusal", params: { code: "DeadlineExceeded", problem: "unpacking took too long" } },
				},
			},
		},
		/** What runs is stopped before anyone hears of the failure: the next try starts on clean ground. */
		failing: {
			entry: ["stopWork", { type: "setDeadline", params: { name: "stop", ms: layerLimits.stopMs } }],
			exit: { type: "clearDeadline", params: { name: "stop" } },
			on: {
				"unpack.failed": {},
				"request.cancelled": { actions: "forgetWanter" },
				"work.stopped": "failed",
				"deadline.passed": { guard: { type: "isDeadline", params: { name: "stop" } }, target: "failed" },
			},
		},
		/** The last pull that wanted it was cancelled. One that comes now is refused and may try again. */
		stopping: {
			entry: ["stopWork", { type: "setDeadline", params: { name: "stop", ms: layerLimits.stopMs } }],
			exit: { type: "clearDeadline", params: { name: "stop" } },
			on: {
				"unpack.failed": {},
				"request.cancelled": { actions: "forgetWanter" },
				"work.stopped": "failed",
				"deadline.passed": { guard: { type: "isDeadline", params: { name: "stop" } }, target: "failed" },
			},
		},
		ready: { type: "final", entry: "replyToAll" },
		failed: { type: "final", entry: "refuseAll" },
	},
});
