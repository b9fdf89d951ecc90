/** The users' tokens: JWTs. What we cannot read we leave to the service. */

const EXPIRES_SOON = 5_000; // ms

/** A token that no later try would make right. */
export class RefusedToken extends TypeError {}

export function refuseApiKey(token) {
  if (`${token}`.startsWith("nk_")) throw new RefusedToken("an API key is no token");
}

/** Whether it is no longer worth sending. */
export function expiresSoon(token, now = Date.now()) {
  return claimsOf(token).exp * 1000 < now + EXPIRES_SOON;
}

export function userOf(token) {
  return claimsOf(token).sub;
}

function claimsOf(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return {};
  }
}
