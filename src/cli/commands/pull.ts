import { randomUUID } from "node:crypto";
import { text } from "node:stream/consumers";
import { TransferDefinition } from "../../gen/containerd/services/transfer/v1/transfer.ts";
import type { Platform } from "../../gen/containerd/types/platform.ts";
import { ImageStore } from "../../gen/containerd/types/transfer/imagestore.ts";
import { Progress } from "../../gen/containerd/types/transfer/progress.ts";
import { AuthResponse, AuthType, OCIRegistry } from "../../gen/containerd/types/transfer/registry.ts";
import { DaemonConnection } from "../daemon-connection.ts";
import { type NamedStream, openNamedStream } from "../grpc-stream.ts";
import { imageName } from "../image-name.ts";
import { progressView } from "../pull/progress-view.ts";
import type { Target } from "../target.ts";

export interface PullOptions {
	readonly plainHttp?: boolean;
	readonly hostsDir?: string;
	readonly platform?: string;
	readonly snapshotter: string;
	/** `name:password`, or a name alone: then the password is read from standard input. */
	readonly user?: string;
	readonly quiet?: boolean;
}

/** A pull takes as long as its network needs; without progress the daemon gives up by itself. */
const pullTimeoutMs = Number.POSITIVE_INFINITY;

/** `troupe pull`: fetches and unpacks an image, with a bar for each blob on a terminal and a line for each when piped. */
export async function pull(target: Target, typed: string, options: PullOptions): Promise<void> {
	const name = imageName(typed);
	const daemon = await DaemonConnection.open(target);
	const credentials = options.user === undefined ? undefined : await answerCredentials(target, options.user);
	try {
		const stream = await openNamedStream(target, `pull-${randomUUID()}`);
		const view = progressView(process.stderr, options.quiet === true);
		const shown = (async () => {
			for await (const { typeUrl, value } of stream.messages)
				if (typeUrl === "containerd.types.transfer.Progress") view.update(Progress.decode(value));
		})();
		try {
			await daemon.service(TransferDefinition).transfer(
				{
					source: {
						typeUrl: "containerd.types.transfer.OCIRegistry",
						value: OCIRegistry.encode(registryOf(name, options, credentials?.id ?? "")).finish(),
					},
					destination: {
						typeUrl: "containerd.types.transfer.ImageStore",
						value: ImageStore.encode(storeOf(name, options)).finish(),
					},
					options: { progressStream: stream.id },
				},
				{ timeoutMs: pullTimeoutMs },
			);
			await shown;
			view.finish();
		} catch (error) {
			view.abandon();
			throw error;
		} finally {
			stream.close();
		}
		process.stdout.write(`${name}\n`);
	} finally {
		credentials?.close();
		daemon.close();
	}
}

/** Opens the stream on which the daemon asks for credentials when a registry wants them; they are not stored anywhere. */
async function answerCredentials(target: Target, user: string): Promise<NamedStream> {
	const colon = user.indexOf(":");
	const username = colon < 0 ? user : user.slice(0, colon);
	const secret = colon < 0 ? (await text(process.stdin)).replace(/\r?\n$/, "") : user.slice(colon + 1);
	const stream = await openNamedStream(target, `auth-${randomUUID()}`);
	const value = AuthResponse.encode(
		AuthResponse.fromPartial({ authType: AuthType.CREDENTIALS, username, secret }),
	).finish();
	void (async () => {
		for await (const _question of stream.messages)
			stream.send({ typeUrl: "containerd.types.transfer.AuthResponse", value });
	})();
	return stream;
}

const registryOf = (reference: string, { plainHttp, hostsDir }: PullOptions, authStream: string): OCIRegistry =>
	OCIRegistry.fromPartial({
		reference,
		resolver: {
			authStream,
			hostDir: hostsDir ?? "",
			defaultScheme: plainHttp === true ? "http" : "",
		},
	});

function storeOf(name: string, { platform, snapshotter }: PullOptions): ImageStore {
	const wanted = platform === undefined ? undefined : platformOf(platform);
	return ImageStore.fromPartial({
		name,
		platforms: wanted === undefined ? [] : [wanted],
		unpacks: [{ snapshotter, ...(wanted === undefined ? {} : { platform: wanted }) }],
	});
}

/** `linux/arm64/v8` */
function platformOf(text: string): Platform {
	const [os = "linux", architecture = "", variant = ""] = text.split("/");
	return { os, architecture, variant, osVersion: "", osFeatures: [] };
}
