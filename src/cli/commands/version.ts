import { VersionDefinition } from "../../gen/containerd/services/version/v1/version.ts";
import { clientVersion } from "../client-version.ts";
import { withDaemon } from "../daemon-connection.ts";
import { failure } from "../failure.ts";
import { print } from "../table.ts";
import type { Target } from "../target.ts";

/** `troupe version`: the client's version always, the daemon's if it answers. */
export async function version(target: Target): Promise<void> {
	const daemon = await withDaemon(target, (connection) => connection.service(VersionDefinition).version({})).catch(
		(reason: unknown) => ({ version: "", revision: "", problem: failure(reason).line }),
	);
	print(target.output, { client: { version: clientVersion, node: process.version }, daemon }, () =>
		[
			`Client:  ${clientVersion} (Node ${process.version})`,
			`Daemon:  ${"problem" in daemon ? daemon.problem : `${daemon.version} ${daemon.revision}`.trim()}`,
		].join("\n"),
	);
}
