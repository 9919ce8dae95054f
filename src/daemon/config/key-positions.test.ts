import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parse, stringify, type TomlTable } from "smol-toml";
import { type KeyPath, KeyPositions } from "./key-positions.ts";

const text = `# a = 1
root = "/r" # root = 2
grpc.address = '/a'
long = """
[no]
key = "\\"""" # nor = this
raw = '''
[neither] '''
list = [ # [x]
  "a, b",
  { c = 1, "d.e" = [2] },
]

[plugins."io.x.v1.y"]
 size = 3
[ plugins . 'io.x.v1.z' ]
"q\\u0061" = 1979-05-27 07:32:00
[[hosts]]
name = "1"
[[hosts]]
name = "2"
[hosts.tls]
ca = "f"
`;

const positions = new KeyPositions(text);
const cases: readonly (readonly [KeyPath, number, number])[] = [
	[["root"], 2, 1],
	[["grpc"], 3, 1],
	[["grpc", "address"], 3, 6],
	[["raw"], 7, 1],
	[["list", 0], 10, 3],
	[["list", 1, "c"], 11, 5],
	[["list", 1, "d.e", 0], 11, 21],
	[["plugins", "io.x.v1.y"], 14, 10],
	[["plugins", "io.x.v1.y", "size"], 15, 2],
	[["plugins", "io.x.v1.z", "qa"], 17, 1],
	[["hosts", 0, "name"], 19, 1],
	[["hosts", 1, "name"], 21, 1],
	[["hosts", 1, "tls", "ca"], 23, 1],
	[["plugins", "io.x.v1.y", "missing", "below"], 14, 10],
];
test("the text of these cases is TOML", () => void parse(text));
for (const [path, line, column] of cases)
	test(`${path.join(" > ")} is in line ${line}`, () => assert.deepEqual(positions.of(path), { line, column }));

for (const name of ["a", "no", "key", "nor", "neither", "x", "missing"])
	test(`${name}, which is no key, is nowhere`, () => assert.equal(positions.of([name]), undefined));

test("every key of every table is found where it stands", () => {
	const key = fc.oneof(fc.stringMatching(/^[a-z]{1,4}$/), fc.string({ minLength: 1, maxLength: 4 }));
	const { table } = fc.letrec<{ table: TomlTable; value: unknown }>((tie) => ({
		table: fc
			.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true })
			.filter((one) => !Object.hasOwn(one, "__proto__")) as fc.Arbitrary<TomlTable>,
		value: fc.oneof(
			{ maxDepth: 3 },
			fc.integer(),
			fc.string(),
			fc.array(fc.string(), { maxLength: 3 }),
			fc.array(tie("table"), { minLength: 1, maxLength: 2 }),
			tie("table"),
		),
	}));
	fc.assert(
		fc.property(table, (value) => {
			const written = stringify(value);
			const lines = written.split("\n");
			const found = new KeyPositions(written);
			const check = (below: unknown, path: KeyPath): void => {
				if (typeof below !== "object" || below === null) return;
				for (const [name, inner] of Object.entries(below)) {
					const at: KeyPath = Array.isArray(below) ? [...path, Number(name)] : [...path, name];
					const position = found.of(at);
					if (position !== undefined && !Array.isArray(below) && typeof inner !== "object") {
						const rest = lines[position.line - 1]?.slice(position.column - 1) ?? "";
						assert.ok(rest.startsWith(name) || rest.startsWith(JSON.stringify(name).slice(0, 2)), `${name}: ${rest}`);
					}
					if (typeof inner !== "object") assert.ok(position, JSON.stringify(at));
					check(inner, at);
				}
			};
			check(value, []);
		}),
		{ numRuns: 200 },
	);
});
