import type { Log } from "../log/log.ts";
import { Call } from "../services/call.ts";
import type { Service } from "../services/rpc.ts";
import type { Implementation } from "../ttrpc/server.ts";

/** Carries the unary methods of transport-neutral services over ttrpc; src/ttrpc maps their errors. */
export const ttrpcImplementations = (services: readonly Service[], log: Log): Implementation[] =>
	services.map(({ fullName, methods }) => ({
		service: fullName,
		methods: new Map(
			methods
				.filter(({ requestStream, responseStream }) => !requestStream && !responseStream)
				.map((method) => [
					method.name,
					async (payload, { metadata, signal, timeoutMs }) => {
						const call = new Call({
							metadata: new Map(Object.entries(metadata)),
							signal,
							deadline: timeoutMs === undefined ? undefined : Date.now() + timeoutMs,
						});
						log.trace({ method: method.path }, "ttrpc call");
						return method.encodeResponse(await method.handler(method.decodeRequest(payload), call));
					},
				]),
		),
	}));
