import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FieldPaths } from "./field-mask.ts";
import type { Labels } from "./labels.ts";

/** One labelled object of any kind. */
export interface LabelledFixture {
	labels(): Labels;
	update(labels: Labels, paths?: FieldPaths): Promise<unknown>;
}

/** What clients rely on for labels of images, content, containers, snapshots and namespaces alike. */
export function labelContract(kind: string, make: (labels: Labels) => Promise<LabelledFixture>, wholeSet = true): void {
	describe(`labels: ${kind}`, () => {
		it("an empty value is not stored", async () => {
			assert.deepEqual((await make({ a: "1", b: "" })).labels(), { a: "1" });
		});

		it("labels.X in the mask with an empty value removes one label, dots in the key or not", async () => {
			const fixture = await make({ a: "1", "containerd.io/gc.root": "x", b: "2" });
			await fixture.update({ b: "3" }, ["labels.containerd.io/gc.root", "labels.b"]);
			assert.deepEqual(fixture.labels(), { a: "1", b: "3" });
		});

		it("without a mask all labels are replaced", async () => {
			const fixture = await make({ a: "1", b: "2" });
			await fixture.update({ c: "3" });
			assert.deepEqual(fixture.labels(), { c: "3" });
		});

		it("a label named __proto__ is a label like others", async () => {
			const fixture = await make({ ["__proto__"]: "x" });
			await fixture.update({ a: "1" }, ["labels.a"]);
			assert.deepEqual(Object.entries(fixture.labels()), Object.entries({ ["__proto__"]: "x", a: "1" }));
		});

		it("key and value of more than 4096 bytes are refused", async () => {
			await assert.rejects(make({ key: "x".repeat(4094) }), { code: "InvalidArgument" });
			const fixture = await make({ key: "x".repeat(4093) });
			await assert.rejects(fixture.update({ é: "x".repeat(4095) }, ["labels.é"]), { code: "InvalidArgument" });
		});

		it(`the bare word "labels" in the mask ${wholeSet ? "replaces them all" : "is refused"}`, async () => {
			const fixture = await make({ a: "1" });
			const update = fixture.update({ b: "2" }, ["labels"]);
			if (!wholeSet) return assert.rejects(update, { code: "InvalidArgument" });
			await update;
			return assert.deepEqual(fixture.labels(), { b: "2" });
		});

		it("another field in the mask is refused", async () => {
			const fixture = await make({});
			await assert.rejects(fixture.update({}, ["createdat"]), { code: "InvalidArgument" });
		});
	});
}
