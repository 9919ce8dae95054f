import { assign, setup } from "xstate";
import { effect, type KernelFact, kernelEffects, type Refusal } from "./effect.ts";

export interface PullInput {
	/** The reference as the caller wrote it, normalised. */
	reference: string;
	/** False to fetch content only (no snapshots). */
	unpack: boolean;
}

/** A layer of the image, in the order of its manifest. */
export interface PullLayer {
	digest: string;
	diffId: string;
	chainId: string;
}

export interface PullContext extends PullInput {
	/** Open `pull` requests: whoever waits for this image. */
	wanted: readonly string[];
	/** Digest of what the reference names (index or manifest). */
	target: string;
	layers: readonly PullLayer[];
	/** Layers whose content is here (and extracted); they come in any order. */
	arrived: readonly boolean[];
	/** How many snapshots are committed; layer N is committed onto N-1. */
	committed: number;
	refusal?: Refusal;
}

type Request = { type: "pull"; request: string };

export type PullFact =
	| { type: "reference.resolved"; target: string }
	/** Index, manifest and config are in the content store and carry their GC labels. */
	| { type: "manifest.fetched"; layers: readonly PullLayer[] }
	/** Some layer moves; told about once a second. */
	| { type: "layer.progressed" }
	| { type: "layer.arrived"; index: number }
	| { type: "snapshot.committed"; index: number }
	| { type: "image.recorded" }
	| { type: "work.stopped" }
	| ({ type: "pull.failed" } & Refusal);

export const pullLimits = {
	resolveMs: 60_000,
	manifestMs: 120_000,
	/** Longer than a layer's own patience: this one only notices a layer that fell silent. */
	layersMs: 1_800_000,
	commitMs: 300_000,
	recordMs: 30_000,
	stopMs: 15_000,
} as const;

const tooLate = (what: string): Refusal => ({ code: "DeadlineExceeded", problem: `${what} took too long` });
const justStopped: Refusal = { code: "Unavailable", problem: "a cancelled pull was being stopped, ask again" };

const orders = setup({
	types: {
		input: {} as PullInput,
		context: {} as PullContext,
		events: {} as Request | PullFact | KernelFact,
	},
	guards: {
		isDeadline: ({ event }, { name }: { name: string }) => event.type === "deadline.passed" && event.name === name,
		isLastWanter: ({ context, event }) =>
			event.type === "request.cancelled" && context.wanted.length === 1 && context.wanted[0] === event.request,
		nextHasArrived: ({ context }) => context.unpack && context.arrived[context.committed] === true,
		isComplete: ({ context }) =>
			context.unpack ? context.committed === context.layers.length : context.arrived.every((arrived) => arrived),
	},
	actions: {
		...kernelEffects,
		resolveReference: effect(),
		fetchManifest: effect<{ target: string }>(),
		/** Asks for every layer at once; how many run side by side is the layers' own business. */
		wantLayers: effect<{ layers: readonly PullLayer[] }>(),
		commitSnapshot: effect<{ index: number }>(),
		recordImage: effect<{ target: string }>(),
		/** Takes back what was asked of registry and layers; answered by `work.stopped`. */
		stopWork: effect(),
		addWanter: assign({
			wanted: ({ context, event }) => (event.type === "pull" ? [...context.wanted, event.request] : context.wanted),
		}),
		forgetWanter: assign({
			wanted: ({ context, event }) =>
				event.type === "request.cancelled"
					? context.wanted.filter((request) => request !== event.request)
					: context.wanted,
		}),
		noteTarget: assign((_, { target }: { target: string }) => ({ target })),
		noteLayers: assign((_, { layers }: { layers: readonly PullLayer[] }) => ({
			layers,
			arrived: layers.map(() => false),
		})),
		noteArrival: assign(({ context }, { index }: { index: number }) => ({
			arrived: context.arrived.map((arrived, at) => arrived || at === index),
		})),
		noteCommit: assign((_, { index }: { index: number }) => ({ committed: index + 1 })),
		noteRefusal: assign((_, refusal: Refusal) => ({ refusal: { code: refusal.code, problem: refusal.problem } })),
	},
});

const replyToAll = orders.enqueueActions(({ context, enqueue }) => {
	const value = { target: context.target };
	for (const request of context.wanted) enqueue({ type: "reply", params: { request, value } });
});
const refuseAll = orders.enqueueActions(({ context, enqueue }) => {
	const { code, problem } = context.refusal ?? justStopped;
	for (const request of context.wanted) enqueue({ type: "refuse", params: { request, code, problem } });
});

/** One image from a registry: resolve, manifest, layers side by side, snapshots in order, image record. */
export const pullMachine = orders.extend({ actions: { replyToAll, refuseAll } }).createMachine({
	id: "pull",
	initial: "new",
	context: ({ input }) => ({ ...input, wanted: [], target: "", layers: [], arrived: [], committed: 0 }),
	on: {
		pull: { actions: "addWanter" },
		"request.cancelled": [
			{ guard: "isLastWanter", target: ".stopping", actions: "forgetWanter" },
			{ actions: "forgetWanter" },
		],
		"pull.failed": { target: ".stopping", actions: { type: "noteRefusal", params: ({ event }) => event } },
	},
	states: {
		new: { on: { pull: { target: "resolving", actions: "addWanter" } } },
		resolving: {
			entry: ["resolveReference", { type: "setDeadline", params: { name: "resolve", ms: pullLimits.resolveMs } }],
			exit: { type: "clearDeadline", params: { name: "resolve" } },
			on: {
				"reference.resolved": {
					target: "manifest",
					actions: { type: "noteTarget", params: ({ event }) => event },
				},
				"deadline.passed": {
					guard: { type: "isDeadline", params: { name: "resolve" } },
					target: "stopping",
					actions: { type: "noteRefusal", params: tooLate("resolving the reference") },
				},
			},
		},
		manifest: {
			entry: [
				{ type: "fetchManifest", params: ({ context }) => ({ target: context.target }) },
				{ type: "setDeadline", params: { name: "manifest", ms: pullLimits.manifestMs } },
			],
			exit: { type: "clearDeadline", params: { name: "manifest" } },
			on: {
				"manifest.fetched": {
					target: "layers",
					actions: { type: "noteLayers", params: ({ event }) => event },
				},
				"deadline.passed": {
					guard: { type: "isDeadline", params: { name: "manifest" } },
					target: "stopping",
					actions: { type: "noteRefusal", params: tooLate("fetching the manifest") },
				},
			},
		},
		layers: {
			entry: { type: "wantLayers", params: ({ context }) => ({ layers: context.layers }) },
			initial: "awaiting",
			on: {
				"layer.arrived": { actions: { type: "noteArrival", params: ({ event }) => event } },
				"layer.progressed": {},
			},
			states: {
				/** The next layer in the chain is not here yet; later ones may be. */
				awaiting: {
					entry: { type: "setDeadline", params: { name: "layers", ms: pullLimits.layersMs } },
					exit: { type: "clearDeadline", params: { name: "layers" } },
					always: [
						{ guard: "isComplete", target: "#pull.recording" },
						{ guard: "nextHasArrived", target: "committing" },
					],
					on: {
						"layer.progressed": {
							actions: { type: "setDeadline", params: { name: "layers", ms: pullLimits.layersMs } },
						},
						"deadline.passed": {
							guard: { type: "isDeadline", params: { name: "layers" } },
							target: "#pull.stopping",
							actions: { type: "noteRefusal", params: tooLate("a layer") },
						},
					},
				},
				committing: {
					entry: [
						{ type: "commitSnapshot", params: ({ context }) => ({ index: context.committed }) },
						{ type: "setDeadline", params: { name: "commit", ms: pullLimits.commitMs } },
					],
					exit: { type: "clearDeadline", params: { name: "commit" } },
					on: {
						"snapshot.committed": {
							target: "awaiting",
							actions: { type: "noteCommit", params: ({ event }) => event },
						},
						"deadline.passed": {
							guard: { type: "isDeadline", params: { name: "commit" } },
							target: "#pull.stopping",
							actions: { type: "noteRefusal", params: tooLate("committing a snapshot") },
						},
					},
				},
			},
		},
		recording: {
			entry: [
				{ type: "recordImage", params: ({ context }) => ({ target: context.target }) },
				{ type: "setDeadline", params: { name: "record", ms: pullLimits.recordMs } },
			],
			exit: { type: "clearDeadline", params: { name: "record" } },
			on: {
				"image.recorded": "done",
				"deadline.passed": {
					guard: { type: "isDeadline", params: { name: "record" } },
					target: "stopping",
					actions: { type: "noteRefusal", params: tooLate("recording the image") },
				},
			},
		},
		/** It failed, or the last one who wanted it left. Blobs and ingests stay: the next pull goes on from there. */
		stopping: {
			entry: ["stopWork", { type: "setDeadline", params: { name: "stop", ms: pullLimits.stopMs } }],
			exit: { type: "clearDeadline", params: { name: "stop" } },
			on: {
				"pull.failed": {},
				"request.cancelled": { actions: "forgetWanter" },
				"work.stopped": "failed",
				"deadline.passed": { guard: { type: "isDeadline", params: { name: "stop" } }, target: "failed" },
			},
		},
		done: { type: "final", entry: "replyToAll" },
		failed: { type: "final", entry: "refuseAll" },
	},
});
