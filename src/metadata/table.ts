import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import type { Reader, Transaction, Value } from "./store/store.ts";

/** The objects of one kind, below `v1/<namespace>/<object>/<name>`. Names may hold slashes; namespaces may not. */
export class Table<T extends Value> {
	/** As errors call it. */
	readonly kind: string;
	readonly #object: string;

	constructor(kind: string, object = kind) {
		this.kind = kind;
		this.#object = object;
	}

	identity(namespace: string, id: string): ObjectIdentity {
		return { kind: this.kind, namespace, id };
	}

	get(reader: Reader, namespace: string, id: string): T | undefined {
		return reader.get(this.#key(namespace, id)) as T | undefined;
	}

	/** Errors: NotFound. */
	require(reader: Reader, namespace: string, id: string): T {
		const value = this.get(reader, namespace, id);
		if (value === undefined) throw new DaemonError("NotFound", this.identity(namespace, id), "not found");
		return value;
	}

	/** In the order of names; with `prefix`, those whose names start so. */
	list(reader: Reader, namespace: string, prefix = ""): readonly (readonly [id: string, value: T])[] {
		const start = this.#key(namespace, "");
		return Array.from(reader.entries(start + prefix), ([key, value]) => [key.slice(start.length), value as T]);
	}

	isEmpty(reader: Reader, namespace: string): boolean {
		for (const _ of reader.entries(this.#key(namespace, ""))) return false;
		return true;
	}

	put(transaction: Transaction, namespace: string, id: string, value: T): void {
		transaction.put(this.#key(namespace, id), value);
	}

	/** Errors: AlreadyExists. */
	insert(transaction: Transaction, namespace: string, id: string, value: T): void {
		if (this.get(transaction, namespace, id) !== undefined)
			throw new DaemonError("AlreadyExists", this.identity(namespace, id), "already exists");
		this.put(transaction, namespace, id, value);
	}

	/** Answers what was there. Errors: NotFound. */
	remove(transaction: Transaction, namespace: string, id: string): T {
		const value = this.require(transaction, namespace, id);
		transaction.delete(this.#key(namespace, id));
		return value;
	}

	clear(transaction: Transaction, namespace: string, prefix = ""): void {
		for (const [key] of transaction.entries(this.#key(namespace, prefix))) transaction.delete(key);
	}

	#key(namespace: string, id: string): string {
		return `v1/${namespace}/${this.#object}/${id}`;
	}
}
