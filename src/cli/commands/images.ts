import { ImagesDefinition } from "../../gen/containerd/services/images/v1/images.ts";
import { withDaemon } from "../daemon-connection.ts";
import { age, milliseconds } from "../human.ts";
import { print, table } from "../table.ts";
import type { Target } from "../target.ts";

/** `troupe images`: names, digests and ages of the namespace's images. */
export async function images(target: Target, { quiet = false }: { readonly quiet?: boolean }): Promise<void> {
	const { images: list } = await withDaemon(target, (daemon) => daemon.service(ImagesDefinition).list({}));
	const now = Date.now();
	print(target.output, list, () =>
		quiet
			? list.map(({ name }) => name).join("\n")
			: table(
					["NAME", "DIGEST", "UPDATED"],
					list.map(({ name, target: descriptor, updatedAt }) => {
						const time = milliseconds(updatedAt);
						return [name, descriptor?.digest.slice(0, 19) ?? "", time === undefined ? "" : age(now - time)];
					}),
				),
	);
}
