import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Platform } from "../content/descriptor.ts";
import { formatPlatform, parsePlatform, pickPlatform, runnablePlatforms } from "./platform.ts";

describe("platforms", () => {
	const spellings = [
		["linux/x86_64", "linux/amd64"],
		["aarch64", "linux/arm64"],
		["linux/arm64/v8", "linux/arm64"],
		["linux/arm", "linux/arm/v7"],
		["linux/armel", "linux/arm/v6"],
		["linux/arm/6", "linux/arm/v6"],
		["Linux/AMD64/v1", "linux/amd64"],
		["linux/riscv64", "linux/riscv64"],
	] as const;
	for (const [text, canonical] of spellings)
		test(`${text} is ${canonical}`, () => assert.equal(formatPlatform(parsePlatform(text)), canonical));

	test("what is no platform is InvalidArgument", () => {
		for (const bad of ["", "linux/", "a/b/c/d", "linux/am d64"])
			assert.throws(() => parsePlatform(bad), /not a platform/);
	});

	const runs = [
		["linux/amd64", "linux/amd64 linux/386"],
		["linux/amd64/v3", "linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386"],
		["linux/arm/v7", "linux/arm/v7 linux/arm/v6 linux/arm/v5"],
		["linux/arm64", "linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"],
		["linux/s390x", "linux/s390x"],
	] as const;
	for (const [host, list] of runs)
		test(`${host} runs ${list}`, () =>
			assert.equal(runnablePlatforms(parsePlatform(host)).map(formatPlatform).join(" "), list));

	const index = ["linux/arm/v6", "linux/arm64/v8", "linux/amd64", "linux/arm/v7"].map((text) => {
		const [os = "", architecture = "", variant] = text.split("/");
		return { text, platform: { os, architecture, variant } };
	});
	const picks = [
		["linux/amd64", "linux/amd64"],
		["linux/arm64", "linux/arm64/v8"],
		["linux/arm/v8", "linux/arm/v7"],
		["linux/arm/v6", "linux/arm/v6"],
		["linux/ppc64le", undefined],
	] as const;
	for (const [host, picked] of picks)
		test(`of an index ${host} gets ${picked ?? "nothing"}`, () =>
			assert.equal(pickPlatform(index, parsePlatform(host))?.text, picked));

	test("an entry without a platform is the last resort", () => {
		const any: { text: string; platform?: Platform } = { text: "any" };
		assert.equal(pickPlatform([any, ...index], parsePlatform("linux/amd64"))?.text, "linux/amd64");
		assert.equal(pickPlatform([any, ...index], parsePlatform("linux/s390x"))?.text, "any");
	});
});
