import type { MemoryStat, Metrics, PSIStats, RdmaEntry } from "../src/gen/containerd/cgroups/v2/metrics.ts";
import type { Cgroup } from "./cgroup.ts";
import { hugePageSizes, keyedCounters, nestedCounters, numberIn } from "./counters.ts";

/** Reads the unified group of a container (Documentation/admin-guide/cgroup-v2.rst). */
export function readMetricsV2(cgroup: Cgroup): Metrics {
	const read = (file: string) => cgroup.read("", file);
	const events = keyedCounters(read("memory.events"));
	return {
		pids: { current: numberIn(read("pids.current")), limit: limitOf(read("pids.max")) },
		cpu: cpu(read),
		memory: memory(read),
		rdma: { current: rdma(read("rdma.current")), limit: rdma(read("rdma.max")) },
		io: {
			usage: nestedCounters(read("io.stat")).flatMap(([device, counter]) => {
				const [major, minor] = device.split(":");
				if (major === undefined || minor === undefined) return [];
				const [rbytes, wbytes] = [counter("rbytes"), counter("wbytes")];
				return [
					{ major: BigInt(major), minor: BigInt(minor), rbytes, wbytes, rios: counter("rios"), wios: counter("wios") },
				];
			}),
			psi: pressure(read("io.pressure")),
		},
		hugetlb: hugePageSizes(cgroup.files(""), "current").map((pagesize) => ({
			pagesize,
			current: numberIn(read(`hugetlb.${pagesize}.current`)),
			max: numberIn(read(`hugetlb.${pagesize}.max`)),
			failcnt: keyedCounters(read(`hugetlb.${pagesize}.events`))("max"),
		})),
		memoryEvents: {
			low: events("low"),
			high: events("high"),
			max: events("max"),
			oom: events("oom"),
			oomKill: events("oom_kill"),
			oomGroupKill: events("oom_group_kill"),
		},
		network: [],
	};
}

type Read = (file: string) => string | undefined;

/** containerd says 0 for "no limit" of pids. */
const limitOf = (text: string | undefined): bigint => (text?.trim() === "max" ? 0n : numberIn(text));

function cpu(read: Read): Metrics["cpu"] {
	const stat = keyedCounters(read("cpu.stat"));
	return {
		usageUsec: stat("usage_usec"),
		userUsec: stat("user_usec"),
		systemUsec: stat("system_usec"),
		nrPeriods: stat("nr_periods"),
		nrThrottled: stat("nr_throttled"),
		throttledUsec: stat("throttled_usec"),
		nrBursts: stat("nr_bursts"),
		burstUsec: stat("burst_usec"),
		psi: pressure(read("cpu.pressure")),
	};
}

function memory(read: Read): MemoryStat {
	const stat = keyedCounters(read("memory.stat"));
	return {
		anon: stat("anon"),
		file: stat("file"),
		kernelStack: stat("kernel_stack"),
		slab: stat("slab"),
		sock: stat("sock"),
		shmem: stat("shmem"),
		fileMapped: stat("file_mapped"),
		fileDirty: stat("file_dirty"),
		fileWriteback: stat("file_writeback"),
		anonThp: stat("anon_thp"),
		inactiveAnon: stat("inactive_anon"),
		activeAnon: stat("active_anon"),
		inactiveFile: stat("inactive_file"),
		activeFile: stat("active_file"),
		unevictable: stat("unevictable"),
		slabReclaimable: stat("slab_reclaimable"),
		slabUnreclaimable: stat("slab_unreclaimable"),
		pgfault: stat("pgfault"),
		pgmajfault: stat("pgmajfault"),
		workingsetRefault: stat("workingset_refault"),
		workingsetActivate: stat("workingset_activate"),
		workingsetNodereclaim: stat("workingset_nodereclaim"),
		pgrefill: stat("pgrefill"),
		pgscan: stat("pgscan"),
		pgsteal: stat("pgsteal"),
		pgactivate: stat("pgactivate"),
		pgdeactivate: stat("pgdeactivate"),
		pglazyfree: stat("pglazyfree"),
		pglazyfreed: stat("pglazyfreed"),
		thpFaultAlloc: stat("thp_fault_alloc"),
		thpCollapseAlloc: stat("thp_collapse_alloc"),
		usage: numberIn(read("memory.current")),
		usageLimit: numberIn(read("memory.max")),
		swapUsage: numberIn(read("memory.swap.current")),
		swapLimit: numberIn(read("memory.swap.max")),
		maxUsage: numberIn(read("memory.peak")),
		swapMaxUsage: numberIn(read("memory.swap.peak")),
		psi: pressure(read("memory.pressure")),
	};
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and the same for `full` (accounting/psi.rst). */
function pressure(text: string | undefined): PSIStats | undefined {
	if (text === undefined) return undefined;
	const line = (kind: string) => {
		const match = new RegExp(`^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)`, "m").exec(text);
		if (match === null) return undefined;
		const [, avg10, avg60, avg300, total = "0"] = match;
		return { avg10: Number(avg10), avg60: Number(avg60), avg300: Number(avg300), total: BigInt(total) };
	};
	return { some: line("some"), full: line("full") };
}

const rdma = (text: string | undefined): RdmaEntry[] =>
	nestedCounters(text).map(([device, counter]) => ({
		device,
		hcaHandles: Number(BigInt.asUintN(32, counter("hca_handle"))),
		hcaObjects: Number(BigInt.asUintN(32, counter("hca_object"))),
	}));
