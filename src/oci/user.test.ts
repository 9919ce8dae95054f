import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DaemonError } from "../errors/daemon-error.ts";
import { resolveUser } from "./user.ts";
import { parseGroup, parsePasswd, parseUserDatabase } from "./user-database.ts";

const database = parseUserDatabase(
	"root:x:0:0:root:/root:/bin/sh\n# a comment\n\nweb:x:101:101:web server:/var/www:/sbin/nologin\r\nbroken line\nhalf:x:7\n",
	"root:x:0:root\nwheel:x:10:root,web\nweb:x:101:\nlogs:x:200: web , adm\n",
);
const empty = parseUserDatabase(undefined, undefined);

const refusal = (text: string, from = database): DaemonError => {
	try {
		resolveUser(text, from, "docker.io/library/x:1");
	} catch (error) {
		if (error instanceof DaemonError) return error;
		throw error;
	}
	throw new Error(`"${text}" was accepted`);
};

test("each form of the image specification's user is understood", () => {
	const table: [string, number, number, number[]][] = [
		["", 0, 0, [0, 10]],
		["root", 0, 0, [0, 10]],
		["web", 101, 101, [101, 10, 200]],
		["101", 101, 101, [101, 10, 200]],
		["web:root", 101, 0, [0, 10, 200]],
		["web:5000", 101, 5000, [5000, 10, 200]],
		["101:wheel", 101, 10, [10, 200]],
		["4000:4001", 4000, 4001, [4001]],
		["4000", 4000, 0, [0]],
	];
	for (const [text, uid, gid, additionalGids] of table)
		assert.deepEqual(resolveUser(text, database, "x"), { uid, gid, additionalGids }, `user "${text}"`);
});

test("an image without passwd and group runs numbers, and root", () => {
	assert.deepEqual(resolveUser("", empty, "x"), { uid: 0, gid: 0, additionalGids: [0] });
	assert.deepEqual(resolveUser("12:34", empty, "x"), { uid: 12, gid: 34, additionalGids: [34] });
});

test("an unknown user or group is NotFound and names the image", () => {
	for (const text of ["nobody", "web:nobody"]) {
		const error = refusal(text);
		assert.equal(error.code, "NotFound");
		assert.match(error.message, /"nobody": no such (user|group) .* of image "docker\.io\/library\/x:1"/);
	}
});

test("a malformed user or an id out of range is InvalidArgument", () => {
	for (const text of ["a:b:c", "web:", ":", ":web", "-1", "2147483648", "web:99999999999"])
		assert.equal(refusal(text).code, "InvalidArgument", text);
});

test("passwd and group lines survive a round through their format", () => {
	const word = fc.stringMatching(/^[a-z_][a-z0-9_-]{0,8}$/);
	const id = fc.nat(0x7fff_ffff);
	fc.assert(
		fc.property(fc.array(fc.record({ name: word, uid: id, gid: id }, { noNullPrototype: true })), (users) => {
			const text = users.map(({ name, uid, gid }) => `${name}:x:${uid}:${gid}:::\n`).join("");
			assert.deepEqual(
				parsePasswd(text).map(({ name, uid, gid }) => ({ name, uid, gid })),
				users,
			);
		}),
	);
	fc.assert(
		fc.property(
			fc.array(fc.record({ name: word, gid: id, members: fc.array(word) }, { noNullPrototype: true })),
			(groups) => {
				const text = groups.map(({ name, gid, members }) => `${name}:!:${gid}:${members.join(",")}\n`).join("");
				assert.deepEqual(parseGroup(text), groups);
			},
		),
	);
});

test("no text at all makes the parsers throw", () => {
	fc.assert(
		fc.property(fc.string({ unit: "binary" }), (text) => {
			parsePasswd(text);
			parseGroup(text);
		}),
	);
});
