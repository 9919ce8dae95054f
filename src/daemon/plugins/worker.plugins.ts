import { plugin } from "../../plugin/plugin.ts";
import { treesKey, unpackerKey } from "../../services/plugin-keys.ts";
import { TreePool } from "../../workers/tree-pool.ts";
import { UnpackPool } from "../../workers/unpack-pool.ts";

/** The threads themselves start with the first job. */
const unpackerPlugin = plugin({
	key: unpackerKey,
	start: ({ log }) => new UnpackPool({ onError: (error) => log.error({ error }, "unpack worker") }),
	stop: (unpacker) => unpacker.close(),
});

const treesPlugin = plugin({
	key: treesKey,
	start: ({ log }) => new TreePool({ onError: (error) => log.error({ error }, "tree worker") }),
	stop: (trees) => trees.close(),
});

export const workerPlugins = [unpackerPlugin, treesPlugin];
