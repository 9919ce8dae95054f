import type { IngestStatus } from "../../content/content-store.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import {
	WriteAction,
	type WriteContentRequest,
	type WriteContentResponse,
} from "../../gen/containerd/services/content/v1/content.ts";
import type { NamespacedContent } from "../../metadata/content.ts";
import type { NamespacedWriter } from "../../metadata/namespaced-writer.ts";
import type { Scope } from "../../metadata/scope.ts";
import { count } from "../wire.ts";
import { dateToTimestamp } from "./content-wire.ts";

/**
 * One Write call: an ingest from its opening to its commit (containerd: contentserver.go, as of 2.3). Each message gets one
 * answer with its action and the offset reached; the call ends after a commit. A call that breaks off leaves the ingest as
 * it is: the next one with the same ref goes on at its offset.
 */
export async function* writeSession(
	content: NamespacedContent,
	scope: Scope & { readonly signal: AbortSignal },
	requests: AsyncIterable<WriteContentRequest>,
): AsyncGenerator<WriteContentResponse, void, undefined> {
	let session: WriteSession | undefined;
	try {
		for await (const request of requests) {
			session ??= await WriteSession.open(content, scope, request);
			yield await session.take(request);
			if (request.action === WriteAction.COMMIT) return;
		}
	} finally {
		await session?.close();
	}
}

class WriteSession {
	readonly #content: NamespacedContent;
	readonly #scope: Scope;
	readonly #writer: NamespacedWriter;
	/** Bytes and digest that the commit must have; later messages may set them anew. 0 and empty for unknown. */
	#total = 0;
	#expected = "";

	private constructor(content: NamespacedContent, scope: Scope, writer: NamespacedWriter) {
		this.#content = content;
		this.#scope = scope;
		this.#writer = writer;
	}

	/** Locks the ref for this call. Errors: InvalidArgument; AlreadyExists (the blob); Unavailable (another writer). */
	static async open(
		content: NamespacedContent,
		scope: Scope & { readonly signal: AbortSignal },
		{ ref, total, expected }: WriteContentRequest,
	): Promise<WriteSession> {
		if (ref === "")
			throw new DaemonError("InvalidArgument", { kind: "ingest", id: "" }, "first message must have a reference");
		const writer = await content.writer(scope, ref, {
			total: count(total, "ingest", "total"),
			...(expected === "" ? {} : { expected }),
			signal: scope.signal,
		});
		return new WriteSession(content, scope, writer);
	}

	async take(request: WriteContentRequest): Promise<WriteContentResponse> {
		await this.#plan(request);
		switch (request.action) {
			case WriteAction.STAT:
				return this.#answer(request.action, this.#writer.status());
			case WriteAction.WRITE:
			case WriteAction.COMMIT: {
				await this.#write(request);
				const { digest, offset } = { digest: this.#writer.digest(), offset: BigInt(this.#writer.offset) };
				if (request.action === WriteAction.COMMIT) await this.#commit(request);
				const { action } = request;
				return { action, offset, digest, startedAt: undefined, updatedAt: undefined, total: 0n };
			}
			default:
				throw this.#problem("InvalidArgument", `unknown write action ${request.action}`);
		}
	}

	close(): Promise<void> {
		return this.#writer.close();
	}

	/** Any message may say what the blob is to be; if it is there already, the ingest is of no more use. */
	async #plan({ expected, total }: WriteContentRequest): Promise<void> {
		if (expected !== "") {
			this.#expected = expected;
			if (this.#has(expected)) {
				await this.#writer.discard();
				throw this.#problem("AlreadyExists", `blob with expected digest ${expected} exists`);
			}
		}
		if (total > 0n) this.#total = count(total, "ingest", "total");
	}

	async #write({ offset, data }: WriteContentRequest): Promise<void> {
		const at = this.#writer.offset;
		if (offset < 0n || (offset > 0n && offset !== BigInt(at)))
			throw this.#problem("OutOfRange", `write @${offset} must occur at current offset ${at}`);
		// 0 means "from the start": what is there goes, also with a commit
		if (offset === 0n && at > 0) await this.#writer.truncate(0);
		if (data.length > 0) await this.#writer.write(data);
	}

	async #commit({ labels }: WriteContentRequest): Promise<void> {
		await this.#writer.commit({
			labels,
			...(this.#total === 0 ? {} : { size: this.#total }),
			...(this.#expected === "" ? {} : { expected: this.#expected }),
		});
	}

	#answer(action: WriteAction, { offset, startedAt, updatedAt }: IngestStatus): WriteContentResponse {
		return {
			action,
			offset: BigInt(offset),
			total: BigInt(this.#total),
			digest: this.#writer.digest(),
			startedAt: dateToTimestamp(startedAt),
			updatedAt: dateToTimestamp(updatedAt),
		};
	}

	#has(digest: string): boolean {
		try {
			this.#content.info(this.#scope.namespace, digest);
			return true;
		} catch (reason) {
			if (reason instanceof DaemonError && reason.code === "NotFound") return false;
			throw reason;
		}
	}

	#problem(code: "InvalidArgument" | "AlreadyExists" | "OutOfRange", problem: string): DaemonError {
		const { namespace } = this.#scope;
		return new DaemonError(code, { kind: "ingest", namespace, id: this.#writer.ref }, problem);
	}
}
