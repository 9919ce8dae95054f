/** What a server wants before it answers (RFC 9110, 11.6.1; distribution/spec/auth). */
export interface Challenge {
	readonly scheme: "bearer" | "basic";
	/** Names are lower-case. */
	readonly parameters: Readonly<Record<string, string>>;
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const parameterPattern = new RegExp(`^(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}|[^\\s,"]+))`);
const schemePattern = new RegExp(`^(${token})(?:\\s+|$)`);

/** The challenges of WWW-Authenticate headers that can be met, bearer first. Anything else is passed over. */
export function parseChallenges(headers: readonly string[]): readonly Challenge[] {
	const found = headers.flatMap(parseHeader);
	return found.toSorted((a, b) => Number(b.scheme === "bearer") - Number(a.scheme === "bearer"));
}

function parseHeader(header: string): Challenge[] {
	const found: { scheme: string; parameters: Record<string, string> }[] = [];
	let rest = header.trim();
	while (rest !== "") {
		const parameter = parameterPattern.exec(rest);
		const last = found.at(-1);
		if (parameter !== null && last !== undefined) {
			const [all, name = "", quoted, plain = ""] = parameter;
			last.parameters[name.toLowerCase()] = quoted?.replace(/\\(.)/g, "$1") ?? plain;
			rest = rest.slice(all.length);
		} else {
			const scheme = schemePattern.exec(rest);
			if (scheme === null) break;
			found.push({ scheme: (scheme[1] ?? "").toLowerCase(), parameters: {} });
			rest = rest.slice(scheme[0].length);
		}
		rest = rest.replace(/^[\s,]+/, "");
	}
	return found.flatMap(({ scheme, parameters }) =>
		scheme === "bearer" || scheme === "basic" ? [{ scheme, parameters }] : [],
	);
}
