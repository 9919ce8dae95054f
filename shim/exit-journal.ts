import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { failedWith } from "../src/sys/sys-error.ts";
import type { Exit } from "./exit.ts";

/** A fact that must reach the daemon: an exit, or that a container ran out of memory. */
export type ReportedFact =
	| { readonly kind: "exit"; readonly namespace: string; readonly exit: Exit }
	| { readonly kind: "oom"; readonly namespace: string; readonly containerId: string; readonly at: bigint };

/** Or one that must not be lost: an exit whose owner is not known yet (see stray-journal.ts). */
export type Fact = ReportedFact | { readonly kind: "stray"; readonly pid: number; readonly status: number };

export interface Entry<F extends Fact = Fact> {
	/** Rises by one; names the entry when it is acknowledged. */
	readonly seq: number;
	readonly fact: F;
}

export const isReported = (entry: Entry): entry is Entry<ReportedFact> => entry.fact.kind !== "stray";

/** Bytes after which the file is written anew: when something waits in it, and when all is acknowledged. */
const compactAbove = 64 << 10;
const compactEmptyAbove = 4 << 10;

/**
 * The shim's own journal: a line per fact before it is reported, a line per acknowledgement. What was written is on
 * disk when `append` returns. Synchronous, as the shim may be: it lies on tmpfs or costs one fsync per batch of exits.
 */
export class ExitJournal {
	readonly #path: string;
	readonly #pending = new Map<number, Entry>();
	#descriptor: number;
	#next = 1;
	#written = 0;

	/** Opens or makes the file, and reads what is not acknowledged. */
	constructor(path: string) {
		this.#path = path;
		mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
		for (const line of readLines(path)) this.#apply(line);
		this.#descriptor = this.#rewrite();
	}

	/** What is not acknowledged yet, oldest first. */
	get pending(): readonly Entry[] {
		return [...this.#pending.values()];
	}

	append<F extends Fact>(facts: readonly F[]): readonly Entry<F>[] {
		const entries = facts.map((fact, index) => ({ seq: this.#next + index, fact }));
		this.#write(entries.map(encode).join(""));
		this.#next += entries.length;
		for (const entry of entries) this.#pending.set(entry.seq, entry);
		return entries;
	}

	/** Not synced: an acknowledgement that is lost makes the fact come twice, and readers know duplicates. */
	acknowledge(seq: number): void {
		if (!this.#pending.delete(seq)) return;
		const line = `${JSON.stringify({ ack: seq })}\n`;
		writeSync(this.#descriptor, line);
		this.#written += line.length;
		if (this.#written > (this.#pending.size === 0 ? compactEmptyAbove : compactAbove)) this.#compact();
	}

	close(): void {
		closeSync(this.#descriptor);
	}

	/** Closes it and removes the file: nothing in it is needed any more. */
	remove(): void {
		this.close();
		rmSync(this.#path, { force: true });
	}

	#write(text: string): void {
		writeSync(this.#descriptor, text);
		fsyncSync(this.#descriptor);
		this.#written += text.length;
	}

	#compact(): void {
		const old = this.#descriptor;
		this.#descriptor = this.#rewrite();
		closeSync(old);
	}

	#rewrite(): number {
		const text = this.pending.map(encode).join("");
		const next = `${this.#path}.new`;
		const descriptor = openSync(next, "w", 0o600);
		writeSync(descriptor, text);
		fsyncSync(descriptor);
		renameSync(next, this.#path);
		closeSync(descriptor);
		this.#written = text.length;
		return openSync(this.#path, "a", 0o600);
	}

	#apply(line: string): void {
		const parsed = parse(line);
		if (parsed === undefined) return;
		if ("ack" in parsed) this.#pending.delete(parsed.ack);
		else {
			this.#pending.set(parsed.seq, parsed);
			this.#next = Math.max(this.#next, parsed.seq + 1);
		}
	}
}

const encode = (entry: Entry): string =>
	`${JSON.stringify(entry, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value))}\n`;

/** A line that was being written when the machine stopped was never reported: it is not an error. */
function parse(line: string): Entry | { readonly ack: number } | undefined {
	try {
		return JSON.parse(line, (key, value: unknown) => (key === "at" ? BigInt(value as string) : value)) as Entry;
	} catch (reason) {
		if (reason instanceof SyntaxError) return undefined;
		throw reason;
	}
}

function readLines(path: string): readonly string[] {
	try {
		return readFileSync(path, "utf8")
			.split("\n")
			.filter((line) => line !== "");
	} catch (reason) {
		if (failedWith(reason, "ENOENT")) return [];
		throw reason;
	}
}
