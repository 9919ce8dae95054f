import type { ChildExit } from "../src/sys/child-exit.ts";
import type { Entry, ExitJournal } from "./exit-journal.ts";

/** Exits of processes of which nobody knows yet whose they are. Who reaps them is the last who can tell. */
export interface Strays {
	/** Before it is reaped: durable when this returns. */
	keep(exit: ChildExit): void;
	/** It has an owner, or never will have one. */
	drop(pid: number): void;
}

/** Strays as entries of the process's exit journal, for whoever inherits that. */
export class StrayJournal implements Strays {
	readonly #journal: ExitJournal;
	readonly #entries = new Map<number, number>();

	constructor(journal: ExitJournal) {
		this.#journal = journal;
		for (const { seq, fact } of journal.pending) if (fact.kind === "stray") this.#entries.set(fact.pid, seq);
	}

	keep({ pid, status }: ChildExit): void {
		this.drop(pid);
		const [entry] = this.#journal.append([{ kind: "stray", pid, status }]);
		if (entry !== undefined) this.#entries.set(pid, entry.seq);
	}

	drop(pid: number): void {
		const seq = this.#entries.get(pid);
		if (seq === undefined) return;
		this.#entries.delete(pid);
		this.#journal.acknowledge(seq);
	}
}

export const straysIn = (entries: readonly Entry[]): readonly ChildExit[] =>
	entries.flatMap(({ fact }) => (fact.kind === "stray" ? { pid: fact.pid, status: fact.status } : []));
