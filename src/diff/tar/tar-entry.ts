/** A time as the archive says it. Only times that a file system can hold: others become 0, as in containerd. */
export interface TarTime {
	/** Whole seconds since 1970, never negative. */
	readonly seconds: number;
	readonly nanoseconds: number;
}

export type TarEntryType = "file" | "hardlink" | "symlink" | "character" | "block" | "directory" | "fifo";

/**
 * One entry of an archive, extended headers applied. `name` and `link` are byte strings: each character is one byte
 * (latin1), because names in Linux are bytes and need not be UTF-8.
 */
export interface TarEntry {
	readonly name: string;
	/** Where a link points to; empty for others. */
	readonly link: string;
	readonly type: TarEntryType;
	/** Permission bits with set-id and sticky: 0o7777 at most. */
	readonly mode: number;
	readonly uid: number;
	readonly gid: number;
	/** Bytes of content; 0 for all but files. */
	readonly size: number;
	readonly mtime: TarTime;
	readonly atime?: TarTime;
	readonly major: number;
	readonly minor: number;
	/** Extended attributes by name (SCHILY.xattr.*), or undefined for none. */
	readonly attributes?: ReadonlyMap<string, Buffer>;
}

/** A byte string for people. */
export const readable = (bytes: string): string => Buffer.from(bytes, "latin1").toString();
