import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { VersionDefinition } from "../../gen/containerd/services/version/v1/version.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { buildVersion } from "./build-version.ts";
import { versionService } from "./version.service.ts";

test("the version is package.json's, and told without a namespace", async () => {
	const manifest = JSON.parse(await readFile(new URL("../../../package.json", import.meta.url), "utf8"));
	assert.equal(buildVersion.version, manifest.version);
	const { version, revision } = await directClient(VersionDefinition, versionService(buildVersion)).version({});
	assert.deepEqual({ version, revision }, buildVersion);
});
