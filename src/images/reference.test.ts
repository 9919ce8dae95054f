import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { DaemonError } from "../errors/daemon-error.ts";
import { formatReference, normalizeReference, parseReference } from "./reference.ts";

const hex = "0123456789abcdef".repeat(4);

describe("image references", () => {
	const short: readonly (readonly [typed: string, full: string])[] = [
		["alpine", "docker.io/library/alpine:latest"],
		["alpine:3.20", "docker.io/library/alpine:3.20"],
		["bitnami/redis", "docker.io/bitnami/redis:latest"],
		["docker.io/alpine", "docker.io/library/alpine:latest"],
		["index.docker.io/alpine", "docker.io/library/alpine:latest"],
		["localhost/alpine", "localhost/alpine:latest"],
		["localhost:5000/a/b:c", "localhost:5000/a/b:c"],
		["[::1]:5000/a", "[::1]:5000/a:latest"],
		["quay.io/a__b/c-d--e.f", "quay.io/a__b/c-d--e.f:latest"],
		["Registry/a", "Registry/a:latest"],
		[`alpine@sha256:${hex}`, `docker.io/library/alpine@sha256:${hex}`],
		[`ghcr.io/a/b:v1@sha256:${hex}`, `ghcr.io/a/b:v1@sha256:${hex}`],
	];
	for (const [typed, full] of short)
		test(`${typed} means ${full}`, () => assert.equal(formatReference(normalizeReference(typed)), full));

	const bad = [
		"",
		"/",
		"alpine:",
		"a//b",
		"quay.io/",
		"UPPER",
		"a:b:c",
		"a@sha256:12",
		"a b",
		hex,
		"quay.io/a/../b",
		"-a",
	];
	for (const name of bad)
		test(`${JSON.stringify(name)} is no name`, () => {
			for (const parse of [normalizeReference, parseReference])
				assert.throws(
					() => parse(name),
					(error: unknown) => error instanceof DaemonError && error.code === "InvalidArgument",
				);
		});

	test("a full name needs a host, which need not look like one", () => {
		assert.throws(() => parseReference("alpine:latest"), /begins with a registry host/);
		assert.deepEqual(parseReference("registry/alpine"), { host: "registry", repository: "alpine" });
	});

	test("a name of 255 characters is taken, a longer one is not", () => {
		assert.equal(normalizeReference(`a.b/${"x".repeat(255)}`).repository.length, 255);
		assert.throws(() => normalizeReference(`a.b/${"x".repeat(256)}`), /longer/);
	});

	const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
	const anyReference = fc.record(
		{
			host: fc.constantFrom("docker.io", "localhost:5000", "quay.io", "10.0.0.1:80", "[fe80::1]:5000"),
			repository: fc
				.array(
					fc.tuple(word, fc.constantFrom(".", "_", "__", "-", "---"), word).map((p) => p.join("")),
					{
						minLength: 2,
						maxLength: 4,
					},
				)
				.map((parts) => parts.join("/")),
			tag: fc.stringMatching(/^\w[\w.-]{0,20}$/),
			digest: fc.stringMatching(/^[0-9a-f]{64}$/).map((digits) => `sha256:${digits}`),
		},
		{ requiredKeys: ["host", "repository"] },
	);

	test("what is formatted reads back the same, both ways", () => {
		fc.assert(
			fc.property(anyReference, (reference) => {
				const full = formatReference(reference);
				assert.deepEqual(parseReference(full), { ...reference });
				const tagged = reference.tag ?? reference.digest;
				assert.equal(formatReference(normalizeReference(full)), tagged === undefined ? `${full}:latest` : full);
			}),
		);
	});

	test("any text is a name or InvalidArgument, never another error", () => {
		fc.assert(
			fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9./:@_-]{0,40}$/)), (text) => {
				try {
					const full = formatReference(normalizeReference(text));
					assert.equal(formatReference(parseReference(full)), full);
				} catch (error) {
					assert.ok(error instanceof DaemonError && error.code === "InvalidArgument", String(error));
				}
			}),
		);
	});
});
