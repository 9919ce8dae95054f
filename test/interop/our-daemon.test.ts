/** Debian's ctr with our daemon, and with Debian's own shim below it or ours. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { taskList } from "./task-list.test-suite.ts";

const goShim = "/usr/bin/containerd-shim-runc-v2";

taskList(
	"containerd's shim under our daemon",
	{
		daemon: "trouped",
		config: 'own_runtimes = ["", "io.containerd.troupe.v2"]\n',
		runtime: "io.containerd.runc.v2",
		needs: [goShim, "/usr/bin/docker-registry"],
		killedShim: "ends",
		keepsEnded: true,
		ownShim: false,
	},
	(daemon) => {
		test("a shim may be named by its path", async () => {
			const words = ["run", "--rm", "--runtime", goShim, daemon().image.reference, "path", "sh", "-c", "exit 3"];
			const { code, stderr } = await daemon().ctr(...words);
			assert.equal(code, 3, stderr);
		});
	},
);

taskList("our shim under our daemon", {
	daemon: "trouped",
	runtime: "io.containerd.runc.v2",
	needs: ["/usr/bin/docker-registry"],
	killedShim: "is adopted",
	keepsEnded: true,
	ownShim: true,
});
