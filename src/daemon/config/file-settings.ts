import * as z from "zod";
import { logLevel, logLevels } from "../../log/log.ts";

/** The page's own section, `[stream]`, is short because people change it. */
export const streamUri = "io.troupe.live.v1.stream";

/** Of a user or group; the last number means "unchanged" to the kernel. */
const owner = z.int().min(0).max(0xffff_fffe);
const section = z.record(z.string(), z.unknown());

/** What a file may say (containerd: cmd/containerd/server/config). What it does not say, another file or a default does. */
export const fileSettings = z.strictObject({
	version: z.literal([2, 3, 4]).optional(),
	/** Files or globs, relative to this file. What they say goes before what this one says. */
	imports: z.array(z.string().min(1)).optional(),
	root: z.string().min(1).optional(),
	state: z.string().min(1).optional(),
	/** Score of the daemon for the kernel's out-of-memory killer; 0 leaves what the daemon was started with. */
	oom_score: z.int().min(-1000).max(1000).optional(),
	required_plugins: z.array(z.string()).optional(),
	disabled_plugins: z.array(z.string()).optional(),
	grpc: z
		.strictObject({
			address: z
				.string()
				.regex(/^(unix:\/\/)?\//, "the socket's path must be absolute")
				.optional(),
			/** The socket's owner; 0 leaves the daemon's own. */
			uid: owner.optional(),
			/** A group that may use the socket, which is then of mode 0660; 0 for none. */
			gid: owner.optional(),
		})
		.optional(),
	debug: z
		.strictObject({
			level: z
				.string()
				.transform((name, { addIssue }) => {
					const level = logLevel(name);
					if (level === undefined) addIssue(`"${name}" is none of ${logLevels.join(", ")}`);
					return level ?? z.NEVER;
				})
				.optional(),
		})
		.optional(),
	stream: section.optional(),
	plugins: z.record(z.string(), section).optional(),
});

export type FileSettings = z.infer<typeof fileSettings>;
