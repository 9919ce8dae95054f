/** The live page in a real browser: what happens in the daemon's journal is seen, and what dies disappears. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { chromium } from "playwright-core";
import type { ActorInspection } from "../../actors/kernel/inspection.ts";
import { ContainerCreate, ContainerDelete } from "../../src/gen/containerd/events/container.ts";
import { SandboxCreate, SandboxExit, SandboxStart } from "../../src/gen/containerd/events/sandbox.ts";
import { TaskExit, TaskStart } from "../../src/gen/containerd/events/task.ts";
import { silentLog } from "../../src/log/log.ts";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import type { Store } from "../../src/metadata/store/store.ts";
import { createStreamServer } from "../../src/stream/stream-server.ts";

const browserPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
	existsSync(path),
);
const skip = browserPath === undefined ? "there is no Chromium (apt-get install chromium)" : false;

const actor: ActorInspection = {
	node: "actor",
	path: "/task-manager/default/old",
	kind: "task",
	identity: { kind: "task", namespace: "default", id: "old" },
	status: "running",
	durable: true,
	restarts: 0,
	state: "running",
	since: 0,
	mailbox: { system: 0, user: 0, capacity: 1024 },
	stashed: 0,
	openRequests: 0,
	deadlines: [],
	processed: 0,
	busyMs: 0,
	transitions: [],
};

const publish = (store: Store, topic: string, type: string, value: Uint8Array): Promise<void> =>
	store.update((tx) =>
		tx.record({
			kind: "event",
			namespace: "default",
			subject: topic,
			body: { typeUrl: `containerd.events.${type}`, value },
		}),
	);

test("a pod and its container live and die in the browser, and nothing they are called becomes markup", {
	skip,
}, async () => {
	const store = memoryStore();
	const counters = { lateReplies: 0, deadLetters: 0, overflows: 0, crashes: 0 };
	const actors = { inspect: () => [actor], inspectOne: () => undefined, deadLetters: [], counters };
	const server = createStreamServer({ journal: store.journal, actors, log: silentLog });
	const address = await server.listen("127.0.0.1:0");
	const browser = await chromium.launch({ executablePath: browserPath ?? "", args: ["--no-sandbox"] });
	try {
		const page = await browser.newPage();
		const errors: string[] = [];
		page.on("pageerror", (error) => errors.push(error.message));
		await page.goto(`http://${address}/`);
		await page.locator("#link.live").waitFor();
		await page.locator('[data-id="old"].running').waitFor();

		await publish(store, "/sandboxes/create", "SandboxCreate", SandboxCreate.encode({ sandboxId: "pod-1" }).finish());
		await page.locator('[data-id="pod-1"].created').waitFor();
		await publish(store, "/sandboxes/start", "SandboxStart", SandboxStart.encode({ sandboxId: "pod-1" }).finish());
		await page.locator('[data-id="pod-1"].running').waitFor();

		const container = ContainerCreate.encode({ id: "web", image: "<b>x</b>", runtime: undefined }).finish();
		await publish(store, "/containers/create", "ContainerCreate", container);
		await publish(store, "/tasks/start", "TaskStart", TaskStart.encode({ containerId: "web", pid: 7 }).finish());
		await page.locator('[data-id="web"].running').waitFor();
		await store.update((tx) =>
			tx.record({
				kind: "transition",
				namespace: "",
				subject: "/task-manager/default/web",
				body: { from: "created", to: "running", message: "start" },
			}),
		);
		await page.locator('#tree li[title="/task-manager/default/web"]', { hasText: "running" }).waitFor();

		const exit = TaskExit.fromPartial({ containerId: "web", id: "web", pid: 7, exitStatus: 3 });
		await publish(store, "/tasks/exit", "TaskExit", TaskExit.encode(exit).finish());
		await page.locator('[data-id="web"].failed', { hasText: "exited 3" }).waitFor();
		await publish(store, "/containers/delete", "ContainerDelete", ContainerDelete.encode({ id: "web" }).finish());
		await page.locator('[data-id="web"]').waitFor({ state: "detached" });
		const podExit = SandboxExit.encode({ sandboxId: "pod-1", exitStatus: 0, exitedAt: undefined }).finish();
		await publish(store, "/sandboxes/exit", "SandboxExit", podExit);
		await page.locator('[data-id="pod-1"]').waitFor({ state: "detached" });

		assert.equal(await page.locator("#log b").count(), 0);
		assert.deepEqual(errors, []);
	} finally {
		await browser.close();
		await server.close();
		await store.close();
	}
});
