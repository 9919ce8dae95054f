import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { mapField, parseFilters, textField } from "./filter.ts";

const labels = { "a.b": "x", "containerd.io/gc.root": "1", empty: "" };
const object = ([field, ...rest]: readonly string[]): string | undefined => {
	if (field === "labels") return mapField(labels, rest);
	if (field === "name") return textField("docker.io/library/alpine:3");
	return field === "unset" ? textField("") : undefined;
};

for (const [filters, matches] of [
	[[], true],
	[[""], true],
	[["name"], true],
	[["unset"], false],
	[["nonsense"], false],
	[["name==docker.io/library/alpine:3"], true],
	[["name==alpine"], false],
	[["name!=alpine"], true],
	[["nonsense!=x"], true],
	[["name~=alpine"], true],
	[["name~=^alpine"], false],
	[["name~=/library\\/alpine/"], true],
	[["name~=|busybox|"], false],
	[["name~=(?i)ALPINE"], true],
	[['labels."a.b"==x,name~=alpine'], true],
	[["labels.a.b==x"], true],
	[['labels."a.b"==y,name~=alpine'], false],
	[['labels."a.b"==y', "name~=alpine"], true],
	[['labels."containerd.io/gc.root"'], true],
	[["labels.empty"], true],
	[['name=="docker.io/library/alpine:3" , labels.a.b'], true],
	[['labels.a.b=="\\x78"'], true],
] as const)
	test(`[${filters.join(" | ")}] ${matches ? "matches" : "does not match"}`, () =>
		assert.equal(parseFilters(filters)(object), matches));

for (const text of [
	"==x",
	"name=x",
	"name==",
	"name==/x/",
	'name=="x',
	"name~=(",
	"name==x y",
	"name==x,",
	".x",
	"name~=/x",
])
	test(`"${text}" is refused`, () => assert.throws(() => parseFilters([text]), { code: "InvalidArgument" }));

test("any value can be quoted", () => {
	fc.assert(
		fc.property(fc.string({ unit: "grapheme" }), (value) =>
			parseFilters([`field==${JSON.stringify(value)}`])(() => value),
		),
	);
});
