/** One line of /etc/passwd, as far as starting a process needs it. */
export interface PasswdEntry {
	readonly name: string;
	readonly uid: number;
	readonly gid: number;
	readonly home: string;
	readonly shell: string;
}

/** One line of /etc/group. */
export interface GroupEntry {
	readonly name: string;
	readonly gid: number;
	readonly members: readonly string[];
}

/** What an image says about users. A file that the image does not have is an empty list. */
export interface UserDatabase {
	readonly users: readonly PasswdEntry[];
	readonly groups: readonly GroupEntry[];
}

/** The texts of /etc/passwd and /etc/group; undefined for a file that is not there. */
export const parseUserDatabase = (passwd: string | undefined, group: string | undefined): UserDatabase => ({
	users: parsePasswd(passwd ?? ""),
	groups: parseGroup(group ?? ""),
});

/**
 * passwd(5): name:password:uid:gid:gecos:home:shell. Comments, blank lines and lines without a usable name and ids are
 * passed over, as the C library does: one bad line must not stop every container of an image.
 */
export function parsePasswd(text: string): PasswdEntry[] {
	const users: PasswdEntry[] = [];
	for (const [name, , uidText, gidText, , home = "", shell = ""] of fields(text)) {
		const uid = parseId(uidText);
		const gid = parseId(gidText);
		if (name && uid !== undefined && gid !== undefined) users.push({ name, uid, gid, home, shell });
	}
	return users;
}

/** group(5): name:password:gid:member,member. Bad lines are passed over, see {@link parsePasswd}. */
export function parseGroup(text: string): GroupEntry[] {
	const groups: GroupEntry[] = [];
	for (const [name, , gidText, members = ""] of fields(text)) {
		const gid = parseId(gidText);
		if (name && gid !== undefined) {
			const names = members.split(",").map((member) => member.trim());
			groups.push({ name, gid, members: names.filter((member) => member !== "") });
		}
	}
	return groups;
}

/** Highest id that runc and containerd take (MaxInt32), though the kernel would take more. */
const maximumId = 0x7fff_ffff;

/** A decimal user or group id; undefined for anything else, also when it is out of range. */
export function parseId(text: string | undefined): number | undefined {
	if (text === undefined || !/^[0-9]+$/.test(text)) return undefined;
	const id = Number(text);
	return id <= maximumId ? id : undefined;
}

function* fields(text: string): Iterable<(string | undefined)[]> {
	for (const raw of text.split("\n")) {
		const line = raw.trim();
		if (line !== "" && !line.startsWith("#")) yield line.split(":");
	}
}
