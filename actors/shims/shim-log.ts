import { constants, open } from "node:fs";
import { Socket } from "node:net";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { failedWith } from "../../src/sys/sys-error.ts";

const openDescriptor = promisify(open);

/**
 * The FIFO `log` of a bundle, which a shim opens for writing at its start and waits until somebody reads (containerd's
 * runtime/v2/shim_unix.go). Opened for reading and writing: it neither blocks nor ends when the shim does.
 */
export async function readShimLog(
	path: string,
	mkfifo: (path: string) => void,
	line: (text: string) => void,
): Promise<{ close(): void }> {
	try {
		mkfifo(path);
	} catch (reason) {
		if (!failedWith(reason, "EEXIST")) throw reason; // a shim of an earlier daemon writes there
	}
	// A bare descriptor: the socket owns it, and a FileHandle would close it a second time.
	const descriptor = await openDescriptor(path, constants.O_RDWR | constants.O_NONBLOCK);
	const pipe = new Socket({ fd: descriptor, readable: true, writable: false });
	pipe.on("error", () => pipe.destroy());
	const lines = createInterface({ input: pipe, crlfDelay: Number.POSITIVE_INFINITY });
	lines.on("line", (text) => line(text.slice(0, 4_096)));
	return {
		close: () => {
			lines.close();
			pipe.destroy();
		},
	};
}
