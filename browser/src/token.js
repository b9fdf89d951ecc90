/** The tokens of a user: JWTs. Tokens that the library cannot read are left to the service. */

import { tryTo } from "./storage.js";

const EXPIRES_SOON = 5_000; // ms

/** A token that no retry makes acceptable. */
export class RefusedToken extends TypeError {}

/** Gets tokens from `getToken`, if there is one. All must be the same user's, as far as they can be read. */
export function createTokens(getToken) {
  refuseApiKey(getToken);
  let renewal; // while getToken is called

  async function renew() {
    const renewed = await getToken();
    refuseApiKey(renewed);
    if (!renewed) throw new Error("no token");
    if (typeof renewed !== "string" || /[^!-~]/.test(renewed)) throw new Error("getToken returned no token");
    const owner = userOf(renewed);
    if (tokens.user && tokens.user !== owner) throw new RefusedToken("another user's token");
    [tokens.current, tokens.user, tokens.issuer] = [renewed, owner, claimsOf(renewed).iss];
  }

  const tokens = {
    current: undefined,
    user: undefined,
    issuer: undefined, // which may be another tenant's
    /** Calls getToken, once for all that wait for a new token. */
    renew() {
      const mine = (renewal ??= renew().finally(() => {
        if (renewal === mine) renewal = undefined;
      }));
      return mine;
    },
    /** Waits no longer for getToken: the next call is a new one. */
    abandon() {
      renewal = undefined;
    },
    /** Resolves to a token that does not expire soon, or to a new one; to undefined if a cookie names the user. */
    async fresh(mustBeNew) {
      const { current } = tokens;
      if (getToken && (mustBeNew || !current || expiresSoon(current))) await tokens.renew();
      return tokens.current;
    },
    discard() {
      tokens.current = undefined;
    },
  };
  return tokens;
}

function refuseApiKey(token) {
  if (`${token}`.startsWith("nk_")) throw new RefusedToken("an API key is no token");
}

/** Whether it is too late to send a token. */
export function expiresSoon(token) {
  return claimsOf(token).exp * 1000 < Date.now() + EXPIRES_SOON;
}

/** In each tenant, the same `sub` is another user. */
function userOf(token) {
  const { sub, tenant } = claimsOf(token);
  return sub && tenant ? `${tenant} ${sub}` : sub;
}

function claimsOf(token) {
  return tryTo(() => JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")))) ?? {};
}
