import { globSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { LeasesDefinition } from "../../src/gen/containerd/services/leases/v1/leases.ts";
import { busyboxLayer } from "../fixtures/busybox-layer.ts";
import { fitCrun } from "../fixtures/fit-crun.ts";
import { connect } from "../fixtures/grpc-client.ts";
import { type PushedImage, pushImage } from "../fixtures/push-image.ts";
import { type Registry, startRegistry } from "../fixtures/registry.ts";
import { execute } from "./execute.ts";
import { type Peer, removeTree, startContainerd, startTroupe } from "./peers.ts";

/** Its own for each run, and the parent of its cgroups: OCI runtimes keep their state per namespace below /run. */
export const namespace = `bench-${process.pid}`;
export const lease = "bench";

/** Everything the sections share: a registry with a small image, and both daemons with that image unpacked. */
export interface Stage {
	readonly directory: string;
	readonly registry: Registry;
	readonly small: PushedImage;
	readonly containerd: Peer;
	readonly troupe: Peer;
	close(): Promise<void>;
}

export async function openStage(directory: string): Promise<Stage> {
	const undo: (() => void | Promise<void>)[] = [() => removeTree(directory), removeCgroups];
	const close = async (): Promise<void> => {
		for (const step of undo.reverse()) await step();
	};
	try {
		undo.push(fitCrun());
		const registry = await startRegistry(join(directory, "registry"));
		undo.push(() => registry.stop());
		const small = await pushImage(registry.host, "bench/small", "latest", [busyboxLayer()]);
		const containerd = await startContainerd(join(directory, "containerd"), namespace);
		undo.push(() => containerd.stop());
		const troupe = await startTroupe(join(directory, "troupe"), namespace);
		undo.push(() => troupe.stop());
		await pull(containerd, small.reference);
		await pull(troupe, small.reference);
		for (const peer of [containerd, troupe])
			await connect(peer.socket, namespace, LeasesDefinition).create({ id: lease });
		return { directory, registry, small, containerd, troupe, close };
	} catch (error) {
		await close();
		throw error;
	}
}

/** The empty parents of the containers' cgroups, which OCI runtimes leave; one that is not empty stays and is an error. */
function removeCgroups(): void {
	for (const path of globSync(`/sys/fs/cgroup/{.,*}/${namespace}`)) rmdirSync(path);
}

/** Pulls and unpacks with the peer's own client. */
export async function pull(peer: Peer, reference: string): Promise<void> {
	const [program = "", ...flags] = peer.cli;
	const args = peer.name === "containerd" ? ["images", "pull", "--plain-http", reference] : ["pull", reference];
	await execute(program, [...flags, ...args]);
}
