/** The users' tokens: JWTs. What we cannot read we leave to the service. */

import { tryTo } from "./storage.js";

const EXPIRES_SOON = 5_000; // ms

/** A token that no later try would make right. */
export class RefusedToken extends TypeError {}

export function refuseApiKey(token) {
  if (`${token}`.startsWith("nk_")) throw new RefusedToken("an API key is no token");
}

/** Whether it is no longer worth sending. */
export function expiresSoon(token) {
  return claimsOf(token).exp * 1000 < Date.now() + EXPIRES_SOON;
}

export function userOf(token) {
  return claimsOf(token).sub;
}

function claimsOf(token) {
  return tryTo(() => JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")))) ?? {};
}
