import { DaemonError, type ErrorRecord } from "../../errors/daemon-error.ts";
import { grpcStatus } from "../../errors/error-code.ts";
import { IntrospectionDefinition, type Plugin } from "../../gen/containerd/services/introspection/v1/introspection.ts";
import { type FieldOf, parseFilters, textField } from "../../metadata/filter.ts";
import { type Service, service } from "../rpc.ts";

/** A plugin as `ctr plugins ls` shows it. */
export interface PluginDescription {
	/** `io.containerd.grpc.v1.leases`: the type, a dot, the id. */
	readonly uri: string;
	readonly requires: readonly string[];
	/** What others may read, such as a snapshotter's `root`. */
	readonly exports: Readonly<Record<string, string>>;
	readonly capabilities: readonly string[];
	/** Why it did not start. */
	readonly problem?: ErrorRecord | undefined;
}

export interface ServerIdentity {
	/** Made at the first start, kept below the root directory. */
	readonly uuid: string;
	readonly pid: number;
	/** Inode of the pid namespace: clients compare it with their own before they believe a pid. */
	readonly pidNamespace: bigint;
}

/** containerd.services.introspection.v1.Introspection. Needs no namespace. */
export const introspectionService = (plugins: () => readonly PluginDescription[], server: ServerIdentity): Service =>
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
			const found = plugins().find(({ uri }) => uri === identity.id);
			if (found === undefined) throw new DaemonError("NotFound", identity, "not found");
			if (options !== undefined)
				throw new DaemonError("Unimplemented", identity, "asking a plugin with options is not there yet");
			return { plugin: toWire(found), extra: undefined };
		},
	});

/** Go's words for a machine (GOARCH). */
const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

function toWire({ uri, requires, exports, capabilities, problem }: PluginDescription): Plugin {
	const dot = uri.lastIndexOf(".");
	const architecture = architectures[process.arch] ?? process.arch;
	return {
		type: uri.slice(0, dot),
		id: uri.slice(dot + 1),
		requires: [...requires],
		platforms: [{ os: "linux", architecture, variant: "", osVersion: "", osFeatures: [] }],
		exports: { ...exports },
		capabilities: [...capabilities],
		initErr: problem && { code: grpcStatus[problem.code], message: problem.problem, details: [] },
	};
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
