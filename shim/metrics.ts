import { Metrics as MetricsV1 } from "../src/gen/containerd/cgroups/v1/metrics.ts";
import { Metrics as MetricsV2 } from "../src/gen/containerd/cgroups/v2/metrics.ts";
import type { Any } from "../src/gen/google/protobuf/any.ts";
import type { Cgroup } from "./cgroup.ts";
import { readMetricsV1 } from "./metrics-v1.ts";
import { readMetricsV2 } from "./metrics-v2.ts";

/** A container's counters, in the message of the host's cgroup version (containerd's cgroups, typeurl without prefix). */
export const metricsOf = (cgroup: Cgroup): Any =>
	cgroup.version === 1
		? { typeUrl: "io.containerd.cgroups.v1.Metrics", value: MetricsV1.encode(readMetricsV1(cgroup)).finish() }
		: { typeUrl: "io.containerd.cgroups.v2.Metrics", value: MetricsV2.encode(readMetricsV2(cgroup)).finish() };
