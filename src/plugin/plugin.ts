import type { ZodType } from "zod";
import type { PluginGroup, PluginKey } from "./plugin-key.ts";

/** What a plugin's log must offer; src/log's Log does. */
export interface PluginLog {
	debug(fields: Readonly<Record<string, unknown>>, message: string): void;
	info(fields: Readonly<Record<string, unknown>>, message: string): void;
	warn(fields: Readonly<Record<string, unknown>>, message: string): void;
	error(fields: Readonly<Record<string, unknown>>, message: string): void;
	child(fields: Readonly<Record<string, unknown>>): PluginLog;
}

/** Where the daemon listens. */
export interface Addresses {
	readonly grpc: string;
	readonly ttrpc: string;
}

/** What became of a plugin. Times are not kept: the log has them. */
export type Outcome =
	/** Not its turn yet. */
	| { readonly state: "waiting" }
	| { readonly state: "ok" }
	/** It has nothing to do here (a kernel without the feature, turned off); nothing is wrong. */
	| { readonly state: "skipped"; readonly reason: string }
	| { readonly state: "failed"; readonly error: Error };

/** What a plugin tells of itself when it starts. */
export interface Announcement {
	readonly capabilities?: readonly string[];
	readonly exports?: Readonly<Record<string, string>>;
}

/** One line of `ctr plugins ls`. */
export interface PluginStatus {
	readonly type: string;
	readonly id: string;
	/** URIs of what it needs, groups as their type. */
	readonly requires: readonly string[];
	readonly capabilities: readonly string[];
	readonly exports: Readonly<Record<string, string>>;
	readonly outcome: Outcome;
}

export interface PluginContext<Config> {
	/** Persistent directory of this plugin, below the daemon's root. Not made yet. */
	readonly root: string;
	/** Directory of this plugin that a reboot may take. Not made yet. */
	readonly state: string;
	readonly config: Config;
	readonly addresses: Addresses;
	readonly log: PluginLog;
	/** Aborted when the daemon stops. */
	readonly signal: AbortSignal;
	/** All plugins, with what became of them so far; the list stays true later on. */
	readonly plugins: () => readonly PluginStatus[];
	readonly announce: (announcement: Announcement) => void;
}

/** Names for what a plugin needs; the values it gets have the types that the keys carry. */
export type Needs = Readonly<Record<string, PluginKey<unknown> | PluginGroup<unknown>>>;

type Provided<N extends Needs> = {
	readonly [Name in keyof N]: N[Name] extends PluginKey<infer T>
		? T
		: N[Name] extends PluginGroup<infer T>
			? ReadonlyMap<string, T>
			: never;
};

export interface PluginOptions<T, N extends Needs, O extends Needs, Config> {
	readonly key: PluginKey<T>;
	/** Without one of these the plugin fails. A group is never missing, but may be empty. */
	readonly needs?: N;
	/** Started before, if they are there and start; undefined otherwise. */
	readonly optional?: O;
	/** Its section of the configuration; `{}` must be valid. */
	readonly config?: ZodType<Config>;
	/** Off unless the configuration has a section for it. */
	readonly disabled?: boolean;
	/** Throws {@link SkipPlugin} if there is nothing for it to do here. */
	readonly start: (context: PluginContext<Config>, dependencies: Provided<N> & Partial<Provided<O>>) => T | Promise<T>;
	/** Called in reverse order of start. */
	readonly stop?: (value: T) => void | Promise<void>;
}

/** A plugin as the graph sees it: the types are checked where the record is written. */
export interface Plugin {
	readonly key: PluginKey<unknown>;
	readonly needs: Needs;
	readonly optional: Needs;
	readonly config: ZodType | undefined;
	readonly disabled: boolean;
	start(context: PluginContext<unknown>, dependencies: Readonly<Record<string, unknown>>): unknown;
	stop(value: unknown): void | Promise<void>;
}

/** A record of the daemon's list of plugins. */
export const plugin = <
	T,
	N extends Needs = Record<never, never>,
	O extends Needs = Record<never, never>,
	Config = undefined,
>(
	options: PluginOptions<T, N, O, Config>,
): Plugin => ({
	key: options.key,
	needs: options.needs ?? {},
	optional: options.optional ?? {},
	config: options.config,
	disabled: options.disabled ?? false,
	start: (context, dependencies) =>
		options.start(context as PluginContext<Config>, dependencies as Provided<N> & Partial<Provided<O>>),
	stop: (value) => options.stop?.(value as T),
});

/** Thrown by a plugin's start: not an error, it is not wanted or not possible here. */
export class SkipPlugin extends Error {
	override readonly name = "SkipPlugin";
}
