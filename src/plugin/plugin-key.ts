import { DaemonError } from "../errors/daemon-error.ts";

declare const provides: unique symbol;

/** Names a plugin and, for the compiler, what it provides. */
export interface PluginKey<T> {
	/** As in configuration and `ctr plugins ls`: `io.containerd.grpc.v1.leases`. */
	readonly uri: string;
	/** `io.containerd.grpc.v1` */
	readonly type: string;
	/** `leases` */
	readonly id: string;
	readonly [provides]?: T;
}

/** All plugins of one type that have started: `io.containerd.snapshotter.v1`. */
export interface PluginGroup<T> {
	readonly group: string;
	readonly [provides]?: T;
}

const pattern = /^(?<type>[a-z0-9.-]+\.v[0-9]+)\.(?<id>[A-Za-z0-9_-]+)$/;

/** InvalidArgument for what is not `<type>.v<n>.<id>`. */
export function pluginKey<T>(uri: string): PluginKey<T> {
	const { type, id } = pattern.exec(uri)?.groups ?? {};
	if (type === undefined || id === undefined)
		throw new DaemonError("InvalidArgument", { kind: "plugin", id: uri }, "a plugin's name is <type>.v<number>.<id>");
	return { uri, type, id };
}

export const pluginGroup = <T>(type: string): PluginGroup<T> => ({ group: type });
