import { ImagesDefinition } from "../../gen/containerd/services/images/v1/images.ts";
import { withDaemon } from "../daemon-connection.ts";
import { imageName } from "../image-name.ts";
import type { Target } from "../target.ts";

/** A collection walks all content of the namespace and may delete gigabytes. */
const collectTimeoutMs = 300_000;

/** `troupe rmi`: removes images' names, and waits until the space of what nobody else needs is free. */
export async function rmi(target: Target, names: readonly string[]): Promise<void> {
	await withDaemon(target, async (daemon) => {
		const images = daemon.service(ImagesDefinition);
		for (const name of names.map(imageName)) {
			await images.delete({ name, sync: true }, { timeoutMs: collectTimeoutMs });
			process.stdout.write(`${name}\n`);
		}
	});
}
