/**
 * Numbers that make names in a backend unique: they rise, also across restarts while the clock does. Nothing is written
 * to disk for them. If the clock is set back, a name can only meet an older one of the same namespace and key.
 */
export function sequence(nowMs: () => number = Date.now): () => number {
	let last = 0;
	return () => {
		last = Math.max(last + 1, nowMs() * 1_000);
		return last;
	};
}

/** `namespace/sequence/key` (containerd: createKey). */
export const backendName = (namespace: string, number: number, key: string): string => `${namespace}/${number}/${key}`;
