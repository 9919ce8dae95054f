import { join } from "node:path";
import { DaemonError } from "../errors/daemon-error.ts";
import {
	type Addresses,
	type Announcement,
	type Needs,
	type Outcome,
	type Plugin,
	type PluginContext,
	type PluginLog,
	type PluginStatus,
	SkipPlugin,
} from "./plugin.ts";
import { namesOf, startOrder } from "./plugin-graph.ts";
import type { PluginKey } from "./plugin-key.ts";

export interface PluginsOptions {
	readonly plugins: readonly Plugin[];
	/** The daemon's directories; each plugin gets one of its own below. */
	readonly root: string;
	readonly state: string;
	readonly addresses: Addresses;
	readonly log: PluginLog;
	/** Checked sections of the configuration by URI. */
	readonly configs?: ReadonlyMap<string, unknown>;
	/** URIs that must start, or the daemon does not. */
	readonly required?: readonly string[];
	/** URIs that are not started. */
	readonly disabled?: readonly string[];
	/** Aborted when the daemon stops. */
	readonly signal: AbortSignal;
	/** For each plugin's stop, in milliseconds; default 10,000. One that takes longer is left behind, and that is logged. */
	readonly stopTimeoutMs?: number;
}

interface Entry {
	readonly plugin: Plugin;
	outcome: Outcome;
	announcement: Announcement;
	value: unknown;
}

/** The plugins of a daemon, started in the order of their needs. */
export class RunningPlugins {
	readonly #options: PluginsOptions;
	readonly #entries: readonly Entry[];

	private constructor(options: PluginsOptions) {
		this.#options = options;
		this.#entries = startOrder(options.plugins).map((plugin) => ({
			plugin,
			outcome: { state: "waiting" },
			announcement: {},
			value: undefined,
		}));
	}

	/**
	 * Starts all of them, one after the other. A plugin that fails takes down only those that need it. Rejects with
	 * InvalidArgument for a graph that cannot be, and with FailedPrecondition if a required plugin has not started; then
	 * those that had are stopped again.
	 */
	static async start(options: PluginsOptions): Promise<RunningPlugins> {
		const running = new RunningPlugins(options);
		const uris = new Set(options.plugins.map(({ key }) => key.uri));
		for (const uri of options.disabled ?? [])
			if (!uris.has(uri)) options.log.warn({ plugin: uri }, "disabled_plugins names a plugin that does not exist");
		for (const entry of running.#entries) {
			options.signal.throwIfAborted();
			await running.#startOne(entry);
		}
		const missing = (options.required ?? []).filter((uri) => running.#find(uri)?.outcome.state !== "ok");
		if (missing.length > 0) {
			const reasons = missing.map((uri) => `${uri} (${describeOutcome(running.#find(uri)?.outcome)})`);
			await running.stop();
			throw new DaemonError(
				"FailedPrecondition",
				{ kind: "daemon", id: options.root },
				`required plugins have not started: ${reasons.join("; ")}`,
			);
		}
		return running;
	}

	/** For introspection, in the order of start. */
	list(): readonly PluginStatus[] {
		return this.#entries.map(({ plugin: { key, needs, optional }, outcome, announcement }) => ({
			type: key.type,
			id: key.id,
			requires: [...namesOf(needs), ...namesOf(optional)],
			capabilities: announcement.capabilities ?? [],
			exports: announcement.exports ?? {},
			outcome,
		}));
	}

	/** What a plugin provides; undefined if it has not started. */
	get<T>(key: PluginKey<T>): T | undefined {
		const entry = this.#find(key.uri);
		return entry?.outcome.state === "ok" ? (entry.value as T) : undefined;
	}

	/** What all plugins of a type provide, by id, in the order of start. */
	ofType<T>(type: string): ReadonlyMap<string, T> {
		return new Map(
			this.#entries.flatMap(({ plugin: { key }, outcome, value }) =>
				key.type === type && outcome.state === "ok" ? [[key.id, value as T]] : [],
			),
		);
	}

	/** Stops in reverse order of start. Calling it again does nothing. */
	async stop(): Promise<void> {
		for (const entry of this.#entries.toReversed()) {
			if (entry.outcome.state !== "ok") continue;
			entry.outcome = { state: "skipped", reason: "stopped" };
			try {
				await within(this.#options.stopTimeoutMs ?? 10_000, async () => entry.plugin.stop(entry.value));
			} catch (error) {
				this.#options.log.error({ plugin: entry.plugin.key.uri, error }, "plugin has not stopped");
			}
		}
	}

	async #startOne(entry: Entry): Promise<void> {
		const { plugin } = entry;
		const { uri } = plugin.key;
		const log = this.#options.log.child({ plugin: uri });
		try {
			const dependencies = this.#dependencies(plugin);
			entry.value = await plugin.start(this.#context(entry, log), dependencies);
			entry.outcome = { state: "ok" };
			log.debug({}, "plugin started");
		} catch (reason) {
			if (reason instanceof SkipPlugin) {
				entry.outcome = { state: "skipped", reason: reason.message };
				log.info({ reason: reason.message }, "plugin skipped");
			} else {
				entry.outcome = { state: "failed", error: DaemonError.from(reason, { kind: "plugin", id: uri }) };
				log.warn({ error: entry.outcome.error }, "plugin failed");
			}
		}
	}

	#dependencies({ key: { uri }, needs, optional, disabled }: Plugin): Record<string, unknown> {
		const { disabled: disabledUris = [], configs } = this.#options;
		if (disabledUris.includes(uri)) throw new SkipPlugin("disabled by the configuration");
		if (disabled && !configs?.has(uri)) throw new SkipPlugin("off by default");
		const missing = Object.values(needs).flatMap((need) => {
			if ("group" in need) return [];
			const outcome = this.#find(need.uri)?.outcome;
			return outcome?.state === "ok" ? [] : [`${need.uri} (${describeOutcome(outcome)})`];
		});
		if (missing.length > 0) {
			const problem = `needs what has not started: ${missing.join(", ")}`;
			throw new DaemonError("FailedPrecondition", { kind: "plugin", id: uri }, problem);
		}
		return { ...this.#values(optional), ...this.#values(needs) };
	}

	#values(needs: Needs): Record<string, unknown> {
		return Object.fromEntries(
			Object.entries(needs).map(([name, need]) => [name, "group" in need ? this.ofType(need.group) : this.get(need)]),
		);
	}

	#context(entry: Entry, log: PluginLog): PluginContext<unknown> {
		const { root, state, addresses, configs, signal } = this.#options;
		const { key, config } = entry.plugin;
		return {
			root: join(root, key.uri),
			state: join(state, key.uri),
			config: configs?.get(key.uri) ?? config?.parse({}),
			addresses,
			log,
			signal,
			plugins: () => this.list(),
			announce: (announcement) => {
				entry.announcement = { ...entry.announcement, ...announcement };
			},
		};
	}

	#find(uri: string): Entry | undefined {
		return this.#entries.find(({ plugin }) => plugin.key.uri === uri);
	}
}

function describeOutcome(outcome: Outcome | undefined): string {
	if (outcome === undefined) return "no such plugin";
	switch (outcome.state) {
		case "skipped":
			return `skipped: ${outcome.reason}`;
		case "failed":
			return outcome.error.message;
		default:
			return outcome.state;
	}
}

async function within(ms: number, act: () => Promise<void>): Promise<void> {
	const late = Promise.withResolvers<never>();
	const timer = setTimeout(() => late.reject(new Error(`still busy after ${ms} ms`)), ms);
	try {
		await Promise.race([act(), late.promise]);
	} finally {
		clearTimeout(timer);
	}
}
