import { DaemonError } from "../../errors/daemon-error.ts";
import { grpcStatus } from "../../errors/error-code.ts";
import { IntrospectionDefinition, type Plugin } from "../../gen/containerd/services/introspection/v1/introspection.ts";
import type { Status } from "../../gen/google/rpc/status.ts";
import { type FieldOf, parseFilters, textField } from "../../metadata/filter.ts";
import type { Outcome, PluginStatus } from "../../plugin/plugin.ts";
import { type Service, service } from "../rpc.ts";

export interface ServerIdentity {
	/** Made at the first start, kept below the root directory. */
	readonly uuid: string;
	readonly pid: number;
	/** Inode of the pid namespace: clients compare it with their own before they believe a pid. */
	readonly pidNamespace: bigint;
}

/** containerd.services.introspection.v1.Introspection. Needs no namespace. */
export const introspectionService = (plugins: () => readonly PluginStatus[], server: ServerIdentity): Service =>
	service(IntrospectionDefinition, {
		async plugins({ filters }) {
			const matches = parseFilters(filters);
			return {
				plugins: plugins()
					.map(toWire)
					.filter((plugin) => matches(pluginField(plugin))),
			};
		},
		async server() {
			return { uuid: server.uuid, pid: BigInt(server.pid), pidns: server.pidNamespace, deprecations: [] };
		},
		/** What is known without asking: a plugin's answer to options (a shim's `-info`) is not there yet. */
		async pluginInfo({ type, id, options }) {
			const identity = { kind: "plugin", id: `${type}.${id}` };
			const found = plugins().find((plugin) => plugin.type === type && plugin.id === id);
			if (found === undefined) throw new DaemonError("NotFound", identity, "not found");
			if (options !== undefined)
				throw new DaemonError("Unimplemented", identity, "asking a plugin with options is not there yet");
			return { plugin: toWire(found), extra: undefined };
		},
	});

/** Go's words for a machine (GOARCH). */
const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

function toWire({ type, id, requires, exports, capabilities, outcome }: PluginStatus): Plugin {
	const architecture = architectures[process.arch] ?? process.arch;
	return {
		type,
		id,
		requires: [...requires],
		platforms: [{ os: "linux", architecture, variant: "", osVersion: "", osFeatures: [] }],
		exports: { ...exports },
		capabilities: [...capabilities],
		initErr: statusOf(outcome),
	};
}

/** ctr shows Unimplemented as "skip", any other status as "error". */
function statusOf(outcome: Outcome): Status | undefined {
	switch (outcome.state) {
		case "ok":
			return undefined;
		case "waiting":
			return { code: grpcStatus.Unavailable, message: "has not started yet", details: [] };
		case "skipped":
			return { code: grpcStatus.Unimplemented, message: outcome.reason, details: [] };
		case "failed": {
			const { code, problem } = DaemonError.from(outcome.error, { kind: "plugin", id: "" });
			return { code: grpcStatus[code], message: problem, details: [] };
		}
	}
}

const pluginField =
	({ type, id, capabilities }: Plugin): FieldOf =>
	([field]) => {
		switch (field) {
			case "type":
				return textField(type);
			case "id":
				return textField(id);
			case "capabilities":
				return textField(capabilities.join(","));
			default:
				return undefined;
		}
	};
