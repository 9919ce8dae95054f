/**
 * Order of keys by their UTF-8 bytes, as RocksDB sorts them. UTF-16 order differs only where a surrogate pair meets a
 * character from U+E000 up.
 */
export function compareKeys(a: string, b: string): number {
	const length = Math.min(a.length, b.length);
	for (let i = 0; i < length; i++) {
		const x = a.charCodeAt(i);
		const y = b.charCodeAt(i);
		if (x === y) continue;
		const bothHigh = x >= 0xd800 && y >= 0xd800;
		return bothHigh ? utf8Rank(x) - utf8Rank(y) : x - y;
	}
	return a.length - b.length;
}

/** Surrogates (characters above U+FFFF) sort after the rest of the basic plane. */
const utf8Rank = (unit: number): number => (unit < 0xe000 ? unit + 0x2000 : unit - 0x800);

const chunkSize = 512;

/** A map whose keys are also kept sorted, in chunks: one pointer a key beside the hash map. */
export class OrderedMap<T> {
	readonly #values = new Map<string, T>();
	/** Sorted; never empty chunks. */
	readonly #chunks: string[][] = [];

	get size(): number {
		return this.#values.size;
	}

	get(key: string): T | undefined {
		return this.#values.get(key);
	}

	set(key: string, value: T): void {
		const fresh = !this.#values.has(key);
		this.#values.set(key, value);
		if (!fresh) return;
		const [index, chunk] = this.#chunkFor(key);
		if (chunk === undefined) {
			this.#chunks.push([key]);
			return;
		}
		chunk.splice(lowerBound(chunk, key), 0, key);
		if (chunk.length > chunkSize) this.#chunks.splice(index + 1, 0, chunk.splice(chunkSize / 2));
	}

	delete(key: string): void {
		if (!this.#values.delete(key)) return;
		const [index, chunk] = this.#chunkFor(key);
		if (chunk === undefined) return;
		chunk.splice(lowerBound(chunk, key), 1);
		if (chunk.length === 0) this.#chunks.splice(index, 1);
	}

	/** The keys with this prefix, in order, as they are now. */
	keys(prefix: string): string[] {
		const found: string[] = [];
		let [index] = this.#chunkFor(prefix);
		for (let chunk = this.#chunks[index]; chunk !== undefined; chunk = this.#chunks[++index]) {
			for (let i = lowerBound(chunk, prefix); i < chunk.length; i++) {
				const key = chunk[i] as string;
				if (!key.startsWith(prefix)) return found;
				found.push(key);
			}
		}
		return found;
	}

	/** The chunk that holds the key or would take it: the last one that does not start after it. */
	#chunkFor(key: string): [index: number, chunk: string[] | undefined] {
		let low = 0;
		let high = this.#chunks.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (compareKeys(this.#chunks[middle]?.[0] ?? "", key) <= 0) low = middle + 1;
			else high = middle;
		}
		const index = Math.max(0, low - 1);
		return [index, this.#chunks[index]];
	}
}

/** Index of the first key that is not before `key`. */
function lowerBound(keys: readonly string[], key: string): number {
	let low = 0;
	let high = keys.length;
	while (low < high) {
		const middle = (low + high) >>> 1;
		if (compareKeys(keys[middle] ?? "", key) < 0) low = middle + 1;
		else high = middle;
	}
	return low;
}
