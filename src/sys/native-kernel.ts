import { type ArgumentType, DynamicLibrary, getInt32, type ReturnType } from "node:ffi";
import type { Kernel } from "./kernel.ts";
import { type CallName, type Calls, signatures, syscallNumbers } from "./signatures.ts";
import { SysError } from "./sys-error.ts";
import { pollWith } from "./uv-poll.ts";

/** node itself: libc, pthread and libuv in one name space. */
const self = new DynamicLibrary(null);
const argumentTypes: Readonly<Record<string, ArgumentType>> = {
	i: "i32",
	l: "i64",
	p: "pointer",
	s: "string",
	b: "pointer",
};
const resultTypes: Readonly<Record<string, ReturnType>> = { i: "i32", l: "i64", e: "i32", n: "i32" };

/** Bound at once: looking it up after a refused call would overwrite that call's errno. Per thread, so asked each time. */
const errnoAddress = self.getFunction("__errno_location", { return: "pointer", arguments: [] }) as () => bigint;
const errno = (): number => getInt32(errnoAddress());

type Raw = (...args: unknown[]) => number | bigint;

function bind(name: CallName): (...args: unknown[]) => number {
	const signature = signatures[name];
	const result = signature.charAt(0);
	const parameters = [...signature.slice(1)];
	const number = syscallNumbers[name];
	const types = parameters.map((letter) => argumentTypes[letter] ?? "pointer");
	// A library object knows one signature per symbol, so each use of `syscall` opens its own.
	const raw = (
		number === undefined
			? self.getFunction(name, { return: resultTypes[result] ?? "i32", arguments: types })
			: new DynamicLibrary(null).getFunction("syscall", { return: "i64", arguments: ["i64", ...types] })
	) as Raw;
	const wide = parameters.map((letter) => letter === "l");
	return (...args) => {
		const passed = args.map((value, index) => (wide[index] ? BigInt(value as number) : value));
		const returned = Number(number === undefined ? raw(...passed) : raw(BigInt(number), ...passed));
		if (result === "e" ? returned !== 0 : result !== "n" && returned === -1)
			throw new SysError(name, result === "e" ? returned : errno(), subject(parameters, args));
		return returned;
	};
}

/** The first string of a refused call: mostly the path, which makes the error readable. */
const subject = (parameters: readonly string[], args: readonly unknown[]): string | undefined => {
	const index = parameters.findIndex((letter) => letter === "s" || letter === "b");
	if (index < 0) return undefined;
	const name = args[index];
	return JSON.stringify(name instanceof Uint8Array ? Buffer.from(name).toString("utf8", 0, name.indexOf(0)) : name);
};

/** Binds each call when it is first used: a shim pays for the twenty it needs. */
function lazily(target: object): Calls {
	for (const name of Object.keys(signatures) as CallName[])
		Object.defineProperty(target, name, {
			configurable: true,
			enumerable: true,
			get() {
				const value = bind(name);
				Object.defineProperty(target, name, { value, enumerable: true });
				return value;
			},
		});
	return target as Calls;
}

/** The kernel this process runs on. */
export const nativeKernel: Kernel = Object.assign(lazily({ poll: pollWith(self) }) as Kernel);
