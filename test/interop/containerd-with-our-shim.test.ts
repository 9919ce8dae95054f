/** Debian's containerd and ctr with our shim as the runtime io.containerd.troupe.v2. */
import { taskList } from "./task-list.test-suite.ts";

taskList("our shim under containerd", {
	daemon: "containerd",
	runtime: "io.containerd.troupe.v2",
	needs: ["/usr/bin/containerd", "/usr/bin/docker-registry"],
	killedShim: "ends",
	keepsEnded: false,
	ownShim: true,
});
