import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import type { Value } from "./store.ts";
import { stored } from "./value.ts";
import { decodeValue, encodeValue } from "./value-codec.ts";

const { value } = fc.letrec<{ value: Value }>((tie) => ({
	value: fc.oneof(
		{ maxDepth: 4 },
		fc.constant(null),
		fc.boolean(),
		fc.double({ noNaN: true, noDefaultInfinity: true }),
		fc.string(),
		fc.bigInt(),
		fc.uint8Array({ maxLength: 40 }),
		fc.array(tie("value"), { maxLength: 4 }),
		fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("$b", "$n", "$$n", "__proto__")), tie("value"), { maxKeys: 4 }),
	),
}));

it("any value comes back from the disk as it was stored", () => {
	fc.assert(
		fc.property(value, (given) => {
			const kept = stored(given);
			assert.deepEqual(decodeValue(encodeValue(kept)), kept);
		}),
	);
});

it("a slice of a large buffer is stored without the buffer", () => {
	const large = Buffer.alloc(1 << 20);
	const kept = stored(large.subarray(10, 12)) as Uint8Array;
	assert.equal(kept.buffer.byteLength, 2);
});

it("parts of a stored value are shared by the next version of it", () => {
	const first = stored({ labels: { a: "1" }, size: 1 }) as { readonly labels: Value };
	const second = stored({ ...first, size: 2 }) as { readonly labels: Value };
	assert.equal(second.labels, first.labels);
});
