/** Without a username the secret is an identity token (Docker's "refresh token"). */
export interface Credentials {
	readonly username: string;
	readonly secret: string;
}

/** What to show to a host (`registry-1.docker.io`, `localhost:5000`); undefined: nothing. */
export type CredentialSource = (host: string) => Promise<Credentials | undefined>;

/** RFC 7617. */
export const basicHeader = ({ username, secret }: Credentials): string =>
	`Basic ${Buffer.from(`${username}:${secret}`).toString("base64")}`;
