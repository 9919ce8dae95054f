/** npm run chaos [-- --kills 2000] [--seed N] [--slots 40]: the chaos test by hand; prints its summary as JSON. */
import { parseArgs } from "node:util";
import { fitCrun } from "../fixtures/fit-crun.ts";
import { chaos } from "./chaos.ts";

const { values } = parseArgs({
	options: {
		kills: { type: "string", default: "2000" },
		seed: { type: "string", default: String(Date.now() % 1_000_000) },
		slots: { type: "string", default: "40" },
	},
});
const whole = (name: keyof typeof values): number => {
	const number = Number(values[name]);
	if (!Number.isSafeInteger(number) || number < 0)
		throw new Error(`--${name} takes a whole number, not ${values[name]}`);
	return number;
};

const undo = fitCrun();
try {
	const seed = whole("seed");
	console.log(`seed ${seed}`);
	const { problems, history, ...summary } = await chaos({
		seed,
		kills: whole("kills"),
		slots: whole("slots"),
		say: (text) => console.log(text),
	});
	console.log(JSON.stringify(summary, null, "\t"));
	if (problems.length > 0) for (const line of [...history, ...problems]) console.error(line);
	process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
	undo();
}
