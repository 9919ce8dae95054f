/**
 * The one table of kernel and libc calls. A string per call: first the result, then the arguments.
 *
 * Results: `i` int32 and `l` int64, where -1 means an error told by errno; `e` the errno itself, 0 for none (the
 * posix_spawn family); `n` int32 that cannot fail. Arguments: `i` int32, `l` int64, `p` pointer (bytes, an address, or
 * null), `s` string, `b` a path or name as a string or as bytes that end in NUL (Linux names are bytes, not text).
 */
export const signatures = {
	// files and descriptors
	open: "isii",
	openat: "iibii",
	close: "ii",
	read: "lipl",
	write: "lipl",
	pipe2: "ipi",
	fcntl: "iiil",
	flock: "iii",
	ioctl: "iilp",
	eventfd: "iii",
	mknod: "isil",
	mkfifo: "isi",
	utimensat: "iibpi",
	futimens: "iip",
	lsetxattr: "ibbpli",
	lgetxattr: "lbbpl",
	llistxattr: "lbpl",
	fsetxattr: "iibpli",
	openat2: "libpl",
	mkdirat: "iibi",
	mknodat: "iibil",
	symlinkat: "ibib",
	linkat: "iibibi",
	readlinkat: "libpl",
	renameat: "iibib",
	unlinkat: "iibi",
	fchown: "iiii",
	fchownat: "iibiii",
	fchmod: "iii",
	fchmodat: "iibii",
	statx: "iibiip",
	umask: "ni",
	syncfs: "ii",
	ppoll: "iplpp",
	// processes
	getpid: "n",
	prctl: "iillll",
	kill: "iii",
	waitpid: "iipi",
	waitid: "iiipi",
	pidfd_open: "lii",
	pidfd_send_signal: "liipi",
	unshare: "ii",
	setns: "iii",
	setsid: "i",
	prlimit: "iiipp",
	posix_spawn: "epspppp",
	posix_spawn_file_actions_init: "ep",
	posix_spawn_file_actions_destroy: "ep",
	posix_spawn_file_actions_adddup2: "epii",
	posix_spawn_file_actions_addchdir_np: "eps",
	posix_spawnattr_init: "ep",
	posix_spawnattr_destroy: "ep",
	posix_spawnattr_setflags: "epi",
	posix_spawnattr_setsigmask: "epp",
	posix_spawnattr_setsigdefault: "epp",
	sigfillset: "ip",
	sigemptyset: "ip",
	// sockets
	socket: "iiii",
	bind: "iipi",
	listen: "iii",
	connect: "iipi",
	accept4: "iippi",
	recvmsg: "lipi",
	sendmsg: "lipi",
	// mounts
	mount: "ippplp",
	umount2: "isi",
	chdir: "is",
	// memory
	malloc_trim: "nl",
	madvise: "nlli", // advice: nothing depends on whether it is taken
} as const satisfies Record<string, string>;

/**
 * Calls that libc has no (or, in older versions, no) function for: made through `syscall`, with the number put in front.
 * Numbers from 424 on are the same on all architectures (include/uapi/asm-generic/unistd.h).
 */
export const syscallNumbers: { readonly [name in CallName]?: number } = {
	pidfd_send_signal: 424,
	pidfd_open: 434,
	openat2: 437,
};

export type CallName = keyof typeof signatures;

interface ArgumentTypes {
	i: number;
	l: number | bigint;
	p: Uint8Array | bigint | null;
	s: string;
	b: string | Uint8Array;
}
type Arguments<S extends string> = S extends `${infer Head extends keyof ArgumentTypes}${infer Rest}`
	? [ArgumentTypes[Head], ...Arguments<Rest>]
	: [];
type ArgumentsOf<S extends string> = S extends `${string}${infer Rest}` ? Arguments<Rest> : never;

/** Every call of the table as a function. It throws a SysError instead of returning -1 (or an errno). */
export type Calls = {
	readonly [Name in CallName]: (...args: ArgumentsOf<(typeof signatures)[Name]>) => number;
};
