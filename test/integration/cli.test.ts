/** What a user of the troupe program relies on, with real containers. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { DaemonUnderTest, makeDirectory, run } from "../fixtures/daemon-under-test.ts";
import { within } from "../fixtures/deadline.ts";

const skip = process.getuid?.() === 0 ? false : "real containers need root";
const program = resolve(import.meta.dirname, "../../bin/troupe");

describe("the troupe program", { skip }, () => {
	let daemon: DaemonUnderTest;
	let image: string;
	const flags = (): string[] => ["--address", daemon.socket, "--namespace", daemon.namespace];

	before(async () => {
		daemon = await DaemonUnderTest.open();
		image = daemon.image.reference;
	});
	after(() => daemon.close());

	test("a piped pull prints lines, and the image's name last on standard output", async () => {
		const { code, stdout, stderr } = await daemon.troupe("pull", image);
		assert.deepEqual([code, stdout], [0, `${image}\n`]);
		assert.match(stderr, /^layer-[0-9a-f]{12} complete /m);
		assert.ok(!stderr.includes("\x1b"));
		assert.ok((await daemon.succeed("images")).includes(`${image}  sha256:`));
	});

	test("standard input, output and error are the container's", async () => {
		const { code, stdout, stderr } = await run(
			program,
			[...flags(), "run", "--rm", "-i", image, "sh", "-c", "tr a-z A-Z; echo problem >&2; exit 3"],
			"some input\n",
		);
		assert.deepEqual({ code, stdout, stderr }, { code: 3, stdout: "SOME INPUT\n", stderr: "problem\n" });
	});

	test("a command that is missing ends with 127, one that cannot be executed with 126, and nothing is left", async () => {
		const missing = await daemon.troupe("run", "--rm", image, "no-such-command");
		assert.equal(missing.code, 127);
		assert.match(missing.stderr, /^troupe: task "[0-9a-f]{12}".*no-such-command.*\n$/);
		assert.equal((await daemon.troupe("run", "--rm", image, "/etc/passwd")).code, 126);
		assert.equal(await daemon.succeed("ps", "-q"), "");
	});

	test("user, directory, environment, host name and mounts are as asked for", async () => {
		const shared = join(daemon.directory, "shared");
		mkdirSync(shared);
		writeFileSync(join(shared, "file"), "shared\n");
		const stdout = await daemon.succeed(
			...["run", "--rm", "--user", "app", "-w", "/tmp", "-e", "COLOUR=red", "--hostname", "stage"],
			...["--mount", `type=bind,src=${shared},dst=/shared,options=rbind:ro`, image],
			...[
				"sh",
				"-c",
				"id -un; pwd; echo $COLOUR; hostname; cat /shared/file; touch /shared/new 2>/dev/null || echo read-only",
			],
		);
		assert.deepEqual(stdout.trim().split("\n"), ["app", "/tmp", "red", "stage", "shared", "read-only"]);
	});

	test("a memory limit is kept: what wants more is killed", async () => {
		assert.equal((await daemon.troupe("run", "--rm", "-m", "16m", image, "tail", "/dev/zero")).code, 137);
	});

	test("a signal to run is a signal to the container", async () => {
		const script = "trap 'echo got TERM; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
		const child = spawn(program, [...flags(), "run", "--rm", image, "sh", "-c", script], {
			stdio: ["ignore", "pipe", "inherit"],
		});
		let output = "";
		child.stdout.on("data", (chunk) => (output += chunk));
		await within(20_000, "the container is ready", () => once(child.stdout, "data"));
		child.kill("SIGTERM");
		const [code] = await within(20_000, "run ends", () => once(child, "close"));
		assert.deepEqual([code, output], [9, "ready\ngot TERM\n"]);
	});

	test("a foreground run outlives a killed daemon: all output arrives, and the exit code", async () => {
		const shared = join(daemon.directory, "go");
		mkdirSync(shared);
		const mount = `type=bind,src=${shared},dst=/go,options=rbind:ro`;
		const script = "echo before; until [ -e /go/now ]; do sleep 0.05; done; echo after; exit 21";
		const args = [...flags(), "run", "--rm", "--mount", mount, image, "sh", "-c", script];
		const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
		let output = "";
		child.stdout.on("data", (chunk) => (output += chunk));
		await within(20_000, "the container runs", () => once(child.stdout, "data"));
		const ended = once(child, "close");
		await daemon.kill();
		writeFileSync(join(shared, "now"), "");
		await daemon.start();
		const [code] = await within(30_000, "run ends", () => ended);
		assert.deepEqual([code, output], [21, "before\nafter\n"]);
		assert.equal(await daemon.succeed("ps", "-q"), "");
	});

	test("when nobody reads the output any more, the container ends", async () => {
		const command = `${[program, ...flags()].join(" ")} run --rm ${image} yes | head -n 1`;
		const { code, stdout } = await within(30_000, "the pipe ends", () => run("sh", ["-c", command]));
		assert.deepEqual([code, stdout], [0, "y\n"]);
		assert.equal(await daemon.succeed("ps", "-q"), "");
	});

	test("a terminal has its size, and is given back as it was", {
		skip: spawnSync("script", ["--version"]).error === undefined ? false : "the program script (bsdutils) is missing",
	}, async () => {
		const inside = 'tty; stty size; read line; echo "<$line>"; exit 5';
		const command = [...flags(), "run", "--rm", "-t", image, "sh", "-c", `'${inside}'`].join(" ");
		const shell = `stty rows 33 cols 99; ${program} ${command}; echo "code $?"; stty -a | grep -o -e "-\\?icanon"`;
		const { stdout } = await within(30_000, "the terminal session ends", () =>
			run("script", ["-qec", shell, "/dev/null"], "typed\n"),
		);
		const lines = stdout.replaceAll("\r", "").trim().split("\n");
		assert.ok(lines.includes("/dev/pts/0"), stdout);
		assert.ok(lines.includes("33 99"), stdout);
		assert.ok(lines.includes("<typed>"), stdout);
		assert.ok(lines.includes("code 5"), stdout);
		assert.equal(lines.at(-1), "icanon");
	});

	test("a terminal's new size reaches the container", {
		skip: spawnSync("script", ["--version"]).error === undefined ? false : "the program script (bsdutils) is missing",
	}, async () => {
		const shared = makeDirectory(join(daemon.directory, "resized"));
		const inside = 'stty size; touch /mnt/up; while [ "$(stty size)" != "41 133" ]; do sleep 0.05; done; echo followed';
		const mount = `type=bind,src=${shared},dst=/mnt,options=rbind:rw`;
		const command = [...flags(), "run", "--rm", "-t", "--mount", mount, image, "sh", "-c", `'${inside}'`].join(" ");
		const resize = `(while [ ! -e ${shared}/up ]; do sleep 0.05; done; stty rows 41 cols 133 </dev/tty) &`;
		const { stdout } = await within(30_000, "the container sees the new size", () =>
			run("script", ["-qec", `stty rows 33 cols 99; ${resize} ${program} ${command}`, "/dev/null"]),
		);
		assert.match(stdout, /33 99\r*\n.*followed/s);
	});

	test("stop asks first and kills then; rm refuses what runs and says what to do", async () => {
		const stubborn = "trap '' TERM; while :; do sleep 0.05; done";
		await daemon.succeed("run", "-d", "--name", "stubborn", image, "sh", "-c", stubborn);
		const refused = await daemon.troupe("rm", "stubborn");
		assert.equal(refused.code, 125);
		assert.match(refused.stderr, /container "stubborn".*Stop it first, or use --force/);
		await daemon.succeed("stop", "--time", "0.2", "stubborn");
		assert.match(await daemon.succeed("ps"), /^stubborn +\S+ +stopped \(137\)/m);
		await daemon.succeed("rm", "stubborn");
		await daemon.succeed("run", "-d", "--name", "forced", image, "sleep", "1000");
		await daemon.succeed("rm", "--force", "forced");
		assert.equal(await daemon.succeed("ps", "-q"), "");
	});

	test("inspect explains a container by its actor's last transitions", async () => {
		await daemon.succeed("run", "-d", "--name", "explained", image, "sleep", "1000");
		const text = await daemon.succeed("inspect", "explained");
		assert.match(text, /^Task +running, pid \d+$/m);
		assert.match(text, /starting -> running/);
		const { actor, task } = JSON.parse(await daemon.succeed("--output", "json", "inspect", "explained"));
		assert.equal(actor.state, "running");
		assert.match(readFileSync(`/proc/${task.pid}/cmdline`, "utf8"), /^sleep/);
		assert.match(await daemon.succeed("tree"), /explained +running/);
		await daemon.succeed("rm", "--force", "explained");
	});

	test("the output of a detached container goes where --log-uri says", async () => {
		const log = join(daemon.directory, "container.log");
		const watch = daemon.events(`namespace=${daemon.namespace}&topic=/tasks/exit`);
		const exited = within(20_000, "the container exits", () => watch.next());
		await daemon.succeed(
			"run",
			"-d",
			"--name",
			"logged",
			"--log-uri",
			`file://${log}`,
			image,
			"sh",
			"-c",
			"echo out; echo err >&2",
		);
		await exited;
		await watch.return(undefined);
		assert.deepEqual(readFileSync(log, "utf8").trim().split("\n").sort(), ["err", "out"]);
		await daemon.succeed("rm", "logged");
	});

	test("doctor finds the daemon and its stream", async () => {
		const findings = JSON.parse((await daemon.troupe("--output", "json", "doctor")).stdout) as {
			subject: string;
			verdict: string;
		}[];
		assert.equal(findings.find(({ subject }) => subject === "daemon")?.verdict, "ok");
		assert.equal(findings.find(({ subject }) => subject === "live stream")?.verdict, "ok");
	});

	test("rmi frees what only that image needed", async () => {
		await daemon.succeed("rmi", image);
		assert.equal(await daemon.succeed("images", "-q"), "");
	});
});
