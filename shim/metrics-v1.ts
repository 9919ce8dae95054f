import type {
	BlkIOEntry,
	MemoryEntry,
	MemoryStat,
	Metrics,
	RdmaEntry,
} from "../src/gen/containerd/cgroups/v1/metrics.ts";
import type { Cgroup } from "./cgroup.ts";
import { hugePageSizes, keyedCounters, nestedCounters, numberIn } from "./counters.ts";

/** The kernel counts CPU ticks of 10 ms to user space (USER_HZ is 100 on all supported architectures). */
const tick = 10_000_000n;

/** Reads the v1 controllers that the container is in (Documentation/admin-guide/cgroup-v1). */
export function readMetricsV1(cgroup: Cgroup): Metrics {
	const oom = keyedCounters(cgroup.read("memory", "memory.oom_control"));
	return {
		hugetlb: hugePageSizes(cgroup.files("hugetlb"), "usage_in_bytes").map((pagesize) => ({
			pagesize,
			usage: numberIn(cgroup.read("hugetlb", `hugetlb.${pagesize}.usage_in_bytes`)),
			max: numberIn(cgroup.read("hugetlb", `hugetlb.${pagesize}.max_usage_in_bytes`)),
			failcnt: numberIn(cgroup.read("hugetlb", `hugetlb.${pagesize}.failcnt`)),
		})),
		pids: {
			current: numberIn(cgroup.read("pids", "pids.current")),
			limit: limitOf(cgroup.read("pids", "pids.max")),
		},
		cpu: cpu(cgroup),
		memory: memory(cgroup),
		blkio: blkio(cgroup),
		rdma: { current: rdma(cgroup, "rdma.current"), limit: rdma(cgroup, "rdma.max") },
		network: [],
		cgroupStats: undefined,
		memoryOomControl: {
			oomKillDisable: oom("oom_kill_disable"),
			underOom: oom("under_oom"),
			oomKill: oom("oom_kill"),
		},
	};
}

/** containerd says 0 for "no limit". */
const limitOf = (text: string | undefined): bigint => (text?.trim() === "max" ? 0n : numberIn(text));

function cpu(cgroup: Cgroup): Metrics["cpu"] {
	const ticks = keyedCounters(cgroup.read("cpuacct", "cpuacct.stat"));
	const throttling = keyedCounters(cgroup.read("cpu", "cpu.stat"));
	const perCpu = (cgroup.read("cpuacct", "cpuacct.usage_percpu") ?? "").split(" ").filter((word) => /^\d+$/.test(word));
	return {
		usage: {
			total: numberIn(cgroup.read("cpuacct", "cpuacct.usage")),
			kernel: ticks("system") * tick,
			user: ticks("user") * tick,
			perCpu: perCpu.map(BigInt),
		},
		throttling: {
			periods: throttling("nr_periods"),
			throttledPeriods: throttling("nr_throttled"),
			throttledTime: throttling("throttled_time"),
		},
	};
}

function memory(cgroup: Cgroup): MemoryStat {
	const stat = keyedCounters(cgroup.read("memory", "memory.stat"));
	const entry = (kind: string): MemoryEntry => ({
		limit: numberIn(cgroup.read("memory", `memory.${kind}limit_in_bytes`)),
		usage: numberIn(cgroup.read("memory", `memory.${kind}usage_in_bytes`)),
		max: numberIn(cgroup.read("memory", `memory.${kind}max_usage_in_bytes`)),
		failcnt: numberIn(cgroup.read("memory", `memory.${kind}failcnt`)),
	});
	return {
		cache: stat("cache"),
		rss: stat("rss"),
		rssHuge: stat("rss_huge"),
		mappedFile: stat("mapped_file"),
		dirty: stat("dirty"),
		writeback: stat("writeback"),
		pgPgIn: stat("pgpgin"),
		pgPgOut: stat("pgpgout"),
		pgFault: stat("pgfault"),
		pgMajFault: stat("pgmajfault"),
		inactiveAnon: stat("inactive_anon"),
		activeAnon: stat("active_anon"),
		inactiveFile: stat("inactive_file"),
		activeFile: stat("active_file"),
		unevictable: stat("unevictable"),
		hierarchicalMemoryLimit: stat("hierarchical_memory_limit"),
		hierarchicalSwapLimit: stat("hierarchical_memsw_limit"),
		totalCache: stat("total_cache"),
		totalRss: stat("total_rss"),
		totalRssHuge: stat("total_rss_huge"),
		totalMappedFile: stat("total_mapped_file"),
		totalDirty: stat("total_dirty"),
		totalWriteback: stat("total_writeback"),
		totalPgPgIn: stat("total_pgpgin"),
		totalPgPgOut: stat("total_pgpgout"),
		totalPgFault: stat("total_pgfault"),
		totalPgMajFault: stat("total_pgmajfault"),
		totalInactiveAnon: stat("total_inactive_anon"),
		totalActiveAnon: stat("total_active_anon"),
		totalInactiveFile: stat("total_inactive_file"),
		totalActiveFile: stat("total_active_file"),
		totalUnevictable: stat("total_unevictable"),
		usage: entry(""),
		swap: entry("memsw."),
		kernel: entry("kmem."),
		kernelTcp: entry("kmem.tcp."),
	};
}

function blkio(cgroup: Cgroup): Metrics["blkio"] {
	const read = (file: string): BlkIOEntry[] => blkioEntries(cgroup.read("blkio", `blkio.${file}`));
	const orThrottle = (first: string, second: string): BlkIOEntry[] => {
		const entries = read(first);
		return entries.length > 0 ? entries : read(second); // without a scheduler that counts, the throttling layer does
	};
	return {
		ioServiceBytesRecursive: orThrottle("io_service_bytes_recursive", "throttle.io_service_bytes"),
		ioServicedRecursive: orThrottle("io_serviced_recursive", "throttle.io_serviced"),
		ioQueuedRecursive: read("io_queued_recursive"),
		ioServiceTimeRecursive: read("io_service_time_recursive"),
		ioWaitTimeRecursive: read("io_wait_time_recursive"),
		ioMergedRecursive: read("io_merged_recursive"),
		ioTimeRecursive: read("time_recursive"),
		sectorsRecursive: read("sectors_recursive"),
	};
}

/** `8:0 Read 4096` per line, and a `Total` without a device. */
function blkioEntries(text: string | undefined): BlkIOEntry[] {
	return (text ?? "").split("\n").flatMap((line) => {
		const match = /^(\d+):(\d+)(?: (\w+))? (\d+)$/.exec(line);
		if (match === null) return [];
		const [, major = "0", minor = "0", op = "", value = "0"] = match;
		return [{ op, device: "", major: BigInt(major), minor: BigInt(minor), value: BigInt(value) }];
	});
}

const rdma = (cgroup: Cgroup, file: string): RdmaEntry[] =>
	nestedCounters(cgroup.read("rdma", file)).map(([device, counter]) => ({
		device,
		hcaHandles: Number(BigInt.asUintN(32, counter("hca_handle"))),
		hcaObjects: Number(BigInt.asUintN(32, counter("hca_object"))),
	}));
