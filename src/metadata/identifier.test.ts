import assert from "node:assert/strict";
import { it } from "node:test";
import { identifier, identifierLimit } from "./identifier.ts";

for (const good of ["a", "A9", "a.b-c_d", "k8s.io", "a".repeat(identifierLimit)])
	it(`"${good}" is an identifier`, () => assert.equal(identifier("container", good), good));

for (const bad of ["", ".a", "a.", "a..b", "a/b", "a b", "é", "-a", "a_-b", "a\n", "a".repeat(identifierLimit + 1)])
	it(`${JSON.stringify(bad)} is refused`, () =>
		assert.throws(() => identifier("container", bad), { code: "InvalidArgument" }));
