import { DaemonError } from "../errors/daemon-error.ts";
import { type Outcome, outcomeOf } from "./outcome.ts";

/** What the test's worker does. */
export type TestJob =
	| { readonly kind: "echo"; readonly text: string }
	| { readonly kind: "fail" }
	| { readonly kind: "die" }
	| { readonly kind: "wait"; readonly gate: SharedArrayBuffer };

export default (job: TestJob): Promise<Outcome<string>> =>
	outcomeOf({ kind: "test", id: job.kind }, () => {
		switch (job.kind) {
			case "echo":
				return job.text;
			case "fail":
				throw new DaemonError("OutOfRange", { kind: "thing", id: "x", namespace: "n" }, "too far");
			case "die":
				return process.exit(3);
			case "wait":
				Atomics.wait(new Int32Array(job.gate), 0, 0);
				return "waited";
		}
	});
