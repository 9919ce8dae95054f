import { Socket } from "node:net";

/**
 * Copies our standard input into a container's FIFO. Resolves when ours has ended and everything is in the FIFO, or when
 * the container no longer reads. Our end of the FIFO is then closed.
 */
export function copyInput(to: number): { readonly done: Promise<void>; stop(): void } {
	const sink = new Socket({ fd: to, readable: false, writable: true });
	const source = process.stdin;
	const done = new Promise<void>((resolve) => {
		sink.on("close", () => resolve());
		sink.on("error", () => sink.destroy()); // EPIPE: the container has closed its input
		source.on("error", () => sink.end());
		source.pipe(sink);
	});
	return {
		done,
		stop() {
			source.unpipe(sink);
			source.destroy();
			sink.destroy();
		},
	};
}
