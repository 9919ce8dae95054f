import { constants } from "node:os";

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** A refused kernel call: which one, and the errno. `code` is errno's name, as in Node's own system errors. */
export class SysError extends Error {
	override readonly name = "SysError";
	readonly call: string;
	readonly errno: number;
	readonly code: string;

	constructor(call: string, errno: number, detail?: string) {
		const code = names.get(errno) ?? `errno ${errno}`;
		super(`${call}${detail === undefined ? "" : ` ${detail}`}: ${code}`);
		this.call = call;
		this.errno = errno;
		this.code = code;
	}
}

/** Whether a call failed with one of these errno names. */
export const failedWith = (reason: unknown, ...codes: readonly string[]): boolean =>
	reason instanceof Error && codes.includes((reason as NodeJS.ErrnoException).code ?? "");
