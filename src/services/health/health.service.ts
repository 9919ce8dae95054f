import { DaemonError } from "../../errors/daemon-error.ts";
import { HealthCheckResponse_ServingStatus, HealthDefinition } from "../../gen/grpc/health/v1/health.ts";
import { type Service, service } from "../rpc.ts";

/**
 * grpc.health.v1: the daemon as a whole (empty name) and each of its services by full name. The socket opens only when
 * all of them are ready, so what is served is SERVING (grpc/doc/health-checking.md).
 */
export const healthService = (serviceNames: () => Iterable<string>): Service => {
	const isServed = (name: string): boolean => name === "" || new Set(serviceNames()).has(name);
	return service(HealthDefinition, {
		async check({ service: name }) {
			if (!isServed(name)) throw new DaemonError("NotFound", { kind: "service", id: name }, "not served here");
			return { status: HealthCheckResponse_ServingStatus.SERVING };
		},
		/** One answer, then silence: it changes only when the connection ends. An unknown service is no error here. */
		async *watch({ service: name }, { signal }) {
			const { SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;
			yield { status: isServed(name) ? SERVING : SERVICE_UNKNOWN };
			await new Promise<void>((resolve) => {
				if (signal.aborted) resolve();
				else signal.addEventListener("abort", () => resolve(), { once: true });
			});
		},
	});
};
