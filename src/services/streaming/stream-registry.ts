import { DaemonError } from "../../errors/daemon-error.ts";
import type { AnyValue } from "../wire.ts";

/** One side of a stream that a client opened by id and that another call (a transfer) uses. */
export interface NamedStream {
	readonly id: string;
	/** Resolves when the client has taken the value; rejects with Unavailable once the client is gone. */
	send(value: AnyValue): Promise<void>;
	/** The next value from the client; undefined once it has said that no more come. */
	receive(): Promise<AnyValue | undefined>;
	/** Ends the stream; the client sees its end after what was sent. */
	close(): void;
}

/** Streams by namespace and id, from the moment the client has opened one until either side ends it. */
export class StreamRegistry {
	readonly #streams = new Map<string, OpenStream>();

	/** AlreadyExists if the id is taken; InvalidArgument if it is empty. */
	open(namespace: string, id: string, incoming: AsyncIterator<AnyValue>): OpenStream {
		const identity = { kind: "stream", namespace, id };
		if (id === "") throw new DaemonError("InvalidArgument", identity, "the first message must name the stream");
		const key = `${namespace}/${id}`;
		if (this.#streams.has(key)) throw new DaemonError("AlreadyExists", identity, "already exists");
		const stream = new OpenStream(namespace, id, incoming, () => this.#streams.delete(key));
		this.#streams.set(key, stream);
		return stream;
	}

	/** NotFound if no client has such a stream open. */
	get(namespace: string, id: string): NamedStream {
		const stream = this.#streams.get(`${namespace}/${id}`);
		if (stream === undefined) throw new DaemonError("NotFound", { kind: "stream", namespace, id }, "not found");
		return stream;
	}
}

interface Parcel {
	readonly value: AnyValue;
	taken(): void;
	lost(error: DaemonError): void;
}

/** At most {@link parcelLimit} values wait for a slow client; whoever sends more is refused. */
const parcelLimit = 256;

export class OpenStream implements NamedStream {
	readonly id: string;
	readonly #namespace: string;
	readonly #incoming: AsyncIterator<AnyValue>;
	readonly #forget: () => void;
	readonly #parcels: Parcel[] = [];
	#ended = false;
	#wake: (() => void) | undefined;

	constructor(namespace: string, id: string, incoming: AsyncIterator<AnyValue>, forget: () => void) {
		this.id = id;
		this.#namespace = namespace;
		this.#incoming = incoming;
		this.#forget = forget;
	}

	send(value: AnyValue): Promise<void> {
		if (this.#ended) return Promise.reject(this.#gone());
		if (this.#parcels.length >= parcelLimit) {
			const identity = { kind: "stream", namespace: this.#namespace, id: this.id };
			return Promise.reject(new DaemonError("ResourceExhausted", identity, "the client does not read"));
		}
		return new Promise((taken, lost) => {
			this.#parcels.push({ value, taken, lost });
			this.#wake?.();
		});
	}

	async receive(): Promise<AnyValue | undefined> {
		const { done, value } = await this.#incoming.next();
		return done === true ? undefined : value;
	}

	close(): void {
		this.#ended = true;
		this.#forget();
		this.#wake?.();
	}

	/** What was sent, in order, until the stream is closed or the signal says that the client is gone. */
	async *outgoing(signal: AbortSignal): AsyncGenerator<AnyValue, void, undefined> {
		const wake = (): void => this.#wake?.();
		signal.addEventListener("abort", wake);
		try {
			while (!signal.aborted) {
				const parcel = this.#parcels.shift();
				if (parcel !== undefined) {
					parcel.taken();
					yield parcel.value;
				} else if (this.#ended) return;
				else
					await new Promise<void>((resolve) => {
						this.#wake = resolve;
					});
			}
		} finally {
			signal.removeEventListener("abort", wake);
			this.close();
			for (const parcel of this.#parcels.splice(0)) parcel.lost(this.#gone());
		}
	}

	#gone(): DaemonError {
		return new DaemonError("Unavailable", { kind: "stream", namespace: this.#namespace, id: this.id }, "has ended");
	}
}
