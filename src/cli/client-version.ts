/** Version of this build; scripts/build.ts and package.json agree, or the build fails. */
export const clientVersion = "0.1.0";
