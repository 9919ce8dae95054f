import * as z from "zod";
import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { storeKey, systemKey } from "../../services/plugin-keys.ts";
import { createStreamServer, type StreamServer } from "../../stream/stream-server.ts";
import { listenUnix, type UnixListener } from "../unix-listener.ts";

interface RunningStream {
	readonly server: StreamServer;
	readonly unix: UnixListener;
}

export const streamKey = pluginKey<RunningStream>("io.troupe.live.v1.stream");

/** Section `[plugins."io.troupe.live.v1.stream"]`. */
const config = z.strictObject({
	/** Loopback address and port of the live page; empty: only the unix socket. */
	address: z.string().default("127.0.0.1:7010"),
});

/**
 * The live stream and inspection over HTTP: always on the daemon's socket with `.http` behind it, which the CLI uses, and
 * on a loopback port for browsers. A port that is taken costs the page, not the daemon.
 */
export const streamPlugin = plugin({
	key: streamKey,
	needs: { store: storeKey, system: systemKey },
	config,
	async start({ addresses, config: { address }, log, announce }, { store, system }) {
		const server = createStreamServer({ journal: store.journal, actors: system, log });
		const unix = await listenUnix(`${addresses.grpc}.http`, (socket) => server.accept(socket));
		const exports: Record<string, string> = { socket: unix.path };
		if (address !== "") {
			try {
				exports.address = await server.listen(address);
				log.info({ address: exports.address }, "live page is served");
			} catch (error) {
				log.error({ address, error }, "live page is not served");
			}
		}
		announce({ exports });
		return { server, unix };
	},
	async stop({ server, unix }) {
		await unix.close();
		await server.close();
	},
});
