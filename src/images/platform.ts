import type { Platform } from "../content/descriptor.ts";
import { DaemonError } from "../errors/daemon-error.ts";

/** Names that people and kernels use for Go's architectures (containerd/platforms, database.go). */
const architectures: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
	x86_64: ["amd64"],
	"x86-64": ["amd64"],
	x64: ["amd64"],
	i386: ["386"],
	ia32: ["386"],
	i686: ["386"],
	aarch64: ["arm64"],
	armhf: ["arm", "v7"],
	armel: ["arm", "v6"],
};

/** The one spelling of a platform: `x86_64` is `amd64`, arm64's only variant v8 is left out, arm without one is v7. */
export function normalizePlatform({
	os,
	architecture,
	variant = "",
	...rest
}: Platform): Required<Pick<Platform, "os" | "architecture">> & Platform {
	const lower = architecture.toLowerCase();
	const [name, implied = ""] = architectures[lower] ?? [lower];
	const given = variant.toLowerCase() || implied;
	const spelled = name === "arm" && /^[5-8]$/.test(given) ? `v${given}` : given;
	const kept =
		name === "arm64" && (spelled === "8" || spelled === "v8")
			? ""
			: name === "amd64" && spelled === "v1"
				? ""
				: name === "arm" && spelled === ""
					? "v7"
					: spelled;
	return { ...rest, os: os.toLowerCase(), architecture: name, ...(kept === "" ? {} : { variant: kept }) };
}

/** Reads `linux/arm64/v8`, `linux/amd64`, or an architecture alone. Errors: InvalidArgument. */
export function parsePlatform(text: string): Platform {
	const parts = text.split("/");
	if (parts.length > 3 || !parts.every((part) => /^[A-Za-z0-9_.-]+$/.test(part)))
		throw new DaemonError(
			"InvalidArgument",
			{ kind: "platform", id: text },
			"not a platform (os/architecture/variant)",
		);
	const [first = "", second, variant] = parts;
	if (second === undefined) return normalizePlatform({ os: "linux", architecture: first });
	return normalizePlatform({ os: first, architecture: second, ...(variant === undefined ? {} : { variant }) });
}

export const formatPlatform = ({ os, architecture, variant }: Platform): string =>
	[os, architecture, ...(variant === undefined || variant === "" ? [] : [variant])].join("/");

/** The platform of this process. */
export const hostPlatform = (): Platform => normalizePlatform({ os: process.platform, architecture: process.arch });

/**
 * What runs on a platform, best first: itself, then what its processor also understands (containerd/platforms,
 * compare.go, `Only`): arm v7 runs v6 and v5, arm64 runs arm, amd64 v3 runs v2 and v1, amd64 runs 386.
 */
export function runnablePlatforms(platform: Platform): readonly Platform[] {
	const own = normalizePlatform(platform);
	const { os, architecture, variant = "" } = own;
	const number = Number(/^v(\d)$/.exec(variant)?.[1] ?? 0);
	const arms = (from: number): readonly Platform[] =>
		[8, 7, 6, 5]
			.filter((version) => version <= from)
			.map((version) => ({ os, architecture: "arm", variant: `v${version}` }));
	switch (architecture) {
		case "amd64": {
			const lower = [3, 2]
				.filter((version) => version < number)
				.map((version) => ({ os, architecture, variant: `v${version}` }));
			const plain = number > 1 ? [{ os, architecture }] : [];
			return [own, ...lower, ...plain, { os, architecture: "386" }];
		}
		case "arm64":
			return [own, ...(number > 8 ? [{ os, architecture }] : []), ...arms(8)];
		case "arm":
			return [own, ...arms(number - 1)];
		default:
			return [own];
	}
}

/**
 * Picks what fits `wanted` best; among equals the first. Undefined if nothing fits. An item without a platform fits
 * anything, after those that name one.
 */
export function pickPlatform<T extends { readonly platform?: Platform }>(
	items: readonly T[],
	wanted: Platform,
): T | undefined {
	const ranks = runnablePlatforms(wanted).map(formatPlatform);
	const ranked = items.flatMap((item) => {
		const name = item.platform === undefined ? undefined : formatPlatform(normalizePlatform(item.platform));
		const rank = name === undefined ? ranks.length : ranks.indexOf(name);
		return rank < 0 ? [] : [{ item, rank }];
	});
	return ranked.toSorted((a, b) => a.rank - b.rank)[0]?.item;
}
