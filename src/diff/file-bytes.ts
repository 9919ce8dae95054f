/** A byte string (each character one byte) as the kernel takes a name: bytes that end in NUL. */
export const cBytes = (bytes: string): Buffer => Buffer.from(`${bytes}\0`, "latin1");

export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFIFO = 0o010000;
export const S_ISGID = 0o2000;

/** dev_t as glibc encodes it (sys/sysmacros.h, gnu_dev_makedev). */
export function deviceNumber(major: number, minor: number): bigint {
	const [a, b] = [BigInt(major), BigInt(minor)];
	return ((a & 0xfffn) << 8n) | ((a & ~0xfffn) << 32n) | (b & 0xffn) | ((b & ~0xffn) << 12n);
}
