import type { PullState } from "../../../actors/images/pull-progress.ts";
import { Progress } from "../../gen/containerd/types/transfer/progress.ts";
import type { NamedStream } from "../streaming/stream-registry.ts";

const progressTypeUrl = "containerd.types.transfer.Progress";
/** Milliseconds that a client may take to read the last progress before the transfer ends without it. */
const flushMs = 2_000;

/**
 * Tells a client how far its transfer is, in containerd's words. Of each name only the latest state waits for a slow
 * client; a client that has gone away misses it, the transfer goes on.
 */
export class ProgressReport {
	readonly #stream: NamedStream | undefined;
	readonly #waiting = new Map<string, Progress>();
	readonly #told = new Map<string, string>();
	#pumping: Promise<void> | undefined;

	/** Without a stream nothing is told. */
	constructor(stream: NamedStream | undefined) {
		this.#stream = stream;
	}

	tell(progress: Partial<Progress> & { readonly event: string }): void {
		if (this.#stream === undefined) return;
		const full = { ...nothing, ...progress };
		const key = full.name === "" ? full.event : full.name;
		const state = `${full.event} ${full.progress}`;
		if (this.#told.get(key) === state) return;
		this.#told.set(key, state);
		this.#waiting.set(key, full);
		this.#pumping ??= this.#pump(this.#stream).finally(() => {
			this.#pumping = undefined;
		});
	}

	/** Layers of a pull that have moved. */
	tellPull(image: string, { layers, target }: PullState): void {
		if (target !== "") this.tell({ event: "pulling image content", name: image });
		for (const { digest, phase, offset, total } of layers)
			this.tell({
				event: phase === "done" ? "complete" : phase,
				name: `layer-${digest}`,
				parents: [image],
				progress: BigInt(offset),
				total: BigInt(total),
				desc: { mediaType: "", digest, size: BigInt(total), annotations: {} },
			});
	}

	/** Ends the stream when what was told has been sent. */
	async end(): Promise<void> {
		const late = Promise.withResolvers<void>();
		const timer = setTimeout(late.resolve, flushMs);
		await Promise.race([this.#pumping, late.promise]);
		clearTimeout(timer);
		this.#stream?.close();
	}

	async #pump(stream: NamedStream): Promise<void> {
		for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
			const [key, progress] = next;
			this.#waiting.delete(key);
			try {
				await stream.send({ typeUrl: progressTypeUrl, value: Progress.encode(progress).finish() });
			} catch {
				this.#waiting.clear(); // the client has closed its stream: it does not want to know
				return;
			}
		}
	}
}

const nothing: Progress = { event: "", name: "", parents: [], progress: 0n, total: 0n, desc: undefined };
