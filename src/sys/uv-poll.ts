import { type DynamicLibrary, getCurrentEventLoop } from "node:ffi";
import { constants } from "node:os";
import type { Kernel, Poll } from "./kernel.ts";
import { addressOf } from "./memory.ts";
import { SysError } from "./sys-error.ts";

const uvPollHandle = 8; // UV_POLL in uv_handle_type
const events = { readable: 1, writable: 2 } as const;
const errnoNames = new Map<number, string>(Object.entries(constants.errno).map(([name, value]) => [value, name]));

type Call = (...args: unknown[]) => number | bigint;
interface Watch {
	/** The uv_poll_t. Off the V8 heap, so it does not move; the map keeps it alive until libuv has let go of it. */
	readonly memory: Buffer;
	listener: ((problem?: string) => void) | undefined;
}

/** libuv's own poll in the main loop: no thread, and the loop sleeps in epoll. */
export function pollWith(library: DynamicLibrary): Kernel["poll"] {
	const watches = new Map<bigint, Watch>();
	const bind = (name: string, args: readonly ("pointer" | "i32")[], result: "i32" | "u64" | "void" = "i32") =>
		library.getFunction(name, { return: result, arguments: args }) as Call;

	const open = () => ({
		size: Number(bind("uv_handle_size", ["i32"], "u64")(uvPollHandle)),
		init: bind("uv_poll_init", ["pointer", "pointer", "i32"]),
		start: bind("uv_poll_start", ["pointer", "i32", "pointer"]),
		stop: bind("uv_poll_stop", ["pointer"]),
		close: bind("uv_close", ["pointer", "pointer"], "void"),
		unref: bind("uv_unref", ["pointer"], "void"),
		loop: getCurrentEventLoop(),
		// In the native callback itself promise jobs wait until something else wakes the loop, and a throw aborts the
		// process: hop through setImmediate.
		ready: library.registerCallback({ return: "void", arguments: ["pointer", "i32", "i32"] }, (pointer, status) => {
			const handle = pointer as bigint;
			setImmediate(() => watches.get(handle)?.listener?.(status < 0 ? errnoNames.get(-status) : undefined));
		}),
		closed: library.registerCallback({ return: "void", arguments: ["pointer"] }, (handle) => {
			setImmediate(() => watches.delete(handle as bigint));
		}),
	});
	let uv: ReturnType<typeof open> | undefined;

	return (fd, listener, readiness = "readable"): Poll => {
		uv ??= open();
		const { init, start, stop, close, unref, loop, ready, closed, size } = uv;
		const memory = Buffer.alloc(size);
		const handle = addressOf(memory);
		const refused = Number(init(loop, handle, fd));
		if (refused !== 0) throw new SysError("uv_poll_init", -refused, `of descriptor ${fd}`);
		const watch: Watch = { memory, listener };
		watches.set(handle, watch);
		const failed = Number(start(handle, events[readiness], ready));
		const end = () => {
			if (watch.listener === undefined) return;
			watch.listener = undefined;
			stop(handle);
			close(handle, closed);
		};
		if (failed !== 0) {
			end();
			throw new SysError("uv_poll_start", -failed, `of descriptor ${fd}`);
		}
		return {
			close: end,
			unref: () => {
				if (watch.listener !== undefined) unref(handle);
			},
		};
	};
}
