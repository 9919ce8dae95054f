import { runtimeSpec } from "../fixtures/runtime-spec.ts";

/** `exits`: ends by itself with a code. `obeys`: ends with a code at SIGTERM. `sleeps`: only SIGKILL ends it. */
export type Program = "exits" | "obeys" | "sleeps";
export const programs: readonly Program[] = ["exits", "exits", "obeys", "sleeps"];

const seconds = (ms: number): string => (ms / 1_000).toFixed(2);

const argsOf = (id: string, program: Program, code: number, lifeMs: number): readonly string[] => {
	switch (program) {
		case "exits":
			return ["sh", "-c", `echo begin ${id}; sleep ${seconds(lifeMs)}; echo end ${id}; exit ${code}`];
		case "obeys":
			return ["sh", "-c", `trap 'exit ${code}' TERM; while :; do sleep 0.1; done`];
		case "sleeps":
			return ["sleep", "100000"];
	}
};

/** An ordinary container of the test's namespace. */
export function specOf(
	namespace: string,
	id: string,
	program: Program,
	code: number,
	lifeMs: number,
	terminal: boolean,
) {
	const spec = runtimeSpec(`/${namespace}/${id}`, argsOf(id, program, code, lifeMs), terminal);
	return {
		typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec",
		value: Buffer.from(JSON.stringify(spec)),
	};
}

export const execSpecOf = (code: number, lifeMs: number) => ({
	typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process",
	value: Buffer.from(
		JSON.stringify({
			user: { uid: 0, gid: 0 },
			args: ["sh", "-c", `sleep ${seconds(lifeMs)}; exit ${code}`],
			env: ["PATH=/bin:/usr/bin"],
			cwd: "/",
			noNewPrivileges: true,
		}),
	),
});
