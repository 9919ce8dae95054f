import { DaemonError } from "../errors/daemon-error.ts";

/** Something that a sweep would have removed but could not: people must be able to find out why a disk is full. */
export interface LeftOver {
	readonly kind: "content" | "ingest" | "snapshot";
	/** Its name in the backend. */
	readonly id: string;
	readonly error: DaemonError;
}

export interface Swept {
	/** Names in the backend. */
	readonly removed: readonly string[];
	readonly left: readonly LeftOver[];
}

/** Runs one removal and files its outcome. What is gone already is no left-over. */
export async function removing(
	swept: { removed: string[]; left: LeftOver[] },
	{ kind, id }: Omit<LeftOver, "error">,
	remove: () => Promise<void>,
): Promise<void> {
	try {
		await remove();
		swept.removed.push(id);
	} catch (reason) {
		const error = DaemonError.from(reason, { kind, id });
		if (error.code !== "NotFound") swept.left.push({ kind, id, error });
	}
}
