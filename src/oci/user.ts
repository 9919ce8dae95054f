import { DaemonError } from "../errors/daemon-error.ts";
import type { User } from "./runtime-spec.ts";
import { parseId, type UserDatabase } from "./user-database.ts";

/**
 * Who a container's process is. `text` is the image specification's form: `user`, `uid`, `user:group`, `uid:gid` or a
 * mixture; empty means root. The rules are containerd's `WithUser` and `WithAdditionalGIDs`: a uid that the image does
 * not list is taken with group 0; a group given by the caller replaces the user's own; supplementary groups come from
 * the image's /etc/group; the primary group is always among them.
 *
 * @throws NotFound for a name that the image does not know; InvalidArgument for a malformed text or an id out of range.
 */
export function resolveUser(text: string, database: UserDatabase, image: string): User {
	const parts = text.split(":");
	const [userText = "", groupText] = parts;
	if (parts.length > 2 || groupText === "" || (userText === "" && groupText !== undefined))
		throw new DaemonError("InvalidArgument", { kind: "user", id: text }, "expected USER, UID, USER:GROUP or UID:GID");

	const { uid, gid, name } = userText === "" ? findRoot(database) : findUser(userText, database, image);
	const primary = groupText === undefined ? gid : findGroup(groupText, database, image);
	const supplementary = database.groups
		.filter((group) => group.name !== name && name !== undefined && group.members.includes(name))
		.map((group) => group.gid);
	const additionalGids = [...new Set([primary, ...supplementary])];
	return { uid, gid: primary, additionalGids };
}

interface Identity {
	readonly uid: number;
	readonly gid: number;
	/** Undefined for a uid that the image does not list. */
	readonly name: string | undefined;
}

/** Root's groups are looked up by name even in an image without /etc/passwd. */
const findRoot = (database: UserDatabase): Identity => ({
	uid: 0,
	gid: database.users.find((entry) => entry.name === "root")?.gid ?? 0,
	name: "root",
});

function findUser(text: string, database: UserDatabase, image: string): Identity {
	if (isNumber(text)) {
		const uid = idInRange("user", text);
		const entry = database.users.find((candidate) => candidate.uid === uid);
		return { uid, gid: entry?.gid ?? 0, name: entry?.name };
	}
	const entry = database.users.find((candidate) => candidate.name === text);
	if (entry === undefined)
		throw new DaemonError("NotFound", { kind: "user", id: text }, `no such user in /etc/passwd of image "${image}"`);
	return entry;
}

function findGroup(text: string, database: UserDatabase, image: string): number {
	if (isNumber(text)) return idInRange("group", text);
	const entry = database.groups.find((candidate) => candidate.name === text);
	if (entry === undefined)
		throw new DaemonError("NotFound", { kind: "group", id: text }, `no such group in /etc/group of image "${image}"`);
	return entry.gid;
}

const isNumber = (text: string): boolean => /^[+-]?[0-9]+$/.test(text);

function idInRange(kind: "user" | "group", text: string): number {
	const id = parseId(text);
	if (id === undefined)
		throw new DaemonError("InvalidArgument", { kind, id: text }, "id out of range (0 to 2147483647)");
	return id;
}
