import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { KernelCounters } from "../../actors/kernel/inspection.ts";
import type { Journal } from "../metadata/store/store.ts";
import type { ActorTree } from "./actor-tree.ts";

export interface MetricsSources {
	readonly journal: Journal;
	readonly actors: ActorTree;
	/** Readers of the live stream now. */
	readonly readers: () => number;
}

/** The daemon's metrics in the Prometheus text format: process, journal, actors. Values are read when they are asked for. */
export function daemonMetrics({ journal, actors, readers }: MetricsSources): Registry {
	const registry = new Registry();
	collectDefaultMetrics({ register: registry });
	const gauge = (name: string, help: string, read: () => number): void => {
		new Gauge({
			name,
			help,
			registers: [registry],
			collect() {
				this.set(read());
			},
		});
	};
	gauge("troupe_journal_last_sequence", "Sequence number of the newest journal record.", () => journal.last);
	gauge("troupe_journal_first_sequence", "Sequence number of the oldest journal record kept.", () => journal.first);
	gauge("troupe_stream_readers", "Readers of the live stream.", readers);
	const counters: [string, keyof KernelCounters, string][] = [
		["troupe_actor_dead_letters_total", "deadLetters", "Messages that no actor took."],
		["troupe_actor_late_replies_total", "lateReplies", "Replies that came after their deadline."],
		["troupe_actor_overflows_total", "overflows", "Messages refused because a mailbox or stash was full."],
		["troupe_actor_crashes_total", "crashes", "Steps or effects of actors that threw."],
	];
	for (const [name, counter, help] of counters)
		new Counter({
			name,
			help,
			registers: [registry],
			collect() {
				this.reset();
				this.inc(actors.counters[counter]);
			},
		});
	perActor(registry, actors);
	return registry;
}

/** One series for each kind of actor and state, and sums by kind: a node has thousands of actors, but few kinds. */
function perActor(registry: Registry, actors: ActorTree): void {
	const registers = [registry];
	// Registered first: metrics are collected in this order, and one walk over the tree fills them all.
	new Gauge({
		name: "troupe_actors",
		help: "Actors by kind and state.",
		labelNames: ["kind", "state"],
		registers,
		collect() {
			for (const metric of [this, processed, waiting, busy, restarts]) metric.reset();
			for (const node of actors.inspect()) {
				if (node.node !== "actor") continue;
				const { kind, mailbox } = node;
				this.inc({ kind, state: typeof node.state === "string" ? node.state : JSON.stringify(node.state) });
				processed.inc({ kind }, node.processed);
				waiting.inc({ kind }, mailbox.system + mailbox.user + node.stashed);
				busy.inc({ kind }, node.busyMs / 1000);
				restarts.inc({ kind }, node.restarts);
			}
		},
	});
	const byKind = (name: string, help: string) => new Gauge({ name, help, labelNames: ["kind"], registers });
	const processed = byKind("troupe_actor_processed_messages", "Messages processed by the actors that are alive.");
	const waiting = byKind("troupe_actor_mailbox_messages", "Messages that wait in mailboxes and stashes.");
	const busy = byKind("troupe_actor_busy_seconds", "Time spent in steps and effects by the actors that are alive.");
	const restarts = byKind("troupe_actor_restarts", "Restarts of the actors that are alive.");
}
