import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Collect = (options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

/**
 * V8's full collection of this thread's heap, compiled code that nobody called lately included; some milliseconds for
 * each ten megabytes. Programs are started with --expose-gc: without, the function comes from a context of its own, which
 * costs 0.2 MB.
 */
export function garbageCollection(): () => void {
	let { gc } = globalThis as { gc?: Collect };
	if (gc === undefined) {
		setFlagsFromString("--expose-gc");
		gc = runInNewContext("gc") as Collect;
	}
	const collect = gc;
	return () => collect({ type: "major", execution: "sync", flavor: "last-resort" });
}
