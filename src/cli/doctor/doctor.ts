import { VersionDefinition } from "../../gen/containerd/services/version/v1/version.ts";
import { actorTree } from "../actor-node.ts";
import { withDaemon } from "../daemon-connection.ts";
import { ExitWith, failure } from "../failure.ts";
import { print } from "../table.ts";
import type { Target } from "../target.ts";
import { type Finding, findings } from "./checks.ts";
import { hostFacts } from "./host-facts.ts";

/** `troupe doctor`: what this host lacks and what to do about it. Exit code 1 when containers cannot run. */
export async function doctor(target: Target): Promise<void> {
	const [facts, daemon, inspection] = await Promise.all([hostFacts(), askDaemon(target), askInspection(target)]);
	const all = [...findings(facts), daemon, inspection];
	print(target.output, all, () => all.map(lines).join("\n"));
	if (all.some(({ verdict }) => verdict === "missing")) throw new ExitWith(1);
}

const marks = { ok: "ok      ", note: "note    ", missing: "MISSING " } as const;

const lines = ({ subject, verdict, detail, remedy }: Finding): string =>
	`${marks[verdict]}${subject.padEnd(15)} ${detail}${remedy === undefined ? "" : `\n${" ".repeat(24)}-> ${remedy}`}`;

async function askDaemon(target: Target): Promise<Finding> {
	const subject = "daemon";
	try {
		const { version } = await withDaemon(target, (daemon) => daemon.service(VersionDefinition).version({}));
		return { subject, verdict: "ok", detail: `${version} on ${target.address}` };
	} catch (reason) {
		const detail = failure(reason).line.replace(/^troupe: /, "");
		return { subject, verdict: "missing", detail, remedy: "start it: trouped" };
	}
}

async function askInspection(target: Target): Promise<Finding> {
	const subject = "live stream";
	try {
		const { sequence, actors } = await actorTree(target);
		const troubled = actors.filter(({ status, restarts }) => status === "backoff" || restarts > 0);
		const detail = `${actors.length} actors, journal at record ${sequence}`;
		if (troubled.length === 0) return { subject, verdict: "ok", detail };
		const paths = troubled.slice(0, 3).map(({ path }) => path);
		return {
			subject,
			verdict: "note",
			detail: `${detail}; restarted: ${paths.join(", ")}`,
			remedy: "troupe tree",
		};
	} catch (reason) {
		const detail = failure(reason).line.replace(/^troupe: /, "");
		return { subject, verdict: "note", detail, remedy: "events, tree and the live page need it" };
	}
}
